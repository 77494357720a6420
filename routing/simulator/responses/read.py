"""Reads a Responses request the way OpenAI does, and refuses what it refuses."""

from __future__ import annotations

from typing import Any

from routing.simulator.asks import Ask, Refusal, Tool, names, text_of, wants
from routing.simulator.responses.builtin import BUILTIN
from routing.simulator.responses.turns import read_turns
from routing.simulator.world import Provider

KNOWN_FIELDS = names(
    "access_programs background background_options context_management conversation image include "
    "input instructions max_output_tokens max_tool_calls metadata model moderation "
    "parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options "
    "prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options "
    "temperature text tool_choice tools top_logprobs top_p truncation user"
)
INCLUDABLE = names(
    "web_search_call.results web_search_call.action.sources code_interpreter_call.outputs "
    "computer_call_output.output.image_url file_search_call.results message.input_image.image_url "
    "message.output_text.logprobs reasoning.encrypted_content"
)
EFFORTS = names("none minimal low medium high xhigh max")
SEALED, LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"
LEAST_OUTPUT_TOKENS = 16
RANGES = {"temperature": (0, 2), "top_p": (0, 1), "top_logprobs": (0, 20)}


def read(provider: Provider, body: dict[str, Any]) -> Ask:
    """Raises Refusal. The model id is looked up by the caller."""
    endpoint = provider.endpoints.get(text_of(body.get("model")))
    reasons = endpoint is not None and endpoint.can("reasoning")
    _check_fields(body)
    _check_state(body)
    include = _include(body, reasons=reasons)
    ask = Ask(
        model=text_of(body.get("model")),
        stream=body.get("stream") is True,
        max_tokens=_max_tokens(body),
        parallel=body.get("parallel_tool_calls") is not False,
        logprobs=LOGPROBS in include or bool(body.get("top_logprobs")),
        service_tier=_tier(body),
        reasons=_effort(body, reasons=reasons) not in {"none", "minimal"},
        own=body,
    )
    _read_tools(body, ask)
    if body.get("instructions"):
        ask.prompt.begin_message("system")
        ask.prompt.add_text(text_of(body["instructions"]))
    read_turns(provider, body, ask)
    _read_format(body, ask)
    if any(tool["type"].startswith("web_search") for tool in builtin_tools(body)):
        ask.pieces = {"search": searches_of(ask)}
    return ask


def builtin_tools(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that run: none where tools are switched off."""
    if body.get("tool_choice") == "none":
        return []
    return [tool for tool in body.get("tools") or () if tool.get("type") in BUILTIN]


def searches_of(ask: Ask) -> int:
    """One, and one more each time that the user says the word again."""
    return min(max(ask.user_text.lower().count("search"), 1), 3)


def _check_fields(body: dict[str, Any]) -> None:
    for name in body:
        if name not in KNOWN_FIELDS:
            raise Refusal(
                400,
                f"Unknown parameter: '{name}'.",
                kind="invalid_request_error",
                code="unknown_parameter",
                param=name,
            )
    for name, (least, most) in RANGES.items():
        value = body.get(name)
        good = value is None or (type(value) in (int, float) and least <= value <= most)
        wants(good, f"Invalid '{name}': expected a value from {least} to {most}.", param=name)


def _check_state(body: dict[str, Any]) -> None:
    """What would be kept here under an id, where the hub keeps it itself."""
    for name in ("previous_response_id", "conversation"):
        if body.get(name):
            raise Refusal(
                400,
                f"'{name}': not found.",
                code="previous_response_not_found",
                kind="invalid_request_error",
                param=name,
                violation=f"{name} names what this provider never kept",
            )
    if body.get("background"):
        raise Refusal(400, "", param="background", violation="a response in the background")
    kept = body.get("store")
    wants(kept is None or isinstance(kept, bool), "'store' must be a boolean", param="store")


def _include(body: dict[str, Any], *, reasons: bool) -> frozenset[str]:
    include = body.get("include") or []
    wants(isinstance(include, list), "'include' must be an array", param="include")
    supported = ", ".join(f"'{name}'" for name in sorted(INCLUDABLE))
    for at, name in enumerate(include):
        message = f"Invalid value: '{name}'. Supported values are: {supported}."
        wants(name in INCLUDABLE, message, param=f"include[{at}]")
    sealed = SEALED in include
    wants(
        reasons or not sealed,
        "Encrypted content is not supported with this model.",
        param="include",
    )
    return frozenset(include)


def _effort(body: dict[str, Any], *, reasons: bool) -> str:
    """The effort of a model that cannot reason is never given."""
    reasoning = body.get("reasoning") or {}
    effort = reasoning.get("effort")
    wants(effort is None or effort in EFFORTS, "Invalid effort", param="reasoning.effort")
    if effort is not None and not reasons:
        raise Refusal(
            400,
            "Unsupported parameter: 'reasoning.effort' is not supported with this model.",
            kind="invalid_request_error",
            code="unsupported_parameter",
            param="reasoning.effort",
        )
    return text_of(effort)


def _max_tokens(body: dict[str, Any]) -> int | None:
    value = body.get("max_output_tokens")
    if value is None:
        return None
    if type(value) is not int or value < LEAST_OUTPUT_TOKENS:
        raise Refusal(
            400,
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= "
            f"{LEAST_OUTPUT_TOKENS}, but got {value} instead.",
            kind="invalid_request_error",
            code="integer_below_min_value",
            param="max_output_tokens",
        )
    return value


def _tier(body: dict[str, Any]) -> str:
    tier = text_of(body.get("service_tier"))
    return "" if tier in {"auto", "default"} else tier


# --- tools and formats -----------------------------------------------------------------------------


def _read_tools(body: dict[str, Any], ask: Ask) -> None:
    tools = body.get("tools") or []
    wants(isinstance(tools, list), "'tools' must be an array", param="tools")
    for at, tool in enumerate(tools):
        kind = text_of(tool.get("type"))
        if kind == "function":
            _read_function(tool, at, ask)
        elif kind in BUILTIN:
            lacking = [name for name in BUILTIN[kind].required if not tool.get(name)]
            wants(
                not lacking, f"Missing required parameter: 'tools[{at}].{lacking}'", param="tools"
            )
            ask.prompt.add_tool(kind, "", {})
        else:
            wants(kind == "custom", f"Invalid value: '{kind}'.", param=f"tools[{at}].type")
    _read_choice(body.get("tool_choice"), tools, ask)


def _read_function(tool: dict[str, Any], at: int, ask: Ask) -> None:
    name, schema = tool.get("name"), tool.get("parameters") or {}
    good = isinstance(name, str) and "function" not in tool
    wants(good, f"Missing required parameter: 'tools[{at}].name'.", param=f"tools[{at}].name")
    ask.prompt.add_tool(text_of(name), text_of(tool.get("description")), schema)
    ask.tools += (Tool(text_of(name), schema),)


def _read_choice(choice: Any, tools: list[Any], ask: Ask) -> None:
    if choice is None:
        return
    if isinstance(choice, str):
        wants(choice in {"none", "auto", "required"}, "Invalid tool_choice", param="tool_choice")
        wants(tools or choice != "required", "tool_choice needs tools", param="tool_choice")
        ask.tool_mode = choice
        return
    kind = choice.get("type")
    if kind == "function":
        ask.tool_mode, ask.tool_name = "named", text_of(choice.get("name"))
        known = ask.tool_name in {tool.name for tool in ask.tools}
        wants(known, f"Tool choice '{ask.tool_name}' not found in 'tools'.", param="tool_choice")
    elif kind == "allowed_tools":
        ask.tool_mode = text_of(choice.get("mode")) or "auto"
    else:
        offered = any(tool.get("type") == kind for tool in tools)
        wants(offered, f"Tool choice '{kind}' not found in 'tools'.", param="tool_choice")
        ask.tool_mode = "none"  # of functions


def _read_format(body: dict[str, Any], ask: Ask) -> None:
    form = (body.get("text") or {}).get("format") or {"type": "text"}
    kind = form.get("type")
    known = kind in {"text", "json_object", "json_schema"}
    wants(known, f"Invalid value: '{kind}'.", param="text.format.type")
    ask.json_object = kind == "json_object"
    if kind == "json_schema":
        good = isinstance(form.get("schema"), dict) and isinstance(form.get("name"), str)
        wants(good, "Missing required parameter: 'text.format.schema'.", param="text.format")
        ask.schema = form["schema"]
