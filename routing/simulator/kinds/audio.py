"""Speech in both directions: words as many as the recording has time for, and silence as speech."""

from __future__ import annotations

import hashlib
import io
import math
import wave
from email.parser import BytesParser
from email.policy import HTTP
from random import Random
from typing import Any

from typing_extensions import override

from routing.simulator.asks import Refusal, wants
from routing.simulator.http11 import Request
from routing.simulator.kinds import streams
from routing.simulator.kinds.base import (
    Answer,
    Reading,
    at_path,
    check_fields,
    check_type,
    json_reading,
    text_in,
    tokens_of,
)
from routing.simulator.prices import Tally
from routing.simulator.world import Endpoint, Provider

KNOWN_HEARD = (
    "model response_format language prompt temperature timestamp_granularities[] "
    "timestamp_granularities include include[] chunking_strategy context_bias diarize stream"
)
KNOWN_SPOKEN = "model input voice response_format speed instructions stream_format sample_rate"
PLAIN_FORMATS = ("json", "text")
TIMED_FORMATS = (*PLAIN_FORMATS, "verbose_json", "srt", "vtt")
BYTES_PER_S = 16_000  # of recordings whose header says nothing
WORDS_PER_S = 2.5
SEGMENT_S = 5.0
MOST_CHARACTERS = 4096
SPOKEN_CHARACTERS_PER_S = 15
TOKENS_PER_S = 20  # of speech, where it is billed by tokens
RATE_HZ = 8000
MP3_FRAME = b"\xff\xfb\x90\x64" + bytes(413)  # 26 ms of silence at 128 kbit/s
MP3_FRAME_S = 1152 / 44_100
WORDS = tuple(
    word
    for line in (
        "the hub routes every request to a provider that can serve it and writes down what it cost",
        "while the meter runs and the breaker rests over many circuits of one quiet panel",
    )
    for word in line.split()
)


def length_s(recording: bytes) -> float:
    try:
        with wave.open(io.BytesIO(recording)) as file:
            return float(file.getnframes() / file.getframerate())
    except (wave.Error, EOFError, ZeroDivisionError):
        return len(recording) / BYTES_PER_S


def words_of(recording: bytes, seconds: float) -> list[str]:
    rng = Random(hashlib.sha256(recording).hexdigest())
    return [rng.choice(WORDS) for _ in range(max(1, round(seconds * WORDS_PER_S)))]


def wav(seconds: float) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(bytes(2 * max(1, round(seconds * RATE_HZ))))
    return out.getvalue()


def read_form(request: Request) -> Reading:
    """Raises Refusal."""
    check_type(request, "multipart/form-data")
    head = b"content-type: " + request.header(b"content-type").encode("latin-1") + b"\r\n\r\n"
    message = BytesParser(policy=HTTP).parsebytes(head + request.body)
    reading = Reading({})
    for part in message.iter_parts():
        name = str(part.get_param("name", "", "content-disposition"))
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if part.get_filename() is not None:
            wants(name == "file", f"unexpected file {name!r}", param=name)
            reading.file, reading.has_file = content, True
        else:
            _add(reading.fields, name, content.decode("utf-8"))
    return reading


class Transcriptions:
    kind = "transcription"

    def model_of(self, provider: Provider, request: Request) -> str | None:
        if provider.dialect != "openai_compat":
            return None
        return at_path(provider, request, provider.traits.transcriptions_path)

    def read(self, provider: Provider, request: Request) -> Reading:
        return read_form(request)

    def answer(self, provider: Provider, endpoint: Endpoint, asked: Reading, now: float) -> Answer:
        check_fields(provider, self.kind, asked.fields, KNOWN_HEARD)
        wants(asked.has_file and asked.file, "a recording is needed", param="file")
        form = _form(provider, endpoint, asked.fields)
        seconds = length_s(asked.file)
        words = words_of(asked.file, seconds)
        billed = max(math.ceil(seconds), provider.traits.audio_least_s)
        tally = Tally(pieces={"audio_second": billed})
        if asked.fields.get("stream") == "true":
            wants(endpoint.can("stream"), "streaming is not supported", param="stream")
            return streams.transcript(provider, endpoint, words, seconds, tally)
        if provider.traits.transcription_style == "plain":
            return _plain(endpoint, words, seconds, tally)
        return _FORMS[form](provider, words, seconds, tally)


def _add(fields: dict[str, Any], name: str, value: str) -> None:
    if name in fields:
        before = fields[name]
        fields[name] = [*(before if isinstance(before, list) else [before]), value]
    else:
        fields[name] = value


def _form(provider: Provider, endpoint: Endpoint, fields: dict[str, Any]) -> str:
    if provider.traits.transcription_style == "plain":
        status = provider.persona.param_status
        wants("response_format" not in fields, "unknown", param="response_format", status=status)
        return "json"
    known: tuple[str, ...] = TIMED_FORMATS if endpoint.can("timestamps") else PLAIN_FORMATS
    if provider.slug == "groq":  # has no subtitles
        known = tuple(form for form in known if form not in {"srt", "vtt"})
    form = fields.get("response_format", "json")
    wants(form in known, f"response_format must be one of {known}", param="response_format")
    return str(form)


def _usage(provider: Provider, seconds: float) -> dict[str, Any] | None:
    if provider.slug != "openai":
        return None
    return {"type": "duration", "seconds": math.ceil(seconds)}


def _short(provider: Provider, words: list[str], seconds: float, tally: Tally) -> Answer:
    return Answer(tally, {"text": " ".join(words)}, _usage(provider, seconds))


def _text(_provider: Provider, words: list[str], _seconds: float, tally: Tally) -> Answer:
    raw = " ".join(words).encode() + b"\n"
    return Answer(tally, raw=raw, content_type=b"text/plain; charset=utf-8")


def _verbose(provider: Provider, words: list[str], seconds: float, tally: Tally) -> Answer:
    document = {
        "task": "transcribe",
        "language": "english",
        "duration": round(seconds, 3),
        "text": " ".join(words),
        "segments": list(_segments(words, seconds)),
    }
    return Answer(tally, document, _usage(provider, seconds))


def _segments(words: list[str], seconds: float) -> list[dict[str, Any]]:
    parts = max(1, math.ceil(seconds / SEGMENT_S))
    size = -(-len(words) // parts)
    return [
        {
            "id": at,
            "seek": 0,
            "start": round(at * seconds / parts, 3),
            "end": round((at + 1) * seconds / parts, 3),
            "text": " " + " ".join(words[at * size : (at + 1) * size]),
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": -0.2,
            "compression_ratio": 1.4,
            "no_speech_prob": 0.01,
        }
        for at in range(parts)
    ]


def _subtitles(_provider: Provider, _words: list[str], _seconds: float, _tally: Tally) -> Answer:
    raise Refusal(501, "subtitles are not played; ask for verbose_json")


def _plain(endpoint: Endpoint, words: list[str], seconds: float, tally: Tally) -> Answer:
    document: dict[str, Any] = {
        "model": endpoint.upstream_model,
        "text": " ".join(words),
        "language": None,
        "segments": [],
    }
    told = {"prompt_audio_seconds": math.ceil(seconds), "prompt_tokens": 0, "completion_tokens": 0}
    return Answer(tally, document, {**told, "total_tokens": 0})


_FORMS = {
    "json": _short,
    "text": _text,
    "verbose_json": _verbose,
    "srt": _subtitles,
    "vtt": _subtitles,
}


class Translations(Transcriptions):
    """The same in English, which the words are already."""

    @override
    def model_of(self, provider: Provider, request: Request) -> str | None:
        if provider.dialect != "openai_compat":
            return None
        return at_path(provider, request, provider.traits.translations_path)

    @override
    def answer(self, provider: Provider, endpoint: Endpoint, asked: Reading, now: float) -> Answer:
        wants(endpoint.can("translation"), f"{endpoint.upstream_model} does not translate")
        for name in ("language", "stream", "timestamp_granularities[]"):
            wants(name not in asked.fields, f"Unknown parameter: '{name}'.", param=name)
        answer = super().answer(provider, endpoint, asked, now)
        if "task" in answer.document:
            answer.document["task"] = "translate"
        return answer


class Speech:
    kind = "speech"

    def model_of(self, provider: Provider, request: Request) -> str | None:
        if provider.dialect != "openai_compat":
            return None
        return at_path(provider, request, provider.traits.speech_path)

    def read(self, provider: Provider, request: Request) -> Reading:
        return json_reading(request)

    def answer(self, provider: Provider, endpoint: Endpoint, asked: Reading, now: float) -> Answer:
        fields = asked.fields
        check_fields(provider, self.kind, fields, KNOWN_SPOKEN)
        text = text_in(fields, "input")
        text_in(fields, "voice")
        wants(len(text) <= MOST_CHARACTERS, "the input is too long", param="input")
        form = fields.get("response_format", "mp3")
        wants(form in _SOUNDS, f"{form} is not played; there are {[*_SOUNDS]}")
        make, content_type = _SOUNDS[form]
        seconds = len(text) / SPOKEN_CHARACTERS_PER_S
        sound = make(seconds)
        as_events = fields.get("stream_format") == "sse"
        wants(not as_events or endpoint.can("stream"), "not supported", param="stream_format")
        tally = _spoken_tally(endpoint, text, seconds)
        if as_events:
            return streams.spoken(sound, tally)
        return Answer(
            tally, content_type=content_type, frames=lambda _: streams.pieces(sound, tally)
        )


def _spoken_tally(endpoint: Endpoint, text: str, seconds: float) -> Tally:
    if any(row.meter == "character" for row in endpoint.prices):
        return Tally(pieces={"character": len(text)})
    made = math.ceil(seconds * TOKENS_PER_S)
    return Tally(input_total=tokens_of(text), output_total=made)


def _mp3(seconds: float) -> bytes:
    return MP3_FRAME * max(1, round(seconds / MP3_FRAME_S))


def _pcm(seconds: float) -> bytes:
    return bytes(2 * max(1, round(seconds * RATE_HZ)))


_SOUNDS = {
    "wav": (wav, b"audio/wav"),
    "mp3": (_mp3, b"audio/mpeg"),
    "pcm": (_pcm, b"audio/pcm"),
}
