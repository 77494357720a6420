"""The adapter for providers that take OpenAI's Responses, asked by clients that write it."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from routing.adapters import errors
from routing.adapters.base import BuiltRequest, ChatCall, Headers, NativeCall, Reply
from routing.adapters.jsonio import dict_of, dicts_in, dumps, list_of, text_of
from routing.adapters.openai_compat.answers import tier_word
from routing.adapters.openai_responses.answers import (
    finish_word,
    item_chars,
    response_in,
    responses_usage,
)
from routing.adapters.openai_responses.stream import ResponsesReader
from routing.adapters.wire import quirks_of, request_headers
from routing.core.catalog import Endpoint
from routing.core.errors import FailureClass, UpstreamError

DIALECT = "openai_responses"
SEALED_THOUGHTS = "reasoning.encrypted_content"
CACHE_MARK = "cache_control"


class OpenAIResponses(errors.UsualErrors):
    """For requests that came in this dialect: nothing is ever translated into it."""

    dialect = DIALECT

    @override
    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        native, quirks = call.native, quirks_of(endpoint)
        if native is None or native.dialect != DIALECT:
            raise UpstreamError(
                FailureClass.CLIENT,
                "Only what was written as a response can be asked for at this address.",
                code="unsupported_dialect",
                was_sent=False,
            )
        headers = request_headers(quirks, quirks.auth, secret, stream=call.stream)
        body, dropped = _body(native, call, endpoint)
        return BuiltRequest(quirks.responses_path, headers, dumps(body), dropped)

    @override
    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        response = response_in(body, headers, quirks_of(endpoint))
        raw_usage = dict_of(response.get("usage"))
        return Reply(
            raw=body,
            usage=responses_usage(response),
            usage_raw=dumps(raw_usage) if raw_usage else b"",
            finish_reason=finish_word(response),
            response_model=text_of(response.get("model")),
            service_tier=tier_word(response.get("service_tier")),
            output_chars=sum(map(item_chars, dicts_in(response.get("output")))),
            is_native=True,
        )

    @override
    def open_stream(self, call: ChatCall, endpoint: Endpoint) -> ResponsesReader:
        return ResponsesReader(call, endpoint)


def _body(
    native: NativeCall, call: ChatCall, endpoint: Endpoint
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body to send, and the names of what this dialect has no word for."""
    body = {**native.body, "model": endpoint.upstream_model}
    if call.stream:
        body["stream"] = True
    if native.returns_thoughts and "reasoning" in endpoint.capabilities and not body.get("store"):
        # What a provider does not keep it can only read again sealed; a model that does not
        # reason refuses the word.
        asked = list_of(body.get("include"))
        body["include"] = asked if SEALED_THOUGHTS in asked else [*asked, SEALED_THOUGHTS]
    return _without_marks(body)


def _without_marks(body: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Marks of another dialect's cache, which clients set for whoever understands them."""
    dropped: dict[str, None] = {}

    def unmarked(holder: Any, place: str) -> Any:
        if not isinstance(holder, dict) or CACHE_MARK not in holder:
            return holder
        dropped[f"{place}.{CACHE_MARK}"] = None
        return {name: value for name, value in holder.items() if name != CACHE_MARK}

    def part_unmarked(item: Any) -> Any:
        item = unmarked(item, "input")
        parts = item.get("content") if isinstance(item, dict) else None
        if not isinstance(parts, list) or not any(CACHE_MARK in p for p in dicts_in(parts)):
            return item
        return {**item, "content": [unmarked(part, "input.content") for part in parts]}

    made = {name: list_of(body.get(name)) for name in ("input", "tools")}
    changed = {
        "input": [part_unmarked(item) for item in made["input"]],
        "tools": [unmarked(tool, "tools") for tool in made["tools"]],
    }
    kept = {name: value for name, value in changed.items() if made[name]}
    return ({**body, **kept}, tuple(dropped)) if dropped else (body, ())
