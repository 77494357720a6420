"""A chat request's body, checked once: the call to send on, and the facts to route by."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import orjson

from routing.adapters.base import ChatCall
from routing.adapters.estimate import (
    BYTES_PER_TOKEN,
    TOKENS_PER_MESSAGE,
    estimate_input_tokens,
    utf8_bytes_of,
)
from routing.adapters.forms import PLAIN_FIELDS, PLAIN_ROLES
from routing.adapters.jsonio import text_of
from routing.core.catalog import Snapshot
from routing.core.kinds import CHAT, check_kind
from routing.core.names import find_model, resolve, unknown_fallback
from routing.core.request import DEFAULT_OUTPUT_TOKENS, RequestFacts
from routing.gateway.preferences import MAX_NAME_CHARS, names_of, preferences_in, whole_in
from routing.gateway.preferences import bad_request as bad_request
from routing.gateway.preferences import parse_preferences as parse_preferences

MAX_FALLBACK_MODELS = 4
MAX_ANSWERS = 128  # to one request
MAX_FIELDS = 200
MAX_FIELD_CHARS = 200  # of a name, and of a word such as the service tier
MAX_OUTPUT_TOKENS = 10_000_000
T = TypeVar("T")


def load_json(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise bad_request("invalid_json", f"The body is not valid JSON: {exc}") from None
    if not isinstance(body, dict):
        raise bad_request("invalid_json", "The body must be a JSON object")
    return body


async def load_aside(raw: bytes) -> dict[str, Any]:
    """As `load_json`, on a thread: a large body would hold up every other request."""
    return await asyncio.to_thread(load_json, raw)


def parse_chat(
    body: dict[str, Any], raw: bytes, snapshot: Snapshot
) -> tuple[ChatCall, RequestFacts]:
    """Takes the hub's own fields (`provider`, `models`) out of `body`. Raises HubError 400, 404.

    `raw` is what `body` was read from, and may be sent on; b"" where `body` was made otherwise.
    This is one flat pass over a plain body, the common one; for any other `parse_any` is asked.
    """
    if not PLAIN_FIELDS.issuperset(body):
        return parse_any(body, raw, snapshot)
    requested, messages = body.get("model"), body.get("messages")
    stream, options = body.get("stream", False), body.get("stream_options", _NO_OPTIONS)
    cap = body.get("max_completion_tokens", body.get("max_tokens", _NO_CAP))
    if (
        type(requested) is not str
        or not 0 < len(requested) <= MAX_NAME_CHARS
        or type(messages) is not list
        or not messages
        or (stream is not True and stream is not False)
        or type(options) is not dict
        or (cap is not _NO_CAP and (type(cap) is not int or not 1 <= cap <= MAX_OUTPUT_TOKENS))
    ):
        return parse_any(body, raw, snapshot)
    if set(map(type, messages)) != _DICT or set(map(len, messages)) != _TWO:
        return parse_any(body, raw, snapshot)
    texts = [message.get("content") for message in messages]
    roles = [message.get("role") for message in messages]
    if set(map(type, texts)) != _STR or set(map(type, roles)) != _STR:
        return parse_any(body, raw, snapshot)
    if not PLAIN_ROLES.issuperset(roles):
        return parse_any(body, raw, snapshot)
    text_bytes = utf8_bytes_of(texts, raw)
    found = resolve(requested, snapshot)
    check_kind(found.model, CHAT, snapshot)
    capped = cap is not _NO_CAP
    wants_usage = options.get("include_usage") is True
    call = ChatCall(body, stream, wants_usage, raw, is_plain=True)
    return call, RequestFacts(  # by place, which takes a fifth of the time
        requested,
        found.model,
        found.objective,
        found.pinned_provider,
        found.policy_name,
        TOKENS_PER_MESSAGE * len(messages) - (-text_bytes // BYTES_PER_TOKEN),  # input_tokens
        cap if capped and cap < DEFAULT_OUTPUT_TOKENS else DEFAULT_OUTPUT_TOKENS,  # output_tokens
        cap if capped else None,  # max_output_tokens
        stream,
    )


_NO_OPTIONS: dict[str, Any] = {}
_NO_CAP: Any = object()
_DICT, _STR, _TWO = {dict}, {str}, {2}


def parse_any(
    body: dict[str, Any], raw: bytes, snapshot: Snapshot
) -> tuple[ChatCall, RequestFacts]:
    """As `parse_chat`, field by field."""
    _check_field_names(body)
    _spell_out_schema(body)
    requested = _model_name(body)
    messages = _messages(body)
    stream = _optional(body, "stream", bool) or False
    options = _optional(body, "stream_options", dict) or {}
    preferences = preferences_in(body, snapshot)
    fallbacks = _fallback_models(body.pop("models", None), snapshot)
    found = resolve(requested, snapshot)
    check_kind(found.model, CHAT, snapshot)
    cap = _max_tokens(body)
    whole_in(body, "n", MAX_ANSWERS)
    call = ChatCall(body, stream, options.get("include_usage") is True, raw)
    facts = RequestFacts(
        requested_model=requested,
        model=found.model,
        objective=found.objective,
        pinned_provider=found.pinned_provider,
        policy_name=found.policy_name,
        input_tokens=estimate_input_tokens(body),
        output_tokens=min(DEFAULT_OUTPUT_TOKENS, cap) if cap else DEFAULT_OUTPUT_TOKENS,
        max_output_tokens=cap,
        stream=stream,
        needs=_needs(body, messages),
        parameters=frozenset(body) if preferences.require_parameters else frozenset(),
        service_tier=_service_tier(body),
        preferences=preferences,
        fallback_models=fallbacks,
    )
    return call, facts


def _spell_out_schema(body: dict[str, Any]) -> None:
    """huggingface_hub, given a base URL, writes a schema as TGI did: `json_object` with `value`."""
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") in _TGI_FORMS and "value" in form:
        if not isinstance(form["value"], dict):
            name = "response_format.value"
            raise bad_request("invalid_type", f"'{name}' must be a JSON schema (an object)", name)
        named = {"name": "response", "schema": form["value"]}
        body["response_format"] = {"type": "json_schema", "json_schema": named}


_TGI_FORMS = ("json_object", "json")


def _model_name(body: dict[str, Any]) -> str:
    name = body.get("model")
    if name is None:
        raise bad_request(
            "missing_model", "The body has no 'model'. GET /v1/models lists them", "model"
        )
    if not isinstance(name, str) or not name or len(name) > MAX_NAME_CHARS:
        raise bad_request("invalid_type", "'model' must be a model id (a string)", "model")
    return name


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request(
            "invalid_messages", "'messages' must be a list with at least one message", "messages"
        )
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise bad_request(
                "invalid_messages",
                f"messages[{i}] must be an object with a 'role'",
                f"messages[{i}]",
            )
    return messages


_TYPE_NAMES = {
    bool: "true or false",
    dict: "an object",
    str: "a string",
    list: "a list",
    int: "a whole number",
}


def _optional(body: dict[str, Any], name: str, kind: type[T]) -> T | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise bad_request("invalid_type", f"'{name}' must be {_TYPE_NAMES[kind]}", name)
    return value


def _max_tokens(body: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        if _optional(body, name, int) is not None:
            return whole_in(body, name, MAX_OUTPUT_TOKENS)
    return None


def _service_tier(body: dict[str, Any]) -> str:
    tier = _optional(body, "service_tier", str) or ""
    if len(tier) > MAX_FIELD_CHARS:
        words = f"'service_tier' has at most {MAX_FIELD_CHARS} characters"
        raise bad_request("invalid_value", words, "service_tier")
    return tier


def _check_field_names(body: dict[str, Any]) -> None:
    """Those that no provider takes are written down, and named in the answer's headers."""
    if len(body) > MAX_FIELDS or any(len(name) > MAX_FIELD_CHARS for name in body):
        raise bad_request(
            "invalid_value",
            f"The body has at most {MAX_FIELDS} fields, with names of at most {MAX_FIELD_CHARS} "
            "characters",
        )


def _needs(body: dict[str, Any], messages: list[dict[str, Any]]) -> frozenset[str]:
    """Capabilities without which an answer would be wrong rather than worse."""
    needs: set[str] = set()
    if _optional(body, "tools", list) and body.get("tool_choice") != "none":
        needs.add("tools")
    wanted = _optional(body, "response_format", dict)
    if wanted is not None:
        needs.update(_FORMAT_NEEDS.get(text_of(wanted.get("type")), ()))
    if body.get("logprobs") is True:
        needs.add("logprobs")
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            needs.update(
                _PART_NEEDS[kind] for kind in map(_part_kind, content) if kind in _PART_NEEDS
            )
    return frozenset(needs) if needs else _NOTHING


_NOTHING: frozenset[str] = frozenset()
_FORMAT_NEEDS = {"json_schema": ("structured_output",), "json_object": ("json_mode",)}
_PART_NEEDS = {"image_url": "vision", "input_audio": "audio_in"}


def _part_kind(part: object) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    return kind if isinstance(kind, str) else ""


def _fallback_models(value: object, snapshot: Snapshot) -> tuple[str, ...]:
    if value is None:
        return ()
    names = names_of(value, "models")
    if len(names) > MAX_FALLBACK_MODELS:
        raise bad_request(
            "invalid_value", f"'models' takes at most {MAX_FALLBACK_MODELS} ids", "models"
        )
    found: list[str] = []
    for name in names:
        model = find_model(name, snapshot)
        if model is None:
            raise unknown_fallback(name, snapshot)
        check_kind(model, CHAT, snapshot, "models")
        found.append(model)
    return tuple(found)
