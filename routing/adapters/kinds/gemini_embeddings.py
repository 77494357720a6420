"""Embeddings at Google: one batch call, no usage in the answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from typing_extensions import override

from routing.adapters import errors
from routing.adapters.base import BuiltRequest, ChatCall, Headers, Reply
from routing.adapters.forms import refuse
from routing.adapters.jsonio import dicts_in, dumps, list_of
from routing.adapters.kinds.common import (
    WholeAnswers,
    as_billed,
    headers_for,
)
from routing.adapters.kinds.embeddings import usage_of, wanted_count, written
from routing.adapters.usage import first_count
from routing.adapters.wire import quirks_of
from routing.core.catalog import Endpoint
from routing.core.errors import BrokenAnswer

_CARRIED = frozenset({"model", "input", "dimensions", "encoding_format"})


class GeminiEmbeddings(WholeAnswers):
    dialect = "gemini"

    @override
    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        quirks = quirks_of(endpoint)
        model = f"models/{quote(endpoint.upstream_model, safe='-._~')}"
        requests = [_request(model, text, call) for text in _texts(call, endpoint)]
        dropped = tuple(sorted(name for name in call.body if name not in _CARRIED))
        auth = "header:x-goog-api-key" if quirks.auth == "bearer" else quirks.auth
        return BuiltRequest(
            f"/{model}:batchEmbedContents",
            headers_for(endpoint, secret, auth=auth),
            dumps({"requests": requests}),
            dropped,
        )

    @override
    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        document = errors.answer_in(body, headers, quirks_of(endpoint))
        vectors = [list_of(item.get("values")) for item in dicts_in(document.get("embeddings"))]
        if not vectors:
            raise errors.not_an_answer(body)
        _check(vectors, call)
        usage = usage_of(first_count(document, "usageMetadata.promptTokenCount"), call)
        as_json = [dumps(vector) for vector in vectors]
        return Reply(
            raw=written(call, endpoint.upstream_model, as_json, usage),
            usage=as_billed(usage, endpoint),
        )


def _texts(call: ChatCall, endpoint: Endpoint) -> list[str]:
    value = call.body["input"]
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        refuse(endpoint, "input", "embeds texts, not token ids")
    return texts


def _request(model: str, text: str, call: ChatCall) -> dict[str, Any]:
    request: dict[str, Any] = {"model": model, "content": {"parts": [{"text": text}]}}
    if call.body.get("dimensions"):
        request["outputDimensionality"] = call.body["dimensions"]
    return request


def _check(vectors: list[list[Any]], call: ChatCall) -> None:
    dimensions = call.body.get("dimensions")
    lengths = {len(vector) for vector in vectors}
    if len(vectors) != wanted_count(call) or 0 in lengths:
        raise BrokenAnswer("wrong_count", "not one vector for each input", status=200)
    if len(lengths) > 1 or (dimensions and lengths != {dimensions}):
        raise BrokenAnswer("wrong_dimensions", f"vectors of {sorted(lengths)} came", status=200)
