"""Reads an OpenAI chat request the way the provider would, and refuses what it refuses."""

from __future__ import annotations

import re
from typing import Any

from routing.simulator.asks import Ask, Refusal, Tool, names, text_of, wants
from routing.simulator.world import Provider, Traits

KNOWN_FIELDS = names(
    "messages model audio frequency_penalty function_call functions logit_bias logprobs "
    "top_logprobs max_completion_tokens max_tokens metadata modalities moderation n "
    "parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_retention "
    "prompt_cache_options reasoning_effort response_format safety_identifier seed service_tier "
    "stop store stream stream_options temperature tool_choice tools top_p user verbosity "
    "web_search_options"
)
# Fields of their own that strict providers accept.
OWN_FIELDS = {
    "groq": {"reasoning_format", "include_reasoning", "documents", "search_settings",
             "citation_options", "compound_custom", "disable_tool_validation"},
    "cerebras": {"min_tokens", "min_completion_tokens", "disable_reasoning", "clear_thinking",
                 "reasoning_format"},
    "mistral": {"random_seed", "safe_prompt", "prompt_mode"},
}  # fmt: skip
MESSAGE_FIELDS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "function_call"}
)
RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}
REASONING_FIELDS = frozenset({"reasoning_content", "reasoning", "reasoning_details"})
PLAIN_ROLES = frozenset({"system", "user", "assistant", "tool", "function"})
_NINE = re.compile(r"[A-Za-z0-9]{9}")


def read(provider: Provider, body: dict[str, Any]) -> Ask:
    """Raises Refusal. The model id is looked up by the caller."""
    traits = provider.traits
    _check_fields(provider, body)
    _check_ranges(body)
    stream = body.get("stream") or False
    wants(isinstance(stream, bool), "stream must be a boolean", param="stream")
    options = body.get("stream_options") or {}
    wants(
        stream or not options,
        "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        param="stream_options",
    )
    ask = Ask(
        model=text_of(body.get("model")),
        stream=stream,
        include_usage=bool(options.get("include_usage")),
        n=_whole(body, "n", 1) or 1,
        max_tokens=_max_tokens(traits, body),
        stop=_stops(traits, body),
        parallel=body.get("parallel_tool_calls") is not False,
        logprobs=body.get("logprobs") is True,
        service_tier=_service_tier(body),
    )
    wants(
        traits.n_max is None or ask.n <= traits.n_max,
        f"'n' must be at most {traits.n_max}",
        param="n",
    )
    _read_tools(traits, body, ask)
    _read_messages(provider, body, ask)
    _read_response_format(traits, body, ask)
    ask.reasons = _reasons(body)
    return ask


def _check_fields(provider: Provider, body: dict[str, Any]) -> None:
    traits, status = provider.traits, provider.persona.param_status
    for name in body:
        if name in traits.drop_params or name in traits.rename_params:
            raise _unsupported(provider, name, status)
    if not traits.strict_unknown:
        return
    accepted = KNOWN_FIELDS | OWN_FIELDS.get(provider.slug, set())
    accepted |= set(traits.rename_params.values())
    for name in body:
        if name not in accepted:
            raise _unsupported(provider, name, status)


def _unsupported(provider: Provider, name: str, status: int) -> Refusal:
    code = "wrong_api_format" if provider.persona.envelope == "flat" else "unsupported_parameter"
    return Refusal(
        status,
        f"property '{name}' is unsupported",
        kind="invalid_request_error",
        code=code,
        param=name,
    )


def _check_ranges(body: dict[str, Any]) -> None:
    for name, (least, most) in RANGES.items():
        value = body.get(name)
        good = value is None or (type(value) in (int, float) and least <= value <= most)
        wants(good, f"'{name}' must be a number from {least} to {most}", param=name)


def _whole(body: dict[str, Any], name: str, least: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    wants(
        type(value) is int and value >= least,
        f"'{name}' must be a whole number of at least {least}",
        param=name,
    )
    return int(value)


def _max_tokens(traits: Traits, body: dict[str, Any]) -> int | None:
    both = ("max_tokens", "max_completion_tokens")
    for name in both:
        if traits.max_tokens_field not in {name, "as_sent"} and body.get(name) is not None:
            raise Refusal(
                400,
                f"Unsupported parameter: '{name}' is not supported with this model."
                f" Use '{traits.max_tokens_field}' instead.",
                kind="invalid_request_error",
                code="unsupported_parameter",
                param=name,
            )
    found = [_whole(body, name, 1) for name in both]
    return found[1] if found[0] is None else found[0]


def _stops(traits: Traits, body: dict[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop")
    if stop is None:
        return ()
    stops = [stop] if isinstance(stop, str) else stop
    good = isinstance(stops, list) and all(isinstance(word, str) for word in stops)
    wants(good, "'stop' must be a string or a list of strings", param="stop")
    most = traits.stop_max
    wants(most is None or len(stops) <= most, f"'stop' may have {most} entries", param="stop")
    return tuple(stops)


def _service_tier(body: dict[str, Any]) -> str:
    tier = text_of(body.get("service_tier"))
    return "" if tier in {"auto", "default", "on_demand", "standard"} else tier


def _reasons(body: dict[str, Any]) -> bool:
    """Whether a model that can reason does so here."""
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") == "disabled":
        return False
    template = body.get("chat_template_kwargs")
    if isinstance(template, dict) and template.get("enable_thinking") is False:
        return False
    return body.get("reasoning_effort") not in {"none", "minimal"}


# --- tools and formats -----------------------------------------------------------------------------


def _read_tools(traits: Traits, body: dict[str, Any], ask: Ask) -> None:
    tools = body.get("tools") or []
    wants(isinstance(tools, list), "'tools' must be a list", param="tools")
    for number, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        good = isinstance(function, dict) and isinstance(function.get("name"), str)
        wants(good, f"tools[{number}].function.name is missing", param="tools")
        assert isinstance(function, dict)
        schema = function.get("parameters") or {}
        ask.prompt.add_tool(function["name"], text_of(function.get("description")), schema)
        ask.tools += (Tool(function["name"], schema),)
    _read_tool_choice(traits, body, ask)


def _read_tool_choice(traits: Traits, body: dict[str, Any], ask: Ask) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    spoken = {word: traits.tool_choice_map.get(word, word) for word in traits.tool_choice_allowed}
    meaning = {there: word for word, there in spoken.items()}
    word = "named" if isinstance(choice, dict) else choice
    wants(
        isinstance(word, str) and word in meaning,
        f"tool_choice {word!r} is not supported; use one of {', '.join(meaning)}",
        param="tool_choice",
    )
    wants(ask.tools or word == "none", "tool_choice needs tools", param="tool_choice")
    ask.tool_mode = meaning[word]
    if isinstance(choice, dict):
        ask.tool_name = text_of((choice.get("function") or {}).get("name"))
        known = {tool.name for tool in ask.tools}
        wants(ask.tool_name in known, f"no tool is called {ask.tool_name!r}", param="tool_choice")


def _read_response_format(traits: Traits, body: dict[str, Any], ask: Ask) -> None:
    given = body.get("response_format")
    if not given:
        return
    wants(isinstance(given, dict), "'response_format' must be an object", param="response_format")
    kind, style = given.get("type"), traits.response_format_style
    if kind == "text":
        return
    allowed = {"json_object"} if style == "json_object_schema" else {"json_object", "json_schema"}
    wants(
        style != "none" and kind in allowed,
        f"response_format type {kind!r} is not supported",
        param="response_format",
    )
    wants(
        traits.tools_with_response_format or not ask.tools,
        "response_format and tools cannot be used together",
        param="response_format",
    )
    ask.json_object = kind == "json_object"
    ask.schema = _schema_in(given, style)
    wants(
        ask.schema is not None or kind != "json_schema",
        "response_format has no schema where this provider looks for it",
        param="response_format",
    )


def _schema_in(given: dict[str, Any], style: str) -> dict[str, Any] | None:
    if style in {"json_object_schema", "flat_schema"}:
        schema = given.get("schema")
    else:
        schema = (given.get("json_schema") or {}).get("schema")
    return schema if isinstance(schema, dict) else None


# --- messages --------------------------------------------------------------------------------------


def _read_messages(provider: Provider, body: dict[str, Any], ask: Ask) -> None:
    messages = body.get("messages")
    wants(isinstance(messages, list) and messages, "'messages' must not be empty", param="messages")
    assert isinstance(messages, list)
    called: set[str] = set()
    for number, message in enumerate(messages):
        wants(isinstance(message, dict), f"messages[{number}] must be an object", param="messages")
        role = _role(provider.traits, message, number)
        _check_message_fields(provider, message, number)
        ask.prompt.begin_message("system" if role == "developer" else role)
        text = _read_content(provider.traits, message, number, ask)
        called |= _read_calls(provider, message, number, ask)
        if role == "tool":
            asked = message.get("tool_call_id") in called
            wants(asked, f"messages[{number}]: no such tool call", param="messages")
        ask.tool_result = text if role == "tool" else None
        if role == "user":
            ask.user_text = text


def _role(traits: Traits, message: dict[str, Any], number: int) -> str:
    role = text_of(message.get("role"))
    known = role in PLAIN_ROLES or (role == "developer" and traits.developer_role)
    wants(known, f"messages[{number}].role {role!r} is not known", param="messages")
    return role


def _check_message_fields(provider: Provider, message: dict[str, Any], number: int) -> None:
    if not provider.traits.strict_unknown:
        return
    for name in message:
        known = name in MESSAGE_FIELDS or name == provider.traits.reasoning_field_in
        if not known:
            raise _unsupported(provider, f"messages.{number}.{name}", provider.persona.param_status)


def _read_content(traits: Traits, message: dict[str, Any], number: int, ask: Ask) -> str:
    content = message.get("content")
    if content is None:
        excused = message.get("role") == "assistant"
        wants(excused, f"messages[{number}].content is missing", param="messages")
        return ""
    if isinstance(content, str):
        ask.prompt.add_text(content)
        return content
    wants(isinstance(content, list), f"messages[{number}].content is malformed", param="messages")
    text = " ".join(text for text in (_read_part(p, number, ask) for p in content) if text)
    wants(
        traits.content_parts != "string_only" or ask.prompt.images,  # seeing models take parts
        f"messages[{number}].content must be a string",
        param="messages",
    )
    return text


def _read_part(part: Any, number: int, ask: Ask) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        ask.prompt.add_text(text_of(part.get("text")))
        return text_of(part.get("text"))
    if kind == "image_url":
        url = text_of((part.get("image_url") or {}).get("url"))
        good = url.startswith(("data:image/", "https://", "http://"))
        wants(good, f"messages[{number}]: not an image address", param="messages")
        ask.prompt.add_image()
        return ""
    raise Refusal(400, f"messages[{number}]: content part {kind!r} is not known", param="messages")


def _read_calls(provider: Provider, message: dict[str, Any], number: int, ask: Ask) -> set[str]:
    ids = set()
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        good = isinstance(call.get("id"), str) and isinstance(function.get("arguments"), str)
        wants(good, f"messages[{number}].tool_calls is malformed", param="messages")
        ask.prompt.add_text(f"{function.get('name')} {function['arguments']}")
        if provider.persona.call_id == "nine":
            wants(
                _NINE.fullmatch(call["id"]),
                f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, with a length of 9.",
                param="messages",
            )
        ids.add(call["id"])
    return ids
