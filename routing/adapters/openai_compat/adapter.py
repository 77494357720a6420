"""The adapter for every provider that speaks OpenAI chat."""

from __future__ import annotations

from typing import Any

import msgspec
from typing_extensions import override

from routing.adapters import errors
from routing.adapters.base import BuiltRequest, ChatCall, Headers, Reply
from routing.adapters.content import content_chars
from routing.adapters.errors import UsualErrors
from routing.adapters.jsonio import dict_of, dicts_in, dig, dumps, text_of
from routing.adapters.openai_compat.answers import (
    finish_word,
    mend_reasoning,
    mend_whole_calls,
    tier_word,
)
from routing.adapters.openai_compat.plain import read_plain_text
from routing.adapters.openai_compat.quick import plain_body
from routing.adapters.openai_compat.request import build_body
from routing.adapters.openai_compat.stream import OpenAIStream
from routing.adapters.quirks import Quirks
from routing.adapters.usage import openai_usage, provider_cost
from routing.adapters.wire import request_headers
from routing.compiled.marks import laid_out_by_python
from routing.core.catalog import Endpoint
from routing.core.usage import Usage


@laid_out_by_python
class OpenAICompat(UsualErrors):
    dialect = "openai_compat"

    @override
    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        quirks: Quirks = endpoint.provider.quirks
        headers = request_headers(quirks, quirks.auth, secret, stream=call.stream)
        plain = plain_body(call, endpoint) if call.is_plain else None
        if plain is not None:
            return BuiltRequest(quirks.chat_path, headers, plain)
        body, dropped = build_body(call, endpoint)
        return BuiltRequest(quirks.chat_path, headers, dumps(body), dropped)

    @override
    def read_plain_reply(self, endpoint: Endpoint, body: bytes) -> Reply | None:
        return read_plain_text(body, endpoint.provider.quirks)

    @override
    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        quirks: Quirks = endpoint.provider.quirks
        document = errors.answer_in(body, headers, quirks)
        choices = dicts_in(document.get("choices"))
        if not choices:
            raise errors.not_an_answer(body)
        id = document.get("id")
        words = [_take_choice(choice, id, quirks) for choice in choices]
        if any(word == "error" for word, _ in words):
            raise errors.refused(errors.facts_of(_BROKEN_OFF), 200, quirks, headers=headers)
        changed = any(was_changed for _, was_changed in words)
        raw_usage = _last_usage(document, quirks)
        return Reply(
            raw=dumps(document) if changed else body,
            usage=_usage(raw_usage, document, quirks),
            usage_raw=dumps(raw_usage) if raw_usage else b"",
            finish_reason=words[0][0] if words else "",
            response_model=text_of(document.get("model")),
            service_tier=tier_word(document.get("service_tier")),
            output_chars=_output_chars(document),
        )

    @override
    def open_stream(self, call: ChatCall, endpoint: Endpoint) -> OpenAIStream:
        return OpenAIStream(call, endpoint)


_BROKEN_OFF = {"error": {"message": "The provider broke the answer off.", "code": "error_finish"}}


def _take_choice(choice: dict[str, Any], answer_id: Any, quirks: Quirks) -> tuple[str, bool]:
    """Puts one choice in order; gives its finish word and whether anything changed."""
    message = dict_of(choice.get("message"))
    changed = mend_reasoning(message, quirks)
    changed = mend_whole_calls(message, answer_id) or changed
    sent = text_of(choice.get("finish_reason"))
    has_tools = bool(message.get("tool_calls"))
    word = finish_word(sent or "stop", quirks, has_tools=has_tools)
    if word != choice.get("finish_reason"):
        choice["finish_reason"] = word
        changed = True
    return word, changed


def _last_usage(document: dict[str, Any], quirks: Quirks) -> dict[str, Any]:
    found = [dig(document, path) for path in quirks.usage_paths]
    for raw in found[::-1]:
        if isinstance(raw, dict):
            return raw
    return {}


def _usage(raw: dict[str, Any], document: dict[str, Any], quirks: Quirks) -> Usage:
    usage = openai_usage(raw, quirks)
    return msgspec.structs.replace(usage, provider_cost_usd=provider_cost(document, quirks))


def _output_chars(document: dict[str, Any]) -> int:
    choices = dicts_in(document.get("choices"))
    return sum(content_chars(dict_of(choice.get("message"))) for choice in choices)
