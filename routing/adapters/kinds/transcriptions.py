"""Transcriptions as OpenAI asks for them, billed by the second of audio.

Where a provider can tell times, it is always asked for them: only that form of the answer says
how long the recording was. The form the client wants is made of it here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typing_extensions import override

from routing.adapters import errors, sse
from routing.adapters.base import (
    BuiltRequest,
    ChatCall,
    Headers,
    Reply,
    StreamReader,
    Upload,
)
from routing.adapters.forms import refuse
from routing.adapters.jsonio import dict_of, dicts_in, dig, dumps, text_of
from routing.adapters.kinds.common import (
    WholeAnswers,
    as_billed,
    headers_for,
    sent_body,
)
from routing.adapters.kinds.counting import (
    audio_seconds,
    estimated_audio_seconds,
    whole_seconds,
)
from routing.adapters.kinds.multipart import write_form
from routing.adapters.kinds.streams import EVENT_STREAM, KindStream, begun_usage
from routing.adapters.usage import first_count
from routing.adapters.wire import quirks_of
from routing.core.catalog import Endpoint
from routing.core.kinds import TRANSLATION
from routing.core.usage import Meter, Usage, UsageSource

FORMATS = ("json", "text", "verbose_json", "srt", "vtt")
TIMED_FORMATS = frozenset({"verbose_json", "srt", "vtt"})
GRANULARITIES = "timestamp_granularities[]"
NO_FILE = Upload("audio", "application/octet-stream", b"")
_LENGTH_PATHS = ("usage.seconds", "duration", "usage.prompt_audio_seconds")
_PLAIN_TEXT = b"text/plain; charset=utf-8"
DELTA, DONE = "transcript.text.delta", "transcript.text.done"


class OpenAITranscriptions(WholeAnswers):
    dialect = "openai_compat"

    @override
    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        quirks = quirks_of(endpoint)
        body, dropped = sent_body(call, endpoint)
        body.pop("response_format", None)
        if not is_timed(endpoint) and wanted_format(call) in TIMED_FORMATS:
            reason = f"tells no times for {endpoint.model.name}, only json and text"
            refuse(endpoint, "response_format", reason)
        if quirks.transcription_style == "openai":
            with_times = is_timed(endpoint) and not call.stream
            body["response_format"] = "verbose_json" if with_times else "json"
        content_type, form = write_form(_fields(body), "file", call.upload or NO_FILE)
        accept = EVENT_STREAM if call.stream else b"application/json"
        headers = headers_for(endpoint, secret, content_type, accept)
        is_translation = call.kind == TRANSLATION
        path = quirks.translations_path if is_translation else quirks.transcriptions_path
        return BuiltRequest(path, headers, form, tuple(dropped))

    @override
    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        quirks = quirks_of(endpoint)
        document = errors.answer_in(body, headers, quirks)
        if not isinstance(document.get("text"), str):
            raise errors.not_an_answer(body)
        usage = _usage(document, call, quirks.audio_least_s)
        wanted = wanted_format(call)
        raw, content_type = _WRITERS[wanted](document, body)
        raw_usage = dict_of(document.get("usage"))
        return Reply(
            raw=raw,
            usage=as_billed(usage, endpoint),
            usage_raw=dumps(raw_usage) if raw_usage else b"",
            response_model=text_of(document.get("model")),
            output_chars=len(document["text"]),
            content_type=content_type,
        )

    @override
    def open_stream(self, call: ChatCall, endpoint: Endpoint) -> StreamReader:
        return _STREAMS[quirks_of(endpoint).transcription_style](call, endpoint)


def wanted_format(call: ChatCall) -> str:
    return text_of(call.body.get("response_format")) or "json"


def is_timed(endpoint: Endpoint) -> bool:
    return "timestamps" in endpoint.capabilities


def _fields(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Lists are sent as a field each, under the name they came by."""
    return [
        (name, value)
        for name, values in body.items()
        for value in (values if isinstance(values, list) else [values])
    ]


def _usage(document: dict[str, Any], call: ChatCall, least_s: int) -> Usage:
    told = (whole_seconds(dig(document, path)) for path in _LENGTH_PATHS)
    seconds, source = next((s for s in told if s is not None), None), UsageSource.PROVIDER
    if seconds is None:
        seconds, source = _seconds_of((call.upload or NO_FILE).data)
    return Usage(
        input_total=first_count(document, "usage.input_tokens", "usage.prompt_tokens") or 0,
        output_total=first_count(document, "usage.output_tokens", "usage.completion_tokens") or 0,
        audio_seconds=max(seconds, least_s),
        source=source,
    )


def _seconds_of(data: bytes) -> tuple[int, UsageSource]:
    """By the recording itself, where its provider does not say."""
    seconds = whole_seconds(audio_seconds(data))
    if seconds is not None:
        return seconds, UsageSource.PROVIDER
    return estimated_audio_seconds(data), UsageSource.ESTIMATED


# --- the text as it is heard ------------------------------------------------------------------------


class TranscriptStream(KindStream):
    """OpenAI's own events."""

    @override
    def _on_event(self, name: str, event: dict[str, Any], sent: bytes) -> bytes:
        if name == DELTA:
            self._heard(text_of(event.get("delta")))
        elif name == DONE:
            self._heard_all(event)
        return sent

    def _heard(self, text: str) -> None:
        if not text:
            return
        if not self.content_started:
            seconds = _seconds_of((self._call.upload or NO_FILE).data)[0]
            least_s = self._quirks.audio_least_s
            quantity = max(seconds, least_s)
            self.usage = begun_usage(self._endpoint, Meter.AUDIO_SECOND, "audio_seconds", quantity)
        self._count(len(text), is_answer=True)

    def _heard_all(self, event: dict[str, Any]) -> None:
        usage = _usage(event, self._call, self._quirks.audio_least_s)
        self._end_with(as_billed(usage, self._endpoint), dict_of(event.get("usage")))


class PlainTranscriptStream(TranscriptStream):
    """Mistral's events, told in OpenAI's. What it tells of times has no place there."""

    @override
    def _on_event(self, name: str, event: dict[str, Any], sent: bytes) -> bytes:
        text = text_of(event.get("text"))
        if name == "transcription.text.delta":
            self._heard(text)
            return _event({"type": DELTA, "delta": text})
        if name != "transcription.done":
            return b""
        self.response_model = text_of(event.get("model"))
        self._heard_all(event)
        done: dict[str, Any] = {"type": DONE, "text": text}
        language = text_of(event.get("language"))
        return _event({**done, "languages": [{"code": language}]} if language else done)


def _event(document: dict[str, Any]) -> bytes:
    return sse.encode(dumps(document))


_STREAMS: dict[str, type[TranscriptStream]] = {
    "openai": TranscriptStream,
    "plain": PlainTranscriptStream,
}


# --- the forms of an answer ---------------------------------------------------------------------------

Writer = Callable[[dict[str, Any], bytes], tuple[bytes, bytes]]


def _as_json(document: dict[str, Any], body: bytes) -> tuple[bytes, bytes]:
    """The short form, without the times that only we asked for."""
    if "duration" not in document:
        usage = dict_of(document.get("usage"))
        if not usage or usage.get("type") in ("tokens", "duration"):
            return body, b"application/json"
    told = (whole_seconds(dig(document, path)) for path in _LENGTH_PATHS)
    seconds = next((s for s in told if s is not None), None)
    short: dict[str, Any] = {"text": document["text"]}
    if seconds is not None:
        short["usage"] = {"type": "duration", "seconds": seconds}
    return dumps(short), b"application/json"


def _as_text(document: dict[str, Any], _body: bytes) -> tuple[bytes, bytes]:
    return document["text"].encode("utf-8", "replace") + b"\n", _PLAIN_TEXT


def _as_verbose(_document: dict[str, Any], body: bytes) -> tuple[bytes, bytes]:
    return body, b"application/json"


def _as_srt(document: dict[str, Any], _body: bytes) -> tuple[bytes, bytes]:
    cues = [
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(_cues(document), 1)
    ]
    return "\n".join(cues).encode("utf-8", "replace"), _PLAIN_TEXT


def _as_vtt(document: dict[str, Any], _body: bytes) -> tuple[bytes, bytes]:
    cues = [
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text}\n"
        for start, end, text in _cues(document)
    ]
    return "\n".join(["WEBVTT\n", *cues]).encode("utf-8", "replace"), _PLAIN_TEXT


def _cues(document: dict[str, Any]) -> list[tuple[float, float, str]]:
    """The segments; without any, the whole text over the whole time."""
    cues = [
        (_seconds(segment.get("start")), _seconds(segment.get("end")), text_of(segment.get("text")))
        for segment in dicts_in(document.get("segments"))
    ]
    whole = (0.0, _seconds(document.get("duration")), document["text"])
    return [(start, end, _one_cue(text)) for start, end, text in cues or [whole]]


def _one_cue(text: str) -> str:
    """A blank line would end the cue, an arrow begin one."""
    return " ".join(text.split()).replace("-->", "->")


def _seconds(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < 360_000 else 0.0


def _clock(seconds: float, mark: str) -> str:
    minutes, ms = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{ms // 1000:02d}{mark}{ms % 1000:03d}"


_WRITERS: dict[str, Writer] = {
    "json": _as_json,
    "text": _as_text,
    "verbose_json": _as_verbose,
    "srt": _as_srt,
    "vtt": _as_vtt,
}
