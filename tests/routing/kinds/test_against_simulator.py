"""Every shipped endpoint of these kinds, over sockets, at providers that refuse what real ones do.

Answers are held against OpenAI's published types, and the hub's bill against the provider's books.
"""

from __future__ import annotations

import base64
import io
import math
import struct
import wave
from decimal import Decimal
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse, ImagesResponse
from openai.types.audio import Transcription, TranscriptionVerbose

from routing.adapters.base import Reply
from routing.core.errors import FailureClass, UpstreamError
from routing.core.usage import UsageSource
from routing.simulator.server import ThreadedSimulator
from tests.routing.kinds.support import (
    Desk,
    Record,
    call_of,
    name_of,
    record_of,
    recording,
    shipped,
)

TEXTS = ["a quiet panel", "many circuits", "a quiet panel"]


def each(kind: str) -> Any:
    return pytest.mark.parametrize("record", shipped(kind), ids=name_of)


def assert_same_money(desk: Desk, reply: Reply) -> None:
    bill = desk.bill(reply)
    assert bill.unpriced == ()
    assert bill.amount_usd == Decimal(desk.row.cost_usd)
    assert bill.amount_usd > 0
    assert desk.row.violations == []


def floats_of(text: str) -> list[float]:
    data = base64.b64decode(text, validate=True)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


# --- embeddings -------------------------------------------------------------------------------------


@each("embedding")
def test_texts_become_vectors(simulator: ThreadedSimulator, record: Record) -> None:
    desk = Desk(simulator, record)
    reply = desk.ask(input=TEXTS)
    answer = CreateEmbeddingResponse.model_validate_json(reply.raw, strict=True)
    vectors = [item.embedding for item in answer.data]
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert vectors[0] == vectors[2] != vectors[1]
    assert all(math.isclose(math.fsum(x * x for x in v), 1.0, rel_tol=1e-6) for v in vectors)
    assert answer.usage.prompt_tokens == reply.usage.input_total == desk.row.input_tokens
    assert_same_money(desk, reply)


@each("embedding")
def test_base64_holds_the_same_numbers_as_float(
    simulator: ThreadedSimulator, record: Record
) -> None:
    desk = Desk(simulator, record)
    as_float = desk.ask(input=TEXTS, encoding_format="float")
    as_base64 = desk.ask(input=TEXTS, encoding_format="base64")
    for plain, packed in zip(as_float.body["data"], as_base64.body["data"], strict=True):
        assert isinstance(packed["embedding"], str)
        rounded = struct.unpack(
            f"<{len(plain['embedding'])}f",
            struct.pack(f"<{len(plain['embedding'])}f", *plain["embedding"]),
        )
        assert floats_of(packed["embedding"]) == list(rounded)
    assert as_float.usage == as_base64.usage


@each("embedding")
def test_a_single_text_is_taken_as_it_is(simulator: ThreadedSimulator, record: Record) -> None:
    desk = Desk(simulator, record)
    assert len(desk.ask(input=TEXTS[0]).body["data"]) == 1


@pytest.mark.parametrize(
    "record", [r for r in shipped("embedding") if "dimensions" in r["capabilities"]], ids=name_of
)
def test_vectors_have_the_length_asked_for(simulator: ThreadedSimulator, record: Record) -> None:
    reply = Desk(simulator, record).ask(input=TEXTS, dimensions=64)
    assert {len(item["embedding"]) for item in reply.body["data"]} == {64}


def test_token_ids_are_embedded_where_the_provider_takes_them(
    simulator: ThreadedSimulator,
) -> None:
    desk = Desk(simulator, record_of("openai", "text-embedding-3-small"))
    assert len(desk.ask(input=[1, 2, 3]).body["data"]) == 1
    reply = desk.ask(input=[[1, 2, 3], [4]])
    assert (len(reply.body["data"]), reply.usage.input_total) == (2, 4)


def test_token_ids_are_refused_before_sending_where_only_text_is_taken(
    simulator: ThreadedSimulator,
) -> None:
    desk = Desk(simulator, record_of("gemini", "gemini-embedding-001"))
    with pytest.raises(UpstreamError, match="embeds texts, not token ids") as refused:
        desk.ask(input=[[1, 2, 3]])
    assert (refused.value.failure, refused.value.was_sent) == (FailureClass.CLIENT, False)
    assert simulator.journal() == []


def test_usage_that_a_provider_does_not_tell_is_marked_as_an_estimate(
    simulator: ThreadedSimulator,
) -> None:
    told = Desk(simulator, record_of("openai", "text-embedding-3-small")).ask(input=TEXTS)
    untold = Desk(simulator, record_of("gemini", "gemini-embedding-001")).ask(input=TEXTS)
    assert (told.usage.source, untold.usage.source) == (
        UsageSource.PROVIDER,
        UsageSource.ESTIMATED,
    )
    simulator.add_fault("no_usage", provider="novita")
    missing = Desk(simulator, record_of("novita", "baai/bge-m3")).ask(input=TEXTS)
    assert missing.usage.source is UsageSource.ESTIMATED
    assert CreateEmbeddingResponse.model_validate_json(missing.raw, strict=True).usage.prompt_tokens


# --- rerank -----------------------------------------------------------------------------------------


@each("rerank")
def test_documents_are_ranked(simulator: ThreadedSimulator, record: Record) -> None:
    desk = Desk(simulator, record)
    documents = ["nothing of it", {"text": "the capital of France is Paris"}, "France"]
    asked: dict[str, Any] = {"query": "capital of France", "documents": documents}
    whole = desk.ask(**asked)
    assert_same_money(desk, whole)
    assert [row["index"] for row in whole.body["results"]] == [1, 2, 0]
    assert "document" not in whole.body["results"][0]
    top = desk.ask(top_n=1, return_documents=True, **asked)
    assert top.body["results"] == [
        {
            "index": 1,
            "relevance_score": whole.body["results"][0]["relevance_score"],
            "document": {"text": "the capital of France is Paris"},
        }
    ]
    assert top.body["usage"]["total_tokens"] == top.usage.input_total == desk.row.input_tokens


# --- images -----------------------------------------------------------------------------------------


@each("image")
def test_images_are_made_and_billed_as_the_provider_does(
    simulator: ThreadedSimulator, record: Record
) -> None:
    desk = Desk(simulator, record)
    reply = desk.ask(prompt="a panelboard", n=2, size="512x256")
    answer = ImagesResponse.model_validate_json(reply.raw, strict=True)
    assert answer.data is not None
    assert len(answer.data) == 2
    assert all(image.b64_json or image.url for image in answer.data)
    assert_same_money(desk, reply)


def test_an_image_costs_by_the_piece_by_the_pixel_or_by_tokens(
    simulator: ThreadedSimulator,
) -> None:
    by_piece = Desk(simulator, record_of("xai", "grok-imagine-image"))
    bill = by_piece.bill(by_piece.ask(prompt="x", n=3))
    assert [(str(line.meter), line.quantity) for line in bill.lines] == [("image", 3)]
    assert bill.amount_usd == Decimal("0.06")
    by_pixel = Desk(simulator, record_of("nscale", "black-forest-labs/FLUX.1-schnell"))
    bill = by_pixel.bill(by_pixel.ask(prompt="x", size="1024x1024"))
    assert [(str(line.meter), line.quantity) for line in bill.lines] == [("pixel", 1024 * 1024)]
    assert bill.amount_usd == Decimal("0.0013631488")
    by_token = Desk(simulator, record_of("openai", "gpt-image-2"))
    bill = by_token.bill(by_token.ask(prompt="x", size="1024x1024"))
    assert {str(line.meter) for line in bill.lines} == {"input", "output"}


def test_what_an_image_provider_cannot_take_is_left_out_and_told(
    simulator: ThreadedSimulator,
) -> None:
    desk = Desk(simulator, record_of("xai", "grok-imagine-image"))
    assert desk.ask(prompt="x", size="1024x1024", style="vivid", response_format="b64_json")
    assert desk.dropped == ("size", "style")


def test_an_address_is_refused_before_sending_where_only_base64_is_given(
    simulator: ThreadedSimulator,
) -> None:
    desk = Desk(simulator, record_of("openai", "gpt-image-2"))
    with pytest.raises(UpstreamError, match="b64_json only"):
        desk.ask(prompt="x", response_format="url")
    assert simulator.journal() == []
    assert desk.ask(prompt="x", response_format="b64_json").body["data"][0]["b64_json"]


# --- transcriptions ---------------------------------------------------------------------------------


@each("transcription")
def test_speech_becomes_text(simulator: ThreadedSimulator, record: Record) -> None:
    desk = Desk(simulator, record)
    reply = desk.ask(recording(12.4), language="en")
    answer = Transcription.model_validate_json(reply.raw, strict=True)
    assert len(answer.text.split()) == 31  # 2.5 words a second
    assert reply.usage.audio_seconds == 13
    assert_same_money(desk, reply)


@each("transcription")
def test_plain_text_comes_as_plain_text(simulator: ThreadedSimulator, record: Record) -> None:
    desk = Desk(simulator, record)
    as_json = desk.ask(recording())
    as_text = desk.ask(recording(), response_format="text")
    assert as_text.raw.decode() == as_json.body["text"] + "\n"
    assert as_text.content_type == b"text/plain; charset=utf-8"
    assert as_text.usage == as_json.usage


TIMED = [r for r in shipped("transcription") if "timestamps" in r["capabilities"]]


@pytest.mark.parametrize("record", TIMED, ids=name_of)
def test_times_come_in_every_form(simulator: ThreadedSimulator, record: Record) -> None:
    desk = Desk(simulator, record)
    verbose = desk.ask(recording(12.4), response_format="verbose_json")
    told = TranscriptionVerbose.model_validate_json(verbose.raw, strict=True)
    assert told.segments is not None
    assert len(told.segments) == 3
    srt = desk.ask(recording(12.4), response_format="srt").raw.decode()
    assert srt.startswith("1\n00:00:00,000 --> 00:00:04,133\n")
    assert srt.count(" --> ") == 3
    vtt = desk.ask(recording(12.4), response_format="vtt").raw.decode()
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:04.133\n")
    spoken = [line for line in srt.splitlines() if line and not line[0].isdigit()]
    assert " ".join(spoken) == told.text


def test_times_are_refused_before_sending_where_none_are_told(
    simulator: ThreadedSimulator,
) -> None:
    desk = Desk(simulator, record_of("mistral", "voxtral-mini-2602"))
    with pytest.raises(UpstreamError, match="tells no times"):
        desk.ask(recording(), response_format="srt")
    assert simulator.journal() == []


def test_a_short_recording_is_billed_as_the_shortest_that_the_provider_bills(
    simulator: ThreadedSimulator,
) -> None:
    desk = Desk(simulator, record_of("groq", "whisper-large-v3"))
    reply = desk.ask(recording(2.0))
    assert reply.usage.audio_seconds == 10
    assert_same_money(desk, reply)
    assert desk.bill(reply).amount_usd == Decimal("0.00030833333")


# --- speech -----------------------------------------------------------------------------------------


@each("speech")
def test_text_becomes_speech(simulator: ThreadedSimulator, record: Record) -> None:
    desk = Desk(simulator, record)
    text = "Grüße vom Schaltschrank"
    reply = desk.ask(input=text, voice="alloy", response_format="wav")
    assert reply.content_type == b"audio/wav"
    with wave.open(io.BytesIO(reply.raw)) as sound:
        assert sound.getnframes() > 0
    is_by_character = any(price["meter"] == "character" for price in record["prices"])
    assert reply.usage.characters == (len(text) if is_by_character else None)
    assert bool(reply.usage.output_total) is not is_by_character
    assert_same_money(desk, reply)


def test_a_million_characters_cost_what_the_list_says(simulator: ThreadedSimulator) -> None:
    desk = Desk(simulator, record_of("openai", "tts-1"))
    reply = desk.ask(input="x" * 4000, voice="alloy")
    assert reply.content_type == b"audio/mpeg"
    assert desk.bill(reply).amount_usd * 250 == Decimal(15)


# --- what goes wrong --------------------------------------------------------------------------------

ONE_OF_EACH: list[tuple[str, str, dict[str, Any]]] = [
    ("openai", "text-embedding-3-small", {"input": "x"}),
    ("gemini", "gemini-embedding-001", {"input": "x"}),
    ("novita", "qwen/qwen3-reranker-8b", {"query": "x", "documents": ["x"]}),
    ("xai", "grok-imagine-image", {"prompt": "x"}),
    ("groq", "whisper-large-v3", {"upload": recording(1.0)}),
    ("openai", "tts-1", {"input": "x", "voice": "alloy"}),
]
each_kind = pytest.mark.parametrize(
    ("slug", "model", "asked"), ONE_OF_EACH, ids=[model for _, model, _ in ONE_OF_EACH]
)


@each_kind
def test_a_wrong_key_is_the_hubs_problem(
    simulator: ThreadedSimulator, slug: str, model: str, asked: dict[str, Any]
) -> None:
    desk = Desk(simulator, record_of(slug, model))
    body = {name: value for name, value in asked.items() if name != "upload"}
    call = call_of(desk.endpoint.kind, asked.get("upload"), **body)
    answer = desk.send(call, secret="wrong")
    headers = [(k.lower(), v) for k, v in answer.headers.raw]
    error = desk.adapter.read_error(desk.endpoint, answer.status_code, headers, answer.content)
    assert error.failure is FailureClass.CREDENTIAL


@each_kind
@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ("html_200", FailureClass.TRANSIENT),
        ("error_200", FailureClass.TRANSIENT),
        ("empty_200", FailureClass.TRANSIENT),
        ("status", FailureClass.TRANSIENT),
    ],
)
def test_what_is_no_answer_is_never_passed_on(
    simulator: ThreadedSimulator,
    slug: str,
    model: str,
    asked: dict[str, Any],
    fault: str,
    failure: FailureClass,
) -> None:
    simulator.add_fault(fault, provider=slug, status=500)
    with pytest.raises(UpstreamError) as failed:
        Desk(simulator, record_of(slug, model)).ask(**asked)
    assert failed.value.failure is failure
    assert simulator.journal()[-1].fault == fault


@each_kind
def test_absurd_usage_is_not_believed(
    simulator: ThreadedSimulator, slug: str, model: str, asked: dict[str, Any]
) -> None:
    simulator.add_fault("usage_absurd", provider=slug)
    desk = Desk(simulator, record_of(slug, model))
    assert desk.bill(desk.ask(**asked)).amount_usd < Decimal("0.1")


def test_a_limit_is_capacity_with_a_time_to_wait(simulator: ThreadedSimulator) -> None:
    simulator.add_fault("status", provider="novita", status=429, retry_after=7)
    with pytest.raises(UpstreamError) as failed:
        Desk(simulator, record_of("novita", "baai/bge-m3")).ask(input="x")
    assert (failed.value.failure, failed.value.retry_after_s) == (FailureClass.CAPACITY, 7.0)


def test_too_long_an_input_may_fit_elsewhere(simulator: ThreadedSimulator) -> None:
    desk = Desk(simulator, record_of("together", "BAAI/bge-base-en-v1.5"))
    with pytest.raises(UpstreamError) as failed:
        desk.ask(input="word " * 1000)
    assert failed.value.failure is FailureClass.CONTEXT
