"""Requests for something else than chat, checked once.

Only what routing, billing and the forms of answers depend on is checked here; everything else is
passed on for the provider to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routing.adapters.base import Headers
from routing.adapters.kinds.counting import (
    USUAL_PIXELS,
    input_tokens,
    pixels_of_size,
    text_tokens,
)
from routing.adapters.kinds.rerank import estimated_tokens
from routing.core.catalog import Snapshot
from routing.core.kinds import (
    EMBEDDING,
    IMAGE,
    RERANK,
    SPEECH,
    TRANSCRIPTION,
    TRANSLATION,
)
from routing.core.usage import Meter
from routing.gateway.kind_facts import (
    Parsed,
    call_of,
    check_flag,
    check_one_of,
    facts_of,
    text_in,
)
from routing.gateway.kind_forms import Note, parse_recording
from routing.gateway.parse import load_json
from routing.gateway.preferences import bad_request, whole_in

MOST_INPUTS = 2048
MOST_DOCUMENTS = 10_000
MOST_IMAGES = 10
MOST_PARTIAL = 3  # pictures before the whole one
MOST_DIMENSIONS = 65_536


def parse_embeddings(body: dict[str, Any], raw: bytes, snapshot: Snapshot) -> Parsed:
    """Takes the hub's own fields out of `body`. Raises HubError 400 and 404."""
    longest = _longest_input(body.get("input"))
    check_one_of(body, "encoding_format", ("float", "base64"))
    dimensions = whole_in(body, "dimensions", MOST_DIMENSIONS)
    return call_of(body, raw, EMBEDDING), facts_of(
        body,
        snapshot,
        EMBEDDING,
        input_tokens=input_tokens(body["input"]),
        window_tokens=longest,
        needs=frozenset({"dimensions"}) if dimensions else frozenset(),
    )


def _longest_input(value: Any) -> int:
    """Of one input, in tokens. Raises HubError 400 for what cannot be embedded."""
    if isinstance(value, str) and value:
        return input_tokens(value)
    if not isinstance(value, list) or not 0 < len(value) <= MOST_INPUTS:
        raise bad_request(
            "invalid_value",
            f"'input' must be a text, or a list of 1 to {MOST_INPUTS} texts or lists of token ids",
            "input",
        )
    if _are_token_ids(value):
        return len(value)
    is_texts = all(isinstance(item, str) and item for item in value)
    if not is_texts and not all(isinstance(item, list) and _are_token_ids(item) for item in value):
        raise bad_request(
            "invalid_type", "'input' must hold texts, or lists of token ids, none empty", "input"
        )
    return max(map(input_tokens, value))


def _are_token_ids(value: list[Any]) -> bool:
    return bool(value) and all(type(item) is int and item >= 0 for item in value)


def parse_rerank(body: dict[str, Any], raw: bytes, snapshot: Snapshot) -> Parsed:
    query, texts = text_in(body, "query"), _documents(body.get("documents"))
    whole_in(body, "top_n", MOST_DOCUMENTS)
    check_flag(body, "return_documents")
    longest = text_tokens(query) + max(map(text_tokens, texts))
    return call_of(body, raw, RERANK), facts_of(
        body,
        snapshot,
        RERANK,
        input_tokens=estimated_tokens(query, texts),
        window_tokens=longest,
        pieces=((Meter.SEARCH, 1),),
    )


def _documents(value: Any) -> list[str]:
    if not isinstance(value, list) or not 0 < len(value) <= MOST_DOCUMENTS:
        raise bad_request(
            "invalid_value",
            f"'documents' must be a list of 1 to {MOST_DOCUMENTS} texts",
            "documents",
        )
    texts: list[str] = []
    for at, item in enumerate(value):
        text = item.get("text") if isinstance(item, dict) else item
        if not isinstance(text, str):
            raise bad_request(
                "invalid_type",
                f"documents[{at}] must be a text, or an object with a 'text'",
                f"documents[{at}]",
            )
        texts.append(text)
    return texts


def parse_images(body: dict[str, Any], raw: bytes, snapshot: Snapshot) -> Parsed:
    prompt, n = text_in(body, "prompt"), whole_in(body, "n", MOST_IMAGES) or 1
    check_one_of(body, "response_format", ("url", "b64_json"))
    is_stream = _image_stream(body, n)
    pixels = pixels_of_size(body.get("size")) or USUAL_PIXELS
    return call_of(body, raw, IMAGE, stream=is_stream), facts_of(
        body,
        snapshot,
        IMAGE,
        streamed_by="stream" if is_stream else "",
        input_tokens=text_tokens(prompt),
        output_tokens=n * pixels // 1000,
        pieces=((Meter.IMAGE, n), (Meter.PIXEL, n * pixels)),
    )


def _image_stream(body: dict[str, Any], n: int) -> bool:
    check_flag(body, "stream")
    is_stream = body.get("stream") is True
    partial = body.get("partial_images")
    if partial is not None and (type(partial) is not int or not 0 <= partial <= MOST_PARTIAL):
        raise bad_request(
            "invalid_value",
            f"'partial_images' must be a whole number from 0 to {MOST_PARTIAL}",
            "partial_images",
        )
    if partial and not is_stream:
        raise bad_request(
            "invalid_value", "'partial_images' needs 'stream': true", "partial_images"
        )
    if is_stream and n > 1:
        raise bad_request("unsupported_value", "A stream gives one image: 'n' must be 1", "n")
    return is_stream


def parse_speech(body: dict[str, Any], raw: bytes, snapshot: Snapshot) -> Parsed:
    text = text_in(body, "input")
    check_one_of(body, "stream_format", ("audio", "sse"))
    is_events = body.get("stream_format") == "sse"
    if not is_events:
        body.pop("stream_format", None)  # the usual one: there is nothing to lose
    call = call_of(body, raw, SPEECH, stream=True, is_sound=not is_events)
    return call, facts_of(
        body,
        snapshot,
        SPEECH,
        streamed_by="stream_format" if is_events else "",
        input_tokens=text_tokens(text),
        pieces=((Meter.CHARACTER, len(text)),),
    )


_JSON_PARSERS: dict[str, Callable[[dict[str, Any], bytes, Snapshot], Parsed]] = {
    EMBEDDING: parse_embeddings,
    RERANK: parse_rerank,
    IMAGE: parse_images,
    SPEECH: parse_speech,
}


def parse_kind(
    kind: str, headers: Headers, raw: bytes, snapshot: Snapshot, note: Note = lambda _: None
) -> Parsed:
    """`headers` are the client's: they say what the body is. Raises HubError 400, 404, 415.

    `note` gets what the client wrote as the model, also of a request that is refused afterwards.
    """
    if kind in (TRANSCRIPTION, TRANSLATION):
        return parse_recording(kind, headers, raw, snapshot, note)
    body = load_json(raw)
    note(body.get("model"))
    return _JSON_PARSERS[kind](body, raw, snapshot)
