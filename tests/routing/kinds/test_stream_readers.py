"""The readers of what streams besides chat, fed byte by byte, cut short and with nonsense."""

from __future__ import annotations

import base64
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.base import ChatCall, StreamReader
from routing.adapters.jsonio import dumps
from routing.adapters.registry import adapter_for
from routing.core.errors import FailureClass
from routing.core.pricing import charge
from routing.core.usage import UsageSource
from tests.routing import factories
from tests.routing.kinds.support import call_of, endpoint_of, record_of, recording

SOUND = b"ID3" + bytes(range(256))


def event(kind: str, **fields: Any) -> bytes:
    return b"data: " + dumps({"type": kind, **fields}) + b"\n\n"


def spoken(sound: bytes) -> bytes:
    return event("speech.audio.delta", audio=base64.b64encode(sound).decode())


PICTURE = {"b64_json": "iVBORw0KGgo=", "size": "1024x1024"}
TOLD = {"input_tokens": 3, "output_tokens": 40, "total_tokens": 43}
IMAGE = event("image_generation.partial_image", **PICTURE) + event(
    "image_generation.completed", **PICTURE, usage=TOLD
)
TRANSCRIPT = (
    event("transcript.text.delta", delta="a quiet")
    + event("transcript.text.delta", delta=" panel\u2028")
    + event("transcript.text.done", text="a quiet panel\u2028")
)
SPEECH = spoken(SOUND[:100]) + spoken(SOUND[100:]) + event("speech.audio.done", usage=TOLD)

STREAMS: dict[str, tuple[str, str, dict[str, Any], bytes]] = {
    "image": ("openai", "gpt-image-2", {"prompt": "x"}, IMAGE),
    "transcription": ("openai", "gpt-transcribe", {"upload": recording(3.5)}, TRANSCRIPT),
    "speech": ("openai", "gpt-4o-mini-tts", {"input": "x" * 40}, SPEECH),
}
each = pytest.mark.parametrize("kind", STREAMS)


def call_for(kind: str, **more: Any) -> ChatCall:
    return msgspec.structs.replace(call_of(kind, **STREAMS[kind][2]), stream=True, **more)


def reader_of(kind: str, **more: Any) -> StreamReader:
    endpoint = endpoint_of(record_of(*STREAMS[kind][:2]))
    return adapter_for("openai_compat", kind).open_stream(call_for(kind, **more), endpoint)


def whole(kind: str) -> bytes:
    return STREAMS[kind][3]


@each
@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_slices_change_nothing(kind: str, cuts: list[int]) -> None:
    data, reader = whole(kind), reader_of(kind)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    pieces = pairwise(places)
    out = b"".join(reader.feed(data[start:end]) for start, end in pieces) + reader.close()
    assert out == data
    assert (reader.done, reader.error) == (True, None)


@each
@pytest.mark.parametrize("tail", [b"", b"data: [DONE]\n\n", b"data: {"])
def test_without_its_last_event_an_answer_is_not_whole(kind: str, tail: bytes) -> None:
    begun = whole(kind)[: whole(kind).index(b"\n\n") + 2]
    reader = reader_of(kind)
    assert reader.feed(begun) == begun
    assert reader.content_started
    reader.feed(tail)
    reader.close()
    assert reader.error is not None
    assert reader.error.code in ("truncated", "malformed_frame")
    assert not reader.done


@each
def test_an_error_in_the_stream_is_the_providers(kind: str) -> None:
    reader = reader_of(kind)
    reader.feed(b'data: {"error": {"message": "overloaded", "code": 503}}\n\n')
    assert reader.error is not None
    assert reader.error.failure is FailureClass.TRANSIENT
    assert not reader.content_started


@each
def test_events_that_nobody_knows_are_passed_on_and_do_not_begin_an_answer(kind: str) -> None:
    reader = reader_of(kind)
    news = event("some.thing.new", x=1)
    assert reader.feed(b": hello\n\n" + news) == news
    assert not reader.content_started


@each
def test_nothing_at_all_is_an_error(kind: str) -> None:
    reader = reader_of(kind)
    assert reader.close() == b""
    assert reader.error is not None


def test_an_event_may_be_as_large_as_a_picture() -> None:
    reader = reader_of("image")
    large = event("image_generation.completed", b64_json="A" * 6_000_000, usage=TOLD)
    out = b"".join(reader.feed(large[at : at + 65_536]) for at in range(0, len(large), 65_536))
    assert out == large
    assert reader.usage.output_total == 40


def test_an_event_without_its_picture_or_sound_is_an_error() -> None:
    picture, sound = reader_of("image"), reader_of("speech")
    picture.feed(event("image_generation.completed", usage=TOLD))
    sound.feed(event("speech.audio.delta", audio="no base64!"))
    assert picture.error is not None
    assert sound.error is not None
    assert (picture.error.code, sound.error.code) == ("no_picture", "bad_sound")


def test_usage_that_was_not_told_is_an_estimate() -> None:
    reader = reader_of("speech")
    reader.feed(spoken(SOUND) + event("speech.audio.done"))
    assert reader.done
    assert (reader.usage.input_total, reader.usage.source) == (10, UsageSource.ESTIMATED)


def test_the_length_of_a_recording_is_billed_once_its_text_began() -> None:
    reader = reader_of("transcription")
    reader.feed(event("transcript.text.delta", delta="a"))
    assert (reader.usage.audio_seconds, reader.usage.output_total) == (4, 0)
    prices = endpoint_of(record_of("openai", "gpt-transcribe")).prices
    assert charge(reader.usage, prices, factories.NOON).unpriced == ()


def test_mistrals_events_are_told_in_openais() -> None:
    endpoint = endpoint_of(record_of("mistral", "voxtral-mini-2602"))
    reader = adapter_for("openai_compat", "transcription").open_stream(
        call_for("transcription"), endpoint
    )
    sent = (
        event("transcription.language", audio_language="de")
        + event("transcription.text.delta", text="Guten")
        + event("transcription.segment", text="Guten", start=0.0, end=1.0)
        + event(
            "transcription.done",
            model="voxtral-mini-2602",
            text="Guten",
            language="de",
            usage={"prompt_audio_seconds": 9},
        )
    )
    assert reader.feed(sent) == event("transcript.text.delta", delta="Guten") + event(
        "transcript.text.done", text="Guten", languages=[{"code": "de"}]
    )
    assert (reader.usage.audio_seconds, reader.response_model) == (9, "voxtral-mini-2602")
    assert msgspec.json.decode(reader.usage_raw) == {"prompt_audio_seconds": 9}


def test_sound_is_named_by_how_it_begins() -> None:
    for asked, head, name in (
        ("mp3", b"RIFF....", "audio/wav"),
        ("wav", b"ID3", "audio/mpeg"),
        ("pcm", b"\0\0", "audio/pcm"),
        ("", b"OggS", "audio/ogg"),
        ("aac", b"\xff\xf1", "audio/aac"),
        ("surprise", b"\0", "application/octet-stream"),
    ):
        call = call_of("speech", input="x", response_format=asked)
        call = msgspec.structs.replace(call, stream=True, is_sound=True)
        adapter = adapter_for("openai_compat", "speech")
        reader: Any = adapter.open_stream(call, endpoint_of(record_of("openai", "tts-1")))
        assert reader.feed(head) == head
        assert reader.sound_type == name.encode()


def test_events_become_the_sound_they_hold() -> None:
    reader: Any = reader_of("speech", is_sound=True)
    assert reader.feed(SPEECH) == SOUND
    assert reader.close() == b""
    assert (reader.done, reader.sound_type) == (True, b"audio/mpeg")
    assert (reader.usage.input_total, reader.usage.output_total) == (3, 40)


def test_a_picture_without_end_is_refused_by_the_limit_that_pictures_have() -> None:
    reader = reader_of("image")
    reader.feed(b"data: " + b"A" * 2**25)
    assert reader.error is not None
    assert reader.error.code == "event_too_large"
    assert "more than 32 MiB" in str(reader.error)
