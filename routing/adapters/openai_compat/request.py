"""A client's chat request, bent to what one OpenAI-compatible provider accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routing.adapters.base import ChatCall
from routing.adapters.chunks import nine_char_id
from routing.adapters.forms import (
    choice_kind,
    flat_text,
    is_a_loss,
    refuse,
    response_format_kind,
    schema_of,
    stop_list,
)
from routing.adapters.jsonio import dict_of, dicts_in
from routing.adapters.openai_compat.losses import REASONING_FIELDS, lost_in
from routing.adapters.quirks import Quirks
from routing.core.catalog import Endpoint

KNOWN_PARAMS = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
KNOWN_MESSAGE_FIELDS = frozenset(
    {
        "audio",
        "content",
        "function_call",
        "name",
        "refusal",
        "role",
        "tool_call_id",
        "tool_calls",
    }
)
KNOWN_PART_FIELDS = frozenset(
    {
        "file",
        "image_url",
        "input_audio",
        "refusal",
        "text",
        "type",
    }
)
KNOWN_CALL_FIELDS = frozenset(
    {
        "custom",
        "function",
        "id",
        "type",
    }
)
_TAKES_PARTS = frozenset({"vision", "audio_in"})

Body = dict[str, Any]


def build_body(call: ChatCall, endpoint: Endpoint) -> tuple[Body, tuple[str, ...]]:
    """The body to send and the names of parameters that were left out.

    Raises UpstreamError(CLIENT) where leaving something out would change what is asked.
    """
    quirks: Quirks = endpoint.provider.quirks
    body: Body = {"model": "", **quirks.default_params, **call.body}
    body["model"] = endpoint.upstream_model  # stays the first key: some proxies read only a prefix
    _refuse_impossible(body, quirks, endpoint)
    asked = call.body.get("messages")
    body["messages"] = _messages(asked, quirks, endpoint)
    lost = lost_in(asked, body["messages"]) if isinstance(asked, list) else ()
    for bend in _BENDS:
        bend(body, quirks, endpoint)
    _set_stream(body, call, quirks)
    return body, (*_drop(body, call, quirks), *lost)


# --- what may not be bent --------------------------------------------------------------------


def _refuse_impossible(body: Body, quirks: Quirks, endpoint: Endpoint) -> None:
    _refuse_many_answers(body, quirks, endpoint)
    _refuse_long_stop(body, quirks, endpoint)
    has_format = response_format_kind(body) not in ("", "text")
    if body.get("tools") and has_format and not quirks.tools_with_response_format:
        refuse(endpoint, "tools", "takes tools or response_format, not both")


def _refuse_many_answers(body: Body, quirks: Quirks, endpoint: Endpoint) -> None:
    n = body.get("n")
    most = 1 if "n" in quirks.drop_params else quirks.n_max
    if type(n) is int and most is not None and n > most:
        refuse(endpoint, "n", f"gives at most {most} answer(s) per request")


def _refuse_long_stop(body: Body, quirks: Quirks, endpoint: Endpoint) -> None:
    if quirks.stop_max is not None and len(stop_list(body)) > quirks.stop_max:
        refuse(endpoint, "stop", f"takes at most {quirks.stop_max} stop sequences")


# --- parameters ------------------------------------------------------------------------------


def _bend_max_tokens(body: Body, quirks: Quirks, endpoint: Endpoint) -> None:
    wanted = quirks.max_tokens_field
    if wanted == "as_sent":
        return
    newer = body.pop("max_completion_tokens", None)
    older = body.pop("max_tokens", None)
    limit = older if newer is None else newer
    if limit is not None:
        body[wanted] = limit


def _bend_tool_choice(body: Body, quirks: Quirks, endpoint: Endpoint) -> None:
    kind = choice_kind(body)
    if not kind:
        return
    if kind not in quirks.tool_choice_allowed:
        _without_tool_choice(body, kind, endpoint)
    elif kind in quirks.tool_choice_map:
        body["tool_choice"] = quirks.tool_choice_map[kind]


def _without_tool_choice(body: Body, kind: str, endpoint: Endpoint) -> None:
    """`auto` is what happens anyway; `none` is the same as having no tools."""
    if kind not in ("auto", "none"):
        refuse(endpoint, "tool_choice", f"cannot be made to call a tool (`{kind}`)")
    del body["tool_choice"]
    if kind == "none":
        body.pop("tools", None)
        body.pop("parallel_tool_calls", None)


def _bend_response_format(body: Body, quirks: Quirks, endpoint: Endpoint) -> None:
    kind = response_format_kind(body)
    style = quirks.response_format_style
    if style == "openai" or not kind:
        return
    if kind == "text":
        del body["response_format"]
    elif kind == "json_schema":
        body["response_format"] = _schema_format(style, body, endpoint)
    elif style == "none":
        refuse(endpoint, "response_format", "has no JSON mode")


def _schema_format(style: str, body: Body, endpoint: Endpoint) -> Body:
    if style == "json_object_schema":
        return {"type": "json_object", "schema": schema_of(body)}
    if style != "flat_schema":
        refuse(endpoint, "response_format", "does not answer by a JSON schema")
    return {"type": "json_schema", "schema": schema_of(body)}


def _bend_names(body: Body, quirks: Quirks, endpoint: Endpoint) -> None:
    for old, new in quirks.rename_params.items():
        if old in body:
            body.setdefault(new, body.pop(old))
            body.pop(old, None)


_BENDS: tuple[Callable[[Body, Quirks, Endpoint], None], ...] = (
    _bend_max_tokens,
    _bend_tool_choice,
    _bend_response_format,
    _bend_names,
)


def _set_stream(body: Body, call: ChatCall, quirks: Quirks) -> None:
    if not call.stream:
        body.pop("stream_options", None)
        body.pop("stream", None)
        return
    body["stream"] = True
    if quirks.usage_mode == "include_usage":
        body["stream_options"] = {**dict_of(body.get("stream_options")), "include_usage": True}
    else:
        body.pop("stream_options", None)


def _drop(body: Body, call: ChatCall, quirks: Quirks) -> tuple[str, ...]:
    """Removes what the provider refuses, and tells what the client had sent of it."""
    if not quirks.drop_params and not quirks.strict_unknown:
        return ()
    refused = set(quirks.drop_params)
    if quirks.strict_unknown:
        refused |= body.keys() - known_params(quirks)
    found = [name for name in body if name in refused]
    for name in found:
        del body[name]
    return tuple(name for name in found if is_a_loss(name, call.body.get(name)))


def known_params(quirks: Quirks) -> frozenset[str]:
    """What a strict provider takes."""
    return KNOWN_PARAMS.union(
        quirks.known_params, quirks.default_params, quirks.rename_params.values()
    )


# --- messages --------------------------------------------------------------------------------


def _messages(messages: Any, quirks: Quirks, endpoint: Endpoint) -> Any:
    """What is no list of objects is left to the provider to refuse."""
    if not isinstance(messages, list):
        return messages
    return [
        _message(message, quirks, endpoint) if isinstance(message, dict) else message
        for message in messages
    ]


def _message(message: Body, quirks: Quirks, endpoint: Endpoint) -> Body:
    bent = message
    if message.get("role") == "developer" and not quirks.developer_role:
        bent = {**bent, "role": "system"}
    if isinstance(message.get("content"), list):
        bent = _bend_content(bent, quirks, endpoint)
    if message.get("role") == "assistant":
        bent = _bend_reasoning(bent, quirks)
    if quirks.tool_call_ids == "nine":
        bent = _bend_call_ids(bent)
    return _known_fields_only(bent, quirks) if quirks.strict_unknown else bent


def _bend_content(message: Body, quirks: Quirks, endpoint: Endpoint) -> Body:
    style = quirks.content_parts
    if style == "all" or (style == "string_in_tools" and message.get("role") != "tool"):
        return message
    text = flat_text(message["content"])
    if text is not None:
        return {**message, "content": text}
    if message.get("role") == "tool" or not endpoint.capabilities & _TAKES_PARTS:
        refuse(endpoint, "messages", "takes text only, no images, audio or files")
    return message


def _bend_reasoning(message: Body, quirks: Quirks) -> Body:
    """One name in, whichever name the client had it under; some hosts refuse it altogether."""
    found = [name for name in REASONING_FIELDS if name in message]
    wanted = quirks.reasoning_field_in
    if not found or found == [wanted]:
        return message
    kept = {key: value for key, value in message.items() if key not in REASONING_FIELDS}
    text = next((message[name] for name in found if message[name]), None)
    return kept if wanted == "none" or text is None else {**kept, wanted: text}


def _bend_call_ids(message: Body) -> Body:
    """Ids of calls that another provider made; a call and its result get the same new one."""
    bent = message
    if isinstance(message.get("tool_call_id"), str):
        bent = {**bent, "tool_call_id": nine_char_id(message["tool_call_id"])}
    if message.get("tool_calls"):
        calls = [
            {**call, "id": nine_char_id(call["id"])} if isinstance(call.get("id"), str) else call
            for call in dicts_in(message["tool_calls"])
        ]
        bent = {**bent, "tool_calls": calls}
    return bent


def _known_fields_only(message: Body, quirks: Quirks) -> Body:
    known = KNOWN_MESSAGE_FIELDS | {quirks.reasoning_field_in}
    kept = {key: value for key, value in message.items() if key in known}
    if isinstance(kept.get("content"), list):
        kept["content"] = [_only(part, KNOWN_PART_FIELDS) for part in kept["content"]]
    if kept.get("tool_calls"):
        kept["tool_calls"] = [_only(c, KNOWN_CALL_FIELDS) for c in dicts_in(kept["tool_calls"])]
    return kept


def _only(item: Any, known: frozenset[str]) -> Any:
    if not isinstance(item, dict):
        return item
    return {key: value for key, value in item.items() if key in known}
