"""The adapter for Google's generateContent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from typing_extensions import override

from routing.adapters import errors
from routing.adapters.base import BuiltRequest, ChatCall, Headers, Reply
from routing.adapters.content import content_chars
from routing.adapters.gemini.answers import (
    FAILURES,
    GeminiStream,
    block_reason,
    failure_document,
    finish_word,
    index_of,
    message_from,
    reason_of,
    sources_of,
)
from routing.adapters.gemini.logprobs import logprobs_of
from routing.adapters.gemini.request import build_body, request_path
from routing.adapters.jsonio import dict_of, dicts_in, dumps, text_of
from routing.adapters.quirks import Quirks
from routing.adapters.usage import gemini_usage, openai_usage_object
from routing.adapters.wire import quirks_of, request_headers
from routing.core.catalog import Endpoint


class Gemini(errors.UsualErrors):
    """`now` gives the `created` of answers, which this dialect does not have."""

    dialect = "gemini"

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    @override
    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        quirks = quirks_of(endpoint)
        body, dropped = build_body(call, endpoint)
        auth = "header:x-goog-api-key" if quirks.auth == "bearer" else quirks.auth
        headers = request_headers(quirks, auth, secret, stream=call.stream)
        return BuiltRequest(
            request_path(endpoint, stream=call.stream), headers, dumps(body), dropped
        )

    @override
    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        quirks = quirks_of(endpoint)
        document = _answer_in(body, headers, quirks)
        raw_usage = dict_of(document.get("usageMetadata"))
        usage = gemini_usage(raw_usage)
        id, model = text_of(document.get("responseId")), text_of(document.get("modelVersion"))
        choices = _choices(document, id, quirks)
        answer = {
            "id": id,
            "object": "chat.completion",
            "created": int(self._now()),
            "model": model or endpoint.upstream_model,
            "choices": choices,
            "usage": openai_usage_object(usage),
        }
        return Reply(
            raw=dumps(answer),
            usage=usage,
            usage_raw=dumps(raw_usage) if raw_usage else b"",
            finish_reason=choices[0]["finish_reason"],
            response_model=model,
            output_chars=sum(content_chars(choice["message"]) for choice in choices),
        )

    @override
    def open_stream(self, call: ChatCall, endpoint: Endpoint) -> GeminiStream:
        return GeminiStream(call, endpoint, int(self._now()))


def _answer_in(body: bytes, headers: Headers, quirks: Quirks) -> dict[str, Any]:
    found = errors.answer_in(body, headers, quirks)
    if not dicts_in(found.get("candidates")) and not block_reason(found):
        raise errors.not_an_answer(body)
    return found


def _choices(document: dict[str, Any], id: str, quirks: Quirks) -> list[dict[str, Any]]:
    if block_reason(document):
        return [_choice(0, {"content": None}, "content_filter")]
    return [_choice_from(candidate, id, quirks) for candidate in dicts_in(document["candidates"])]


def _choice_from(candidate: dict[str, Any], id: str, quirks: Quirks) -> dict[str, Any]:
    reason = reason_of(candidate)
    if reason in FAILURES:
        raise errors.refused(errors.facts_of(failure_document(reason)), 200, quirks)
    message = {"content": None, **message_from(candidate, id)}
    message |= sources_of(candidate, message["content"] or "")
    calls = message.get("tool_calls") or []
    for call in calls:
        del call["index"]  # belongs to streams only
    choice = _choice(index_of(candidate), message, finish_word(reason, has_tools=bool(calls)))
    return {**choice, "logprobs": logprobs_of(candidate)}


def _choice(index: int, message: dict[str, Any], finish: str) -> dict[str, Any]:
    full = {"role": "assistant", **message}
    return {"index": index, "message": full, "logprobs": None, "finish_reason": finish}
