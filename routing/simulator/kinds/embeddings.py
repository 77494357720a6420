"""Vectors derived from the text: equal texts have equal vectors, shared words bring them closer."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from random import Random
from typing import Any

from routing.simulator.asks import Refusal, wants
from routing.simulator.http11 import Request
from routing.simulator.kinds.base import (
    Answer,
    Reading,
    at_path,
    check_fields,
    json_reading,
    tokens_of,
    whole_in,
)
from routing.simulator.prices import Tally
from routing.simulator.world import Endpoint, Provider

KNOWN = "model input dimensions encoding_format user output_dimension output_dtype metadata"
MOST_INPUTS = 2048
LENGTHS = {
    "openai/text-embedding-3-small": 1536,
    "openai/text-embedding-3-large": 3072,
    "openai/text-embedding-ada-002": 1536,
    "google/gemini-embedding-001": 3072,
    "google/gemini-embedding-2": 3072,
    "mistralai/codestral-embed-2505": 1536,
    "Qwen/Qwen3-Embedding-8B": 4096,
    "BAAI/bge-base-en-v1.5": 768,
    "BAAI/bge-multilingual-gemma2": 3584,
    "BAAI/bge-en-icl": 4096,
    "intfloat/e5-mistral-7b-instruct": 4096,
    "nomic-ai/nomic-embed-text-v1.5": 768,
}
USUAL_LENGTH = 1024
NOISE = 0.05
_GEMINI_PATH = re.compile(r"/models/(?P<model>[^:]+):batchEmbedContents$")


def vector_of(text: str, model: str, length: int | None = None) -> list[float]:
    """A unit vector; a shorter one is the beginning of the whole one, made a unit again."""
    whole = LENGTHS.get(model, USUAL_LENGTH)
    rng = Random(f"{model} {text}")
    vector = [NOISE * (rng.random() - 0.5) for _ in range(whole)]
    for word in re.findall(r"\w+", text.lower()) or [text]:
        digest = hashlib.sha256(f"{model} {word}".encode("utf-8", "surrogatepass")).digest()
        for at in range(0, 32, 4):
            place = int.from_bytes(digest[at : at + 3], "big") % whole
            vector[place] += 1.0 if digest[at + 3] & 1 else -1.0
    vector = vector[: length or whole]
    norm = math.sqrt(math.fsum(x * x for x in vector)) or 1.0
    return [x / norm for x in vector]


class OpenAIEmbeddings:
    kind = "embedding"

    def model_of(self, provider: Provider, request: Request) -> str | None:
        if provider.dialect != "openai_compat":
            return None
        return at_path(provider, request, provider.traits.embeddings_path)

    def read(self, provider: Provider, request: Request) -> Reading:
        return json_reading(request)

    def answer(self, provider: Provider, endpoint: Endpoint, asked: Reading, now: float) -> Answer:
        fields = asked.fields
        check_fields(provider, self.kind, fields, KNOWN)
        texts, tokens = _inputs(fields.get("input"))
        _check_window(endpoint, tokens)
        length = _length(endpoint, fields)
        as_base64 = _wants_base64(provider, fields)
        data = [
            {"object": "embedding", "index": at, "embedding": _written(vector, as_base64)}
            for at, vector in enumerate(vector_of(text, endpoint.model, length) for text in texts)
        ]
        total = sum(tokens)
        return Answer(
            Tally(input_total=total),
            {"object": "list", "data": data, "model": endpoint.upstream_model},
            {"prompt_tokens": total, "total_tokens": total},
        )


def _inputs(value: Any) -> tuple[list[str], list[int]]:
    """The inputs as texts, and the tokens of each."""
    if isinstance(value, str) or (isinstance(value, list) and value and type(value[0]) is int):
        value = [value]
    good = isinstance(value, list) and 0 < len(value) <= MOST_INPUTS
    wants(good, f"'input' must hold 1 to {MOST_INPUTS} texts", param="input")
    texts: list[str] = []
    tokens: list[int] = []
    for item in value:
        is_ids = isinstance(item, list) and item and all(type(one) is int for one in item)
        is_text = isinstance(item, str) and item
        wants(is_ids or is_text, "'input' must not hold empty texts", param="input")
        texts.append(item if is_text else " ".join(map(str, item)))
        tokens.append(tokens_of(item) if is_text else len(item))
    return texts, tokens


def _check_window(endpoint: Endpoint, tokens: list[int]) -> None:
    window = endpoint.context_window
    if window is not None and max(tokens) > window:
        raise Refusal(
            400,
            f"This model's maximum context length is {window} tokens,"
            f" however you requested {max(tokens)} tokens.",
            code="context_length_exceeded",
            kind="invalid_request_error",
            param="input",
        )


def _length(endpoint: Endpoint, fields: dict[str, Any]) -> int | None:
    if "dimensions" not in fields:
        return None
    wants(endpoint.can("dimensions"), "This model has one length only", param="dimensions")
    return whole_in(fields, "dimensions", 1, LENGTHS.get(endpoint.model, USUAL_LENGTH))


def _wants_base64(provider: Provider, fields: dict[str, Any]) -> bool:
    form = fields.get("encoding_format", "float")
    known = ("float", "base64") if provider.traits.embeddings_base64 else ("float",)
    wants(form in known, f"encoding_format must be one of {known}", param="encoding_format")
    return bool(form == "base64")


def _written(vector: list[float], as_base64: bool) -> str | list[float]:
    if not as_base64:
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


class GeminiEmbeddings:
    kind = "embedding"

    def model_of(self, provider: Provider, request: Request) -> str | None:
        base = f"/{provider.slug}{provider.base_path}"
        found = _GEMINI_PATH.search(request.path)
        is_here = provider.dialect == "gemini" and request.path.startswith(base)
        return found["model"] if found and is_here else None

    def read(self, provider: Provider, request: Request) -> Reading:
        return json_reading(request)

    def answer(self, provider: Provider, endpoint: Endpoint, asked: Reading, now: float) -> Answer:
        for name in asked.fields:
            message = f'Invalid JSON payload received. Unknown name "{name}"'
            wants(name == "requests", message, param=name)
        vectors: list[dict[str, Any]] = []
        tokens: list[int] = []
        for request in asked.fields["requests"]:
            name = f"models/{endpoint.upstream_model}"
            wants(request["model"] == name, f"model must be {name}", param="model")
            text = "".join(part["text"] for part in request["content"]["parts"])
            length = request.get("outputDimensionality")
            vectors.append({"values": vector_of(text, endpoint.model, length)})
            tokens.append(tokens_of(text))
        wants(vectors, "requests must not be empty", param="requests")
        _check_window(endpoint, tokens)
        return Answer(Tally(input_total=sum(tokens)), {"embeddings": vectors})
