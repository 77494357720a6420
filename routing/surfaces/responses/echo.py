"""A request's settings as its response repeats them. What cannot be repeated is refused here."""

from __future__ import annotations

from typing import Any

from routing.adapters.jsonio import dict_of, dicts_in
from routing.surfaces.openai_envelope import refusal

Body = dict[str, Any]

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "model": ((str,), "a model id"),
    "instructions": ((str,), "a text"),
    "include": ((list,), "a list of strings"),
    "max_output_tokens": ((int,), "a whole number"),
    "max_tool_calls": ((int,), "a whole number"),
    "metadata": ((dict,), "an object of strings"),
    "parallel_tool_calls": ((bool,), "true or false"),
    "previous_response_id": ((str,), "the id of a response"),
    "prompt_cache_key": ((str,), "a string"),
    "reasoning": ((dict,), "an object"),
    "safety_identifier": ((str,), "a string"),
    "service_tier": ((str,), "a string"),
    "store": ((bool,), "true or false"),
    "stream": ((bool,), "true or false"),
    "stream_options": ((dict,), "an object"),
    "temperature": ((int, float), "a number"),
    "text": ((dict,), "an object"),
    "top_logprobs": ((int,), "a whole number"),
    "top_p": ((int, float), "a number"),
    "truncation": ((str,), "auto or disabled"),
    "user": ((str,), "a string"),
}
_BOUNDS = {"max_output_tokens": (1, 10_000_000), "top_logprobs": (0, 20)}
_WORDS = {
    "truncation": ("auto", "disabled"),
    "text.verbosity": ("low", "medium", "high"),
    "reasoning.summary": ("auto", "concise", "detailed"),
    "reasoning.effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
}
INCLUDABLE = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)
_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
MOST_METADATA, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512


def check_settings(body: Body) -> None:
    """Raises HubError 400 naming the field that is wrong."""
    for name, (kinds, words) in _KINDS.items():
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise refusal(name, f"'{name}' must be {words}", "invalid_type")
    for name, (least, most) in _BOUNDS.items():
        value = body.get(name)
        if value is not None and not least <= value <= most:
            raise refusal(name, f"'{name}' must be between {least} and {most}")
    for name, words_allowed in _WORDS.items():
        outer, _, inner = name.partition(".")
        value = dict_of(body.get(outer)).get(inner) if inner else body.get(outer)
        if value is not None and value not in words_allowed:
            raise refusal(name, f"'{name}' must be one of {', '.join(words_allowed)}")
    _check_include(body.get("include") or [])
    _check_metadata(body.get("metadata") or {})


def _check_include(include: list[Any]) -> None:
    for i, name in enumerate(include):
        if not isinstance(name, str):
            raise refusal("include", "'include' must be a list of strings", "invalid_type")
        if name not in INCLUDABLE:
            raise refusal(
                f"include[{i}]",
                f"'include' does not take {name[:80]!r}, only {', '.join(INCLUDABLE)}",
            )


def _check_metadata(metadata: Body) -> None:
    fits = len(metadata) <= MOST_METADATA and all(
        len(key) <= LONGEST_KEY and isinstance(value, str) and len(value) <= LONGEST_VALUE
        for key, value in metadata.items()
    )
    if not fits:
        raise refusal(
            "metadata",
            f"'metadata' takes {MOST_METADATA} strings of up to {LONGEST_VALUE} characters, under "
            f"keys of up to {LONGEST_KEY}",
        )


def response_base(body: Body, response_id: str, created_at: int) -> Body:
    """A response in progress, without output: the same settings as in the request."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": body.get("max_tool_calls"),
        "model": body.get("model") or "",
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": {"effort": None, "summary": None, **dict_of(body.get("reasoning"))},
        "safety_identifier": body.get("safety_identifier"),
        "service_tier": known_tier(body.get("service_tier")),
        "store": body.get("store") is not False,
        "temperature": body.get("temperature"),
        "text": {"format": {"type": "text"}, **_given(dict_of(body.get("text")))},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": [_tool(tool) for tool in dicts_in(body.get("tools"))],
        "top_logprobs": body.get("top_logprobs") or 0,
        "top_p": body.get("top_p"),
        "truncation": "disabled",  # whatever was asked: no provider of chat cuts the input
        "usage": None,
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }


def known_tier(tier: Any) -> str | None:
    """Providers have tiers of other names, which clients of this dialect do not know."""
    return tier if isinstance(tier, str) and tier in _TIERS else None


def _given(fields: Body) -> Body:
    return {name: value for name, value in fields.items() if value is not None}


def _tool(tool: Body) -> Body:
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, **tool, "strict": bool(tool.get("strict"))}
