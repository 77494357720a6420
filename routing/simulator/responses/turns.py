"""The input of a request: which items follow which, and what may be in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routing.simulator.asks import Ask, Refusal, text_of, wants
from routing.simulator.responses.sealed import opened
from routing.simulator.world import Provider

Item = dict[str, Any]

ROLES = frozenset({"user", "assistant", "system", "developer"})
FOREIGN_MARK = "cache_control"  # a word of another dialect
LEFT_BY_TOOLS = frozenset(
    {
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_list_tools",
        "mcp_call",
        "mcp_approval_request",
        "mcp_approval_response",
        "computer_call",
        "computer_call_output",
        "local_shell_call",
        "local_shell_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
    }
)


def read_turns(provider: Provider, body: dict[str, Any], ask: Ask) -> None:
    """Raises Refusal."""
    given = body.get("input")
    if given is None and body.get("prompt"):
        return
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    wants(isinstance(items, list) and items, "Missing required parameter: 'input'.", param="input")
    assert isinstance(items, list)
    open_calls: dict[str, None] = {}
    for at, item in enumerate(items):
        kind = item.get("type", "message")
        read = _READERS.get(kind)
        if read is not None:
            read(_Place(provider, body, ask, at), item, open_calls)
        else:
            known = kind in LEFT_BY_TOOLS
            wants(known, f"Invalid value: '{kind}'.", param=f"input[{at}].type")
            ask.prompt.add_text(kind)
    unanswered = next(iter(open_calls), "")
    wants(not unanswered, f"No tool output found for function call {unanswered}.", param="input")


class _Place:
    def __init__(self, provider: Provider, body: dict[str, Any], ask: Ask, at: int) -> None:
        self.provider, self.body, self.ask, self.at = provider, body, ask, at

    @property
    def path(self) -> str:
        return f"input[{self.at}]"


def _message(place: _Place, item: Item, open_calls: dict[str, None]) -> None:
    role, ask = text_of(item.get("role")), place.ask
    wants(role in ROLES, f"Invalid value: '{role}'.", param=f"{place.path}.role")
    ask.prompt.begin_message("system" if role == "developer" else role)
    content = item.get("content")
    if isinstance(content, str):
        ask.prompt.add_text(content)
        text = content
    else:
        wants(isinstance(content, list), "Invalid content", param=f"{place.path}.content")
        assert isinstance(content, list)
        own = role == "assistant"
        text = " ".join(filter(None, (_part(part, place, ask, own=own) for part in content)))
    ask.tool_result = None
    if role == "user":
        ask.user_text = text


def _part(part: Item, place: _Place, ask: Ask, *, own: bool) -> str:
    kind = text_of(part.get("type"))
    allowed = {"output_text", "refusal"} if own else {"input_text", "input_image", "input_file"}
    message = f"Invalid value: '{kind}'. Supported values are: {sorted(allowed)}."
    wants(kind in allowed, message, param=f"{place.path}.content")
    if FOREIGN_MARK in part:
        raise Refusal(
            400,
            f"Unknown parameter: '{place.path}.content[0].{FOREIGN_MARK}'.",
            code="unknown_parameter",
            param=f"{place.path}.content",
            violation=f"{FOREIGN_MARK} is no word of this dialect",
        )
    if kind == "input_image":
        url = text_of(part.get("image_url"))
        good = url.startswith(("data:image/", "https://", "http://")) or part.get("file_id")
        wants(good, "Invalid image_url", param=f"{place.path}.content")
        ask.prompt.add_image()
        return ""
    if kind == "input_file":
        good = any(part.get(name) for name in ("file_id", "file_data", "file_url"))
        wants(good, "Invalid file", param=f"{place.path}.content")
        return ""
    text = text_of(part.get("refusal" if kind == "refusal" else "text"))
    ask.prompt.add_text(text)
    return text


def _call(place: _Place, item: Item, open_calls: dict[str, None]) -> None:
    good = all(isinstance(item.get(name), str) for name in ("call_id", "name", "arguments"))
    wants(good, "function_call is malformed", param=place.path)
    place.ask.prompt.add_text(f"{item['name']} {item['arguments']}")
    open_calls[item["call_id"]] = None


def _result(place: _Place, item: Item, open_calls: dict[str, None]) -> None:
    call_id, output = text_of(item.get("call_id")), item.get("output")
    wants(
        call_id in open_calls,
        f"No tool call found for function call output with call_id {call_id}.",
        param="input",
    )
    del open_calls[call_id]
    parts = output if isinstance(output, list) else []
    text = text_of(output) or " ".join(text_of(part.get("text")) for part in parts)
    place.ask.prompt.begin_message("tool")
    place.ask.prompt.add_text(text)
    place.ask.tool_result = text


def _reasoning(place: _Place, item: Item, open_calls: dict[str, None]) -> None:
    """What was not kept here can be read again only from its seal."""
    id, sealed = text_of(item.get("id")), text_of(item.get("encrypted_content"))
    if not sealed:
        raise Refusal(
            404,
            f"Item with id '{id}' not found. Items are not persisted when `store` is set to false.",
            kind="invalid_request_error",
            code="not_found",
            param="input",
            violation="reasoning that cannot be read again",
        )
    thought = opened(place.provider.slug, sealed)
    if thought is None:
        raise Refusal(
            400,
            f"The encrypted content for item {id} could not be verified.",
            kind="invalid_request_error",
            code="invalid_encrypted_content",
            param="input",
            violation="reasoning that another service has sealed",
        )
    place.ask.prompt.add_text(thought)


def _reference(place: _Place, item: Item, open_calls: dict[str, None]) -> None:
    raise Refusal(
        404,
        f"Item with id '{item.get('id')}' not found.",
        kind="invalid_request_error",
        param="input",
        violation="a reference to an item that this provider never kept",
    )


_READERS: dict[str, Callable[[_Place, Item, dict[str, None]], None]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _result,
    "reasoning": _reasoning,
    "item_reference": _reference,
}
