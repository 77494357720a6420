"""Embeddings as OpenAI asks for them. Vectors go out in the form the client wants.

OpenAI's own SDK asks for base64 (little-endian float32) unless told otherwise, and many providers
give numbers only; either form is made from the other here.
"""

from __future__ import annotations

import binascii
import struct
from base64 import b64decode, b64encode
from typing import Any

import msgspec
from typing_extensions import override

from routing.adapters import errors
from routing.adapters.base import BuiltRequest, ChatCall, Headers, Reply
from routing.adapters.jsonio import dict_of, dumps
from routing.adapters.kinds.common import (
    WholeAnswers,
    as_billed,
    headers_for,
    sent_body,
)
from routing.adapters.kinds.counting import input_tokens
from routing.adapters.usage import first_count
from routing.adapters.wire import quirks_of
from routing.core.catalog import Endpoint
from routing.core.errors import BrokenAnswer
from routing.core.usage import Usage, UsageSource

BASE64 = "base64"
FLOAT_BYTES = 4


class OpenAIEmbeddings(WholeAnswers):
    dialect = "openai_compat"

    @override
    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        quirks = quirks_of(endpoint)
        body, dropped = sent_body(call, endpoint)
        if wants_base64(call) and not quirks.embeddings_base64:
            body["encoding_format"] = "float"
        headers = headers_for(endpoint, secret)
        return BuiltRequest(quirks.embeddings_path, headers, dumps(body), tuple(dropped))

    @override
    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        answer = _read(body, headers, endpoint)
        raw_usage = bytes(answer.usage)
        prompt = first_count(_object(raw_usage), "prompt_tokens", "total_tokens")
        usage = usage_of(prompt, call)
        vectors = [bytes(item.embedding) for item in answer.data]
        _check(vectors, call)
        in_order = [item.index for item in answer.data] == list(range(len(vectors)))
        if prompt is not None and in_order and all(_is_wanted(vector, call) for vector in vectors):
            raw = body
        else:
            ordered = _by_index(answer.data, vectors)
            raw = written(call, answer.model or endpoint.upstream_model, ordered, usage)
        return Reply(
            raw=raw,
            usage=as_billed(usage, endpoint),
            usage_raw=raw_usage if prompt is not None else b"",
            response_model=answer.model,
        )


class _Item(msgspec.Struct):
    embedding: msgspec.Raw
    index: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Item]
    usage: msgspec.Raw = msgspec.Raw(b"")
    model: str = ""
    error: None = None


_decode = msgspec.json.Decoder(_Answer).decode
_floats = msgspec.json.Decoder(list[float]).decode
_text = msgspec.json.Decoder(str).decode


def wants_base64(call: ChatCall) -> bool:
    return call.body.get("encoding_format") == BASE64


def wanted_count(call: ChatCall) -> int:
    """How many vectors the request is answered by."""
    value = call.body.get("input")
    if isinstance(value, list) and value and not isinstance(value[0], int):
        return len(value)
    return 1


def usage_of(prompt_tokens: int | None, call: ChatCall) -> Usage:
    if prompt_tokens is not None:
        return Usage(input_total=prompt_tokens, output_total=0)
    estimate = input_tokens(call.body.get("input"))
    return Usage(input_total=estimate, output_total=0, source=UsageSource.ESTIMATED)


def written(call: ChatCall, model: str, vectors: list[bytes], usage: Usage) -> bytes:
    """The client's answer. `vectors` are JSON: arrays of numbers, or strings of base64."""
    as_base64 = wants_base64(call)
    data = [
        {"object": "embedding", "index": at, "embedding": _in_form(vector, as_base64)}
        for at, vector in enumerate(vectors)
    ]
    told = {"prompt_tokens": usage.input_total, "total_tokens": usage.input_total}
    return dumps({"object": "list", "data": data, "model": model, "usage": told})


def _read(body: bytes, headers: Headers, endpoint: Endpoint) -> _Answer:
    """Numbers stay the bytes they are: most answers are passed on without reading them."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        errors.answer_in(body, headers, quirks_of(endpoint))
        raise errors.not_an_answer(body) from None


def _object(raw: bytes) -> dict[str, Any]:
    return dict_of(msgspec.json.decode(raw)) if raw else {}


def _check(vectors: list[bytes], call: ChatCall) -> None:
    wanted, dimensions = wanted_count(call), call.body.get("dimensions")
    if len(vectors) != wanted:
        raise BrokenAnswer(
            "wrong_count", f"{len(vectors)} vectors came for {wanted} inputs", status=200
        )
    lengths = {_length(vector) for vector in vectors}
    if len(lengths) > 1 or 0 in lengths or (dimensions and lengths != {dimensions}):
        raise BrokenAnswer("wrong_dimensions", f"vectors of {sorted(lengths)} came", status=200)


def _length(vector: bytes) -> int:
    """Of an array in numbers, without reading it; of base64 in floats."""
    if vector[:1] == b"[":
        return vector.count(b",") + 1 if vector.strip(b"[] \r\n\t") else 0
    if vector[:1] == b'"':
        chars = len(vector) - 2 - vector[-3:].count(b"=")
        return chars * 3 // 4 // FLOAT_BYTES
    return 0


def _is_wanted(vector: bytes, call: ChatCall) -> bool:
    return (vector[:1] == b'"') == wants_base64(call)


def _by_index(items: list[_Item], vectors: list[bytes]) -> list[bytes]:
    indexes = [item.index for item in items]
    if None in indexes:
        return vectors
    if sorted(index for index in indexes if index is not None) != list(range(len(items))):
        raise BrokenAnswer("wrong_indexes", "the vectors' indexes do not count up", status=200)
    return [vectors[indexes.index(at)] for at in range(len(items))]


def _in_form(vector: bytes, as_base64: bool) -> str | list[float]:
    try:
        if vector[:1] == b'"':
            text = _text(vector)
            return text if as_base64 else unpacked(text)
        numbers = _floats(vector)
        return packed(numbers) if as_base64 else numbers
    except (msgspec.MsgspecError, ValueError, OverflowError, struct.error) as exc:
        raise BrokenAnswer("bad_vector", f"a vector cannot be read: {exc}", status=200) from None


def packed(numbers: list[float]) -> str:
    """Raises OverflowError for a number beyond float32."""
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode("ascii")


def unpacked(text: str) -> list[float]:
    """Raises ValueError for what is not base64 of whole floats."""
    try:
        data = b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError(str(exc)) from None
    return list(struct.unpack(f"<{len(data) // FLOAT_BYTES}f", data))
