"""Reading answers that are bent or broken, and counting what nobody told."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from routing.adapters.base import ChatCall, Reply, Upload
from routing.adapters.kinds.counting import (
    audio_seconds,
    input_tokens,
    pixels_of_png,
    pixels_of_size,
    whole_seconds,
)
from routing.adapters.kinds.registry import kind_adapter_for
from routing.adapters.registry import adapter_for, kinds_in
from routing.core.deadlines import DEFAULT_DEADLINES, Deadlines
from routing.core.errors import BrokenAnswer, UpstreamError
from routing.core.usage import MILLION_METERS, Meter, UsageSource
from routing.gateway.lateness import deadlines_of
from routing.simulator.kinds.images import png
from tests.routing.kinds.support import call_of, endpoint_of, record_of, recording, wav

JSON = [(b"content-type", b"application/json")]


def read(slug: str, model: str, call: ChatCall, body: Any, **quirks: Any) -> Reply:
    endpoint = endpoint_of(record_of(slug, model), **quirks)
    adapter = adapter_for(endpoint.provider.dialect, endpoint.kind)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return adapter.read_reply(call, endpoint, JSON, raw)


def embedded(data: Any, call: ChatCall | None = None, **more: Any) -> Reply:
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    body = {"object": "list", "model": "m", "data": data, "usage": usage, **more}
    return read(
        "openai", "text-embedding-3-small", call or call_of("embedding", input=["a", "b"]), body
    )


def vector(index: int | None, *numbers: float) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": list(numbers)}


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def test_an_answer_in_the_wanted_form_is_passed_on_as_it_is() -> None:
    usage = b'{"prompt_tokens":1,"total_tokens":1}'
    body = (
        b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.5, -2e-3]}],'
        b'"model":"m","extra":1,"usage":' + usage + b"}"
    )
    reply = read("openai", "text-embedding-3-small", call_of("embedding", input="a"), body)
    assert reply.raw == body
    assert reply.usage_raw == usage


def test_vectors_come_in_the_order_of_the_inputs() -> None:
    reply = embedded([vector(1, 2.0), vector(0, 1.0)])
    assert [item["embedding"] for item in reply.body["data"]] == [[1.0], [2.0]]
    assert [item["index"] for item in reply.body["data"]] == [0, 1]


def test_either_form_is_made_from_the_other() -> None:
    as_base64 = call_of("embedding", input=["a", "b"], encoding_format="base64")
    reply = embedded([vector(0, 0.5, 0.25), vector(1, 1, -1)], as_base64)
    assert [item["embedding"] for item in reply.body["data"]] == [packed(0.5, 0.25), packed(1, -1)]
    text = {"object": "embedding", "embedding": packed(0.5, 0.25)}
    reply = embedded([{**text, "index": 0}, {**text, "index": 1}])
    assert [item["embedding"] for item in reply.body["data"]] == [[0.5, 0.25]] * 2


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ([vector(0, 1.0)], "wrong_count"),
        ([vector(0, 1.0), vector(1, 1.0, 2.0)], "wrong_dimensions"),
        ([vector(0), vector(1)], "wrong_dimensions"),
        ([vector(0, 1.0), vector(2, 1.0)], "wrong_indexes"),
        ([vector(0, 1.0), vector(0, 1.0)], "wrong_indexes"),
    ],
)
def test_vectors_that_do_not_fit_the_inputs_are_a_broken_answer(data: Any, code: str) -> None:
    with pytest.raises(BrokenAnswer) as broken:
        embedded(data)
    assert broken.value.code == code


def test_vectors_of_another_length_than_asked_for_are_a_broken_answer() -> None:
    call = call_of("embedding", input=["a", "b"], dimensions=3)
    with pytest.raises(BrokenAnswer, match="vectors of"):
        embedded([vector(0, 1, 2), vector(1, 1, 2)], call)
    call = call_of("embedding", input=["a", "b"], dimensions=3, encoding_format="base64")
    text = {"embedding": packed(1, 2), "object": "embedding"}
    with pytest.raises(BrokenAnswer, match="vectors of"):
        embedded([{**text, "index": 0}, {**text, "index": 1}], call)


def test_a_number_too_large_for_a_float_is_a_broken_answer() -> None:
    call = call_of("embedding", input="a", encoding_format="base64")
    with pytest.raises(BrokenAnswer, match="cannot be read"):
        embedded([vector(0, 1e300)], call)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b'{"data": 1}', b'{"error": {"message": "no"}}', b'{"data":[]}']
)
@pytest.mark.parametrize(
    ("slug", "model", "call"),
    [
        ("openai", "text-embedding-3-small", call_of("embedding", input="a")),
        ("gemini", "gemini-embedding-001", call_of("embedding", input="a")),
        ("novita", "qwen/qwen3-reranker-8b", call_of("rerank", query="q", documents=["a"])),
        ("xai", "grok-imagine-image", call_of("image", prompt="a")),
        ("groq", "whisper-large-v3", call_of("transcription", recording(1))),
        ("openai", "tts-1", call_of("speech", input="a")),
    ],
)
def test_what_is_no_answer_is_an_error(slug: str, model: str, call: ChatCall, body: bytes) -> None:
    with pytest.raises(UpstreamError):
        read(slug, model, call, body)


def test_a_ranking_of_documents_that_were_not_sent_is_a_broken_answer() -> None:
    call = call_of("rerank", query="q", documents=["a"])
    for result in ({"index": 1, "relevance_score": 0.5}, {"index": 0}, {"relevance_score": 1}):
        with pytest.raises(BrokenAnswer):
            read("novita", "qwen/qwen3-reranker-8b", call, {"results": [result]})


def test_a_ranking_billed_by_the_search_unit_is_counted_in_them() -> None:
    body = {
        "results": [{"index": 0, "relevance_score": 0.5}],
        "meta": {"billed_units": {"search_units": 2}},
    }
    call = call_of("rerank", query="q", documents=["a"])
    reply = read("novita", "qwen/qwen3-reranker-8b", call, body)
    assert (reply.usage.searches, reply.usage.source) == (2, UsageSource.PROVIDER)


def test_a_recording_of_unknown_length_is_estimated_and_marked() -> None:
    mp3 = Upload("a.mp3", "audio/mpeg", b"\xff\xfb" * 16_000)
    reply = read("openai", "gpt-transcribe", call_of("transcription", mp3), {"text": "x"})
    assert (reply.usage.audio_seconds, reply.usage.source) == (2, UsageSource.ESTIMATED)
    measured = call_of("transcription", recording(2.5))
    reply = read("openai", "gpt-transcribe", measured, {"text": "x"})
    assert (reply.usage.audio_seconds, reply.usage.source) == (3, UsageSource.PROVIDER)


@pytest.mark.parametrize("told", [-1, 1e12, True, "7", float("nan")])
def test_an_absurd_length_is_not_believed(told: Any) -> None:
    assert whole_seconds(told) is None


def test_a_cue_cannot_be_broken_by_its_text() -> None:
    segment = {"start": 3661.5, "end": 3662.0, "text": " a\n\nb --> c "}
    body = {"text": "x", "duration": 3662.0, "segments": [segment]}
    call = call_of("transcription", recording(1), response_format="srt")
    reply = read("groq", "whisper-large-v3", call, body)
    assert reply.raw == b"1\n01:01:01,500 --> 01:01:02,000\na b -> c\n"


def test_lengths_sizes_and_tokens_are_measured() -> None:
    assert audio_seconds(wav(2.5)) == 2.5
    assert audio_seconds(wav(2.5)[:-8000]) == 2.0  # announces more than it has
    assert audio_seconds(b"RIFF\0\0\0\0WAVEfmt ") is None
    assert audio_seconds(b"ID3") is None
    assert pixels_of_png(base64.b64encode(png(30, 20, 0)).decode()) == 600
    assert pixels_of_png("/9j/4AAQ") is None
    assert pixels_of_png("?") is None
    assert [pixels_of_size(size) for size in ("10x20", "auto", None, "0x5")] == [
        200,
        None,
        None,
        None,
    ]
    assert [input_tokens(value) for value in ("abcde", ["a", "b"], [1, 2, 3], [[1], [2, 3]])] == [
        2,
        2,
        3,
        3,
    ]


def test_only_what_is_priced_is_billed() -> None:
    body = {"created": 1, "data": [{"b64_json": "x"}], "usage": {"input_tokens": 9}}
    by_token = read("openai", "gpt-image-2", call_of("image", prompt="a"), body)
    assert (by_token.usage.input_total, by_token.usage.images) == (9, None)
    by_piece = read("xai", "grok-imagine-image", call_of("image", prompt="a"), body)
    assert (by_piece.usage.input_total, by_piece.usage.images) == (0, 1)
    assert json.loads(by_piece.usage_raw) == {"input_tokens": 9}


def test_every_kind_is_found_by_its_dialect() -> None:
    assert "embedding" in kinds_in("gemini")
    assert kinds_in("anthropic") == {"chat"}
    assert adapter_for("gemini").dialect == "gemini"
    with pytest.raises(KeyError, match="Dialects that have it: openai_compat"):
        kind_adapter_for("image", "anthropic")


def test_vectors_and_rankings_are_not_streamed() -> None:
    for slug, model in (
        ("openai", "text-embedding-3-small"),
        ("novita", "baai/bge-reranker-v2-m3"),
    ):
        endpoint = endpoint_of(record_of(slug, model))
        adapter = adapter_for("openai_compat", endpoint.kind)
        with pytest.raises(UpstreamError, match="has no streams"):
            adapter.open_stream(call_of(endpoint.kind), endpoint)


def test_meters_per_million_are_those_of_tokens_characters_and_pixels() -> None:
    assert {Meter.AUDIO_SECOND, Meter.IMAGE, Meter.SEARCH, Meter.REQUEST} == set(
        Meter
    ) - MILLION_METERS


def test_pictures_and_recordings_may_take_minutes_unless_the_hub_says_otherwise() -> None:
    image = endpoint_of(record_of("openai", "gpt-image-2"))
    heard = endpoint_of(record_of("groq", "whisper-large-v3"))
    spoken = endpoint_of(record_of("openai", "tts-1"))
    for endpoint in (image, heard):
        found = deadlines_of(endpoint, DEFAULT_DEADLINES)
        assert found.first_content_s == found.progress_s == found.idle_s == 300
    assert deadlines_of(spoken, DEFAULT_DEADLINES) == DEFAULT_DEADLINES
    strict = Deadlines(first_content_s=20, idle_s=10)
    assert deadlines_of(image, strict).first_content_s == 20
    assert deadlines_of(image, strict).idle_s == 10
