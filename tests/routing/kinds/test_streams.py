"""Images, transcripts and speech while they are made: OpenAI's own client over sockets, its event
types held strictly, and the hub's bill against the providers' books."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest
from openai import APIError, BadRequestError, NotFoundError
from openai.types import ImageGenCompletedEvent, ImageGenPartialImageEvent
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from routing.core.charges import CostStatus
from routing.core.record import Outcome
from routing.simulator.server import ThreadedSimulator
from tests.routing.kinds.live import AUTH, LiveHub, data_of
from tests.routing.kinds.support import wav

IMAGE, TTS = "openai/gpt-image-2", "openai/gpt-4o-mini-tts"
HEARS, HEARS_TOO = "openai/gpt-transcribe", "mistralai/voxtral-mini-2602"
SPOKEN: dict[str, Any] = {"input": "The hub writes down what it cost. " * 20, "voice": "alloy"}


@pytest.fixture
async def hub(simulator: ThreadedSimulator) -> AsyncIterator[LiveHub]:
    hub = LiveHub(simulator)
    async with hub.served():
        yield hub
    assert simulator.violations() == []


# --- images -----------------------------------------------------------------------------------------


async def test_partial_images_come_before_the_whole_one(hub: LiveHub) -> None:
    async with hub.client() as client:
        stream = await client.images.generate(
            model=IMAGE, prompt="a quiet panel", stream=True, partial_images=2
        )
        events = [event async for event in stream]
    *partial, whole = events
    assert [event.type for event in partial] == ["image_generation.partial_image"] * 2
    assert isinstance(whole, ImageGenCompletedEvent)
    assert base64.b64decode(whole.b64_json).startswith(b"\x89PNG")
    assert hub.finish.usage.output_total == whole.usage.output_tokens == 1048 + 200
    assert hub.finish.cost_status == CostStatus.METERED
    assert hub.cost() == hub.billed() > 0
    assert hub.finish.ttft_ms is not None


async def test_image_events_are_the_published_ones(hub: LiveHub) -> None:
    answer = await hub.post(
        "/images/generations", model=IMAGE, prompt="x", stream=True, partial_images=1
    )
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-panelboard-provider"] == "openai"
    partial, whole = data_of(answer.content)
    assert (
        ImageGenPartialImageEvent.model_validate_json(partial, strict=True).partial_image_index == 0
    )
    ImageGenCompletedEvent.model_validate_json(whole, strict=True)
    assert answer.content.count(b"event: image_generation.") == 2


async def test_an_image_that_breaks_off_ends_with_an_error_and_is_billed_so_far(
    hub: LiveHub,
) -> None:
    hub.simulator.add_fault("cut", provider="openai", after_chunks=1)
    seen: list[str] = []
    async with hub.client() as client:
        stream = await client.images.generate(
            model=IMAGE, prompt="a quiet panel", stream=True, partial_images=2
        )
        with pytest.raises(APIError, match="broke the answer off"):
            await read_on(stream, seen)
    assert seen == ["image_generation.partial_image"]
    assert hub.spool.done.outcome is Outcome.PROVIDER_ERROR
    assert (hub.finish.usage.output_total, hub.finish.cost_status) == (100, CostStatus.ESTIMATED)
    assert hub.cost() == hub.billed() > 0


async def read_on(stream: AsyncIterator[Any], seen: list[str]) -> None:
    async for event in stream:
        seen.append(event.type)  # noqa: PERF401 - what came before the error counts


async def test_an_error_before_the_first_image_is_an_error_status(hub: LiveHub) -> None:
    hub.simulator.add_fault("error_first_frame", provider="openai", status=503)
    answer = await hub.post("/images/generations", model=IMAGE, prompt="x", stream=True)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "provider_error"
    assert hub.cost() == hub.billed() == 0


# --- transcripts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [HEARS, HEARS_TOO])
async def test_a_transcript_comes_word_by_word(hub: LiveHub, model: str) -> None:
    async with hub.client() as client:
        stream = await client.audio.transcriptions.create(
            model=model, file=("a.wav", wav(12.4)), stream=True
        )
        events = [event async for event in stream]
    *deltas, done = events
    assert isinstance(done, TranscriptionTextDoneEvent)
    words = [event.delta for event in deltas if isinstance(event, TranscriptionTextDeltaEvent)]
    assert len(words) == len(deltas) == 31
    assert "".join(words) == done.text
    assert (hub.finish.usage.audio_seconds, hub.finish.usage.output_total) == (13, 0)
    assert hub.finish.cost_status == CostStatus.METERED
    assert hub.cost() == hub.billed() > 0


@pytest.mark.parametrize("model", [HEARS, HEARS_TOO])
async def test_transcript_events_are_the_published_ones(hub: LiveHub, model: str) -> None:
    answer = await transcribed(hub, model)
    *deltas, done = data_of(answer.content)
    for delta in deltas:
        TranscriptionTextDeltaEvent.model_validate_json(delta, strict=True)
    TranscriptionTextDoneEvent.model_validate_json(done, strict=True)
    assert b"[DONE]" not in answer.content


async def transcribed(hub: LiveHub, model: str, **fields: str) -> httpx.Response:
    files = {"file": ("a.wav", wav(4.0), "audio/wav")}
    async with httpx.AsyncClient(trust_env=False, headers=AUTH) as http:
        return await http.post(
            f"{hub.url}/audio/transcriptions",
            data={"model": model, "stream": "true", **fields},
            files=files,
        )


@pytest.mark.parametrize("fault", ["cut", "status", "error_first_frame", "html_200", "empty_200"])
async def test_what_fails_before_the_first_word_is_asked_elsewhere(
    hub: LiveHub, fault: str
) -> None:
    hub.simulator.add_fault(fault, provider="openai", status=503)
    answer = await transcribed(hub, HEARS, models=HEARS_TOO)
    assert answer.headers["x-panelboard-provider"] == "mistral"
    assert answer.headers["x-panelboard-attempts"] == "2"
    assert orjson.loads(data_of(answer.content)[-1])["type"] == "transcript.text.done"


async def test_after_the_first_word_nobody_else_goes_on(hub: LiveHub) -> None:
    hub.simulator.add_fault("cut", provider="openai", after_chunks=3)
    answer = await transcribed(hub, HEARS, models=HEARS_TOO)
    *words, last = map(orjson.loads, data_of(answer.content))
    assert [word["type"] for word in words] == ["transcript.text.delta"] * 3
    assert last["error"]["code"] == "provider_broke_off"
    assert len(hub.spool.finishes) == 1
    assert hub.cost() == hub.billed() > 0  # the recording was read


async def test_a_stream_without_its_last_event_is_no_whole_answer(hub: LiveHub) -> None:
    hub.simulator.add_fault("no_done", provider="openai")
    answer = await transcribed(hub, HEARS)
    assert orjson.loads(data_of(answer.content)[-1])["error"]["detail"]["cause"] == "truncated"


# --- speech -----------------------------------------------------------------------------------------


async def test_speech_comes_as_events_and_is_billed_by_the_last(hub: LiveHub) -> None:
    answer = await hub.post(
        "/audio/speech", model=TTS, stream_format="sse", response_format="wav", **SPOKEN
    )
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *deltas, done = map(orjson.loads, data_of(answer.content))
    assert {tuple(delta) for delta in deltas} == {("type", "audio")}
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    sound = b"".join(base64.b64decode(delta["audio"]) for delta in deltas)
    assert sound.startswith(b"RIFF")
    assert len(deltas) > 10
    assert done["type"] == "speech.audio.done"
    assert set(done["usage"]) == {"input_tokens", "output_tokens", "total_tokens"}
    assert hub.finish.usage.output_total == done["usage"]["output_tokens"] > 0
    assert hub.cost() == hub.billed() > 0


async def test_plain_sound_is_unpacked_from_the_events_that_tell_its_price(hub: LiveHub) -> None:
    async with hub.client() as client:
        answer = await client.audio.speech.create(model=TTS, response_format="wav", **SPOKEN)
    assert answer.response.headers["content-type"] == "audio/wav"
    as_events = await hub.post(
        "/audio/speech", model=TTS, stream_format="sse", response_format="wav", **SPOKEN
    )
    deltas = [orjson.loads(data) for data in data_of(as_events.content)][:-1]
    assert answer.content == b"".join(base64.b64decode(delta["audio"]) for delta in deltas)
    first, second = hub.spool.finishes
    assert first.usage == second.usage
    assert first.cost_status == CostStatus.METERED
    assert hub.cost() == hub.billed() > 0


@pytest.mark.parametrize("model", ["openai/tts-1", TTS])
async def test_the_first_sound_is_there_before_the_rest_is_made(hub: LiveHub, model: str) -> None:
    hub.simulator.add_fault("stall", provider="openai", after_chunks=2)
    async with hub.client() as client:
        request = client.audio.speech.with_streaming_response.create(model=model, **SPOKEN)
        async with request as answer:
            first = await anext(answer.iter_bytes())
            assert answer.headers["content-type"] == "audio/mpeg"
            assert first
    (row,) = hub.simulator.journal()
    assert row.chunks == 2


@pytest.mark.parametrize("model", ["openai/tts-1", TTS])
async def test_sound_that_breaks_off_is_cut_and_not_ended(hub: LiveHub, model: str) -> None:
    hub.simulator.add_fault("cut", provider="openai", after_chunks=3)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message"):
        await hub.post("/audio/speech", model=model, response_format="wav", **SPOKEN)
    assert hub.spool.done.outcome is Outcome.PROVIDER_ERROR
    assert hub.spool.done.error_code
    assert hub.cost() > 0


async def test_sound_of_a_provider_without_events_is_billed_by_the_character(
    hub: LiveHub,
) -> None:
    answer = await hub.post("/audio/speech", model="openai/tts-1", **SPOKEN)
    assert answer.headers["transfer-encoding"] == "chunked"
    assert hub.finish.usage.characters == len(SPOKEN["input"])
    assert hub.cost() == hub.billed() == Decimal(15) * len(SPOKEN["input"]) / 1_000_000


async def test_what_fails_before_the_first_sound_is_asked_elsewhere(hub: LiveHub) -> None:
    hub.simulator.add_fault("cut", provider="openai")
    answer = await hub.post(
        "/audio/speech",
        model="openai/tts-1",
        models=["canopylabs/orpheus-v1-english"],
        response_format="wav",
        **SPOKEN,
    )
    assert answer.headers["x-panelboard-provider"] == "groq"
    assert answer.headers["content-type"] == "audio/wav"


@pytest.mark.parametrize("cut", [False, True])
async def test_the_sound_of_a_hedge_is_named_and_cut_as_any_other(hub: LiveHub, cut: bool) -> None:
    hub.simulator.add_fault("stall", provider="openai")
    if cut:
        hub.simulator.add_fault("cut", provider="groq", after_chunks=2)
    asked = hub.post(
        "/audio/speech",
        model="openai/tts-1",
        models=["canopylabs/orpheus-v1-english"],
        response_format="wav",
        provider={"hedge": {"after_ms": 20}},
        **SPOKEN,
    )
    if cut:
        with pytest.raises(httpx.RemoteProtocolError):
            await asked
    else:
        answer = await asked
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.headers["x-panelboard-provider"] == "groq"
    outcomes = {finish.outcome for finish in hub.spool.finishes}
    assert outcomes == {Outcome.HEDGE_LOST, Outcome.PROVIDER_ERROR if cut else Outcome.OK}


async def test_the_usual_form_of_a_stream_is_no_loss_where_it_has_no_name(hub: LiveHub) -> None:
    answer = await hub.post(
        "/audio/speech",
        model="canopylabs/orpheus-v1-english",
        response_format="wav",
        stream_format="audio",
        **SPOKEN,
    )
    assert answer.headers["content-type"] == "audio/wav"
    assert "x-panelboard-dropped-params" not in answer.headers


async def test_speech_under_an_idempotency_key_is_whole(hub: LiveHub) -> None:
    headers = {**AUTH, "idempotency-key": "one"}
    body = {"model": TTS, **SPOKEN}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
        answer = await http.post(f"{hub.url}/audio/speech", json=body)
        as_events = await http.post(
            f"{hub.url}/audio/speech", json={**body, "stream_format": "sse"}
        )
    assert answer.status_code == 503  # this hub has no store to keep it in
    assert as_events.status_code == 400


# --- what nobody can give -----------------------------------------------------------------------------


async def test_a_stream_that_no_provider_gives_is_refused_by_its_parameter(hub: LiveHub) -> None:
    async with hub.client() as client:
        with pytest.raises(BadRequestError, match="Leave 'stream_format' out") as speech:
            await client.audio.speech.create(model="openai/tts-1", stream_format="sse", **SPOKEN)
        with pytest.raises(BadRequestError, match="Leave 'stream' out") as heard:
            await client.audio.transcriptions.create(
                model="openai/whisper-1", file=("a.wav", wav(1)), stream=True
            )
        with pytest.raises(BadRequestError) as drawn:
            await client.images.generate(model="x-ai/grok-imagine-image", prompt="x", stream=True)
    refused = [(one.value.param, one.value.code) for one in (speech, heard, drawn)]
    assert refused == [
        (name, "unsupported_value") for name in ("stream_format", "stream", "stream")
    ]
    assert hub.simulator.journal() == []


async def test_endpoints_that_cannot_stream_are_left_out_by_name(hub: LiveHub) -> None:
    async with hub.client() as client:
        with pytest.raises(NotFoundError, match=r"missing_capability \(1: stream\)"):
            await client.audio.transcriptions.create(
                model="openai/whisper-1:openai",
                file=("a.wav", wav(1)),
                stream=True,
                extra_body={"models": [HEARS_TOO]},
            )


async def test_edits_of_images_are_not_offered_and_said_so(hub: LiveHub) -> None:
    answer = await hub.post("/images/edits", model=IMAGE, prompt="x")
    assert answer.status_code == 404
    assert "does not edit them" in answer.json()["error"]["message"]
