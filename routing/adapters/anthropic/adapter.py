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
from routing.adapters.anthropic.messages import Block
from routing.adapters.anthropic.native import (
    BETA_HEADER,
    VERSION_HEADER,
    CarriedHeaders,
    block_chars,
    carried_headers,
    native_body,
    native_of,
)
from routing.adapters.anthropic.native_stream import MessagesReader
from routing.adapters.anthropic.request import betas_of, build_body, model_path
from routing.adapters.base import (
    BuiltRequest,
    ChatCall,
    FixedHeaders,
    Headers,
    Reply,
    StreamReader,
)
from routing.adapters.content import content_chars
from routing.adapters.jsonio import dict_of, dumps, text_of
from routing.adapters.quirks import Quirks
from routing.adapters.usage import anthropic_usage, openai_usage_object
from routing.adapters.wire import quirks_of, request_headers
from routing.core.catalog import Endpoint

API_VERSION = b"2023-06-01"
_VERSION = ((VERSION_HEADER, API_VERSION),)


class Anthropic(errors.UsualErrors):
    """`now` gives the `created` of answers, which this dialect does not have."""

    dialect = "anthropic"

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    @override
    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        quirks = quirks_of(endpoint)
        native = native_of(call)
        if native is None:
            body, dropped = build_body(call, endpoint)
            own = _betas_header(call.body)
        else:
            body, dropped = native_body(native, call, endpoint)
            own = carried_headers(list(native.headers))
        headers = self._headers(quirks, secret, call, own)
        return BuiltRequest(model_path(endpoint), headers, dumps(body), dropped)

    @staticmethod
    def _headers(quirks: Quirks, secret: str, call: ChatCall, own: CarriedHeaders) -> FixedHeaders:
        """The client's version wins: its words and its reading of the answer are made for that."""
        auth = "header:x-api-key" if quirks.auth == "bearer" else quirks.auth
        usual = request_headers(quirks, auth, secret, stream=call.stream, more=_VERSION)
        if all(pair in usual for pair in own):
            return usual
        made = dict(usual)
        for name, value in own:
            given = made.get(name) if name == BETA_HEADER else None
            made[name] = value if given is None else given + b"," + value
        return tuple(made.items())

    @override
    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        document = _answer_in(body, headers, quirks_of(endpoint))
        blocks = blocks_of(document)
        raw_usage = dict_of(document.get("usage"))
        reply = Reply(
            raw=body,
            usage=anthropic_usage(raw_usage),
            usage_raw=dumps(raw_usage) if raw_usage else b"",
            finish_reason=finish_word(document.get("stop_reason")),
            response_model=text_of(document.get("model")),
            output_chars=sum(map(block_chars, blocks)),
            is_native=native_of(call) is not None,
        )
        if not reply.is_native:
            message = message_from(blocks)
            reply.output_chars = content_chars(message)
            reply.raw = dumps(self._completion(document, message, reply, endpoint))
        return reply

    def _completion(
        self, document: Block, message: Block, reply: Reply, endpoint: Endpoint
    ) -> dict[str, Any]:
        choice = {"message": message, "logprobs": None, "finish_reason": reply.finish_reason}
        return {
            "id": text_of(document.get("id")),
            "object": "chat.completion",
            "created": int(self._now()),
            "model": reply.response_model or endpoint.upstream_model,
            "choices": [{"index": 0, **choice}],
            "usage": openai_usage_object(reply.usage),
        }

    @override
    def open_stream(self, call: ChatCall, endpoint: Endpoint) -> StreamReader:
        if native_of(call) is not None:
            return MessagesReader(call, endpoint)
        return AnthropicStream(call, endpoint, int(self._now()))


def _betas_header(body: dict[str, Any]) -> CarriedHeaders:
    betas = betas_of(body)
    return ((BETA_HEADER, betas.encode()),) if betas else ()


def _answer_in(body: bytes, headers: Headers, quirks: Quirks) -> dict[str, Any]:
    found = errors.answer_in(body, headers, quirks)
    if found.get("type") == "error":
        raise errors.refused(errors.facts_of(found), 200, quirks, headers=headers, body=body)
    if not isinstance(found.get("content"), list):
        raise errors.not_an_answer(body)
    return found
