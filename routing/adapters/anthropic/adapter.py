"""The adapter for providers that speak Anthropic Messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from typing_extensions import override

from routing.adapters import errors
from routing.adapters.anthropic.answers import (
    AnthropicStream,
    blocks_of,
    finish_word,
    message_from,
)
from routing.adapters.anthropic.request import betas_of, build_body, model_path
from routing.adapters.base import Adapter, BuiltRequest, ChatCall, Headers, Reply
from routing.adapters.content import content_chars
from routing.adapters.jsonio import BadJson, dict_of, dumps, loads, text_of
from routing.adapters.quirks import Quirks
from routing.adapters.usage import anthropic_usage, openai_usage_object
from routing.adapters.wire import quirks_of, request_headers, request_id_of
from routing.core.catalog import Endpoint
from routing.core.errors import UpstreamError

API_VERSION = "2023-06-01"


class Anthropic(Adapter):
    """`now` gives the `created` of answers, which this dialect does not have."""

    dialect = "anthropic"

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    @override
    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        quirks = quirks_of(endpoint)
        body, dropped = build_body(call, endpoint)
        auth = "header:x-api-key" if quirks.auth == "bearer" else quirks.auth
        headers = [*request_headers(quirks, auth, secret, stream=call.stream)]
        if not any(name == b"anthropic-version" for name, _ in headers):
            headers.append((b"anthropic-version", API_VERSION.encode()))
        betas = betas_of(call.body)
        if betas:
            headers.append((b"anthropic-beta", betas.encode()))
        return BuiltRequest(model_path(endpoint), headers, dumps(body), dropped)

    @override
    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        document = _answer_in(body, headers, quirks_of(endpoint))
        raw_usage = dict_of(document.get("usage"))
        usage = anthropic_usage(raw_usage)
        message = message_from(blocks_of(document))
        finish = finish_word(document.get("stop_reason"))
        model = text_of(document.get("model"))
        answer = {
            "id": text_of(document.get("id")),
            "object": "chat.completion",
            "created": int(self._now()),
            "model": model or endpoint.upstream_model,
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
            ],
            "usage": openai_usage_object(usage),
        }
        return Reply(
            raw=dumps(answer),
            usage=usage,
            usage_raw=dumps(raw_usage) if raw_usage else b"",
            finish_reason=finish,
            response_model=model,
            output_chars=content_chars(message),
        )

    @override
    def read_error(
        self, endpoint: Endpoint, status: int, headers: Headers, body: bytes
    ) -> UpstreamError:
        facts = errors.facts_in(body)
        return errors.refused(facts, status, quirks_of(endpoint), headers=headers, body=body)

    @override
    def open_stream(self, call: ChatCall, endpoint: Endpoint) -> AnthropicStream:
        return AnthropicStream(call, endpoint, int(self._now()))

    @override
    def request_id_of(self, endpoint: Endpoint, headers: Headers) -> str:
        return request_id_of(endpoint, headers)


def _answer_in(body: bytes, headers: Headers, quirks: Quirks) -> dict[str, Any]:
    try:
        document = loads(body)
    except BadJson as exc:
        raise errors.not_an_answer(body) from exc
    if errors.is_error(document) or dict_of(document).get("type") == "error":
        facts = errors.facts_of(document)
        raise errors.refused(facts, 200, quirks, headers=headers, body=body)
    if not isinstance(dict_of(document).get("content"), list):
        raise errors.not_an_answer(body)
    return dict_of(document)
