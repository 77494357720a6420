"""Speech as OpenAI asks for it: text in, sound out, billed by the character or by tokens.

Sound is passed on as it comes. Where a provider can give it as events it is always asked for them:
only their last one says what was used. The form that the client wants is made of them here.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from typing_extensions import override

from routing.adapters import errors
from routing.adapters.base import BuiltRequest, ChatCall, Headers, Reply, StreamReader, header
from routing.adapters.jsonio import dict_of, dumps, text_of
from routing.adapters.kinds.common import (
    WholeAnswers,
    as_billed,
    headers_for,
    sent_body,
)
from routing.adapters.kinds.counting import text_tokens
from routing.adapters.kinds.sound import SoundStream, type_of_sound
from routing.adapters.kinds.streams import EVENT_STREAM, KindStream
from routing.adapters.usage import count
from routing.adapters.wire import quirks_of
from routing.core.catalog import Endpoint
from routing.core.usage import Meter, Usage, UsageSource

USUAL_FORMAT = "mp3"
DELTA, DONE = "speech.audio.delta", "speech.audio.done"
_TEXTUAL = (b"application/json", b"text/")


class OpenAISpeech(WholeAnswers):
    dialect = "openai_compat"

    @override
    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        body, dropped = sent_body(call, endpoint)
        gives_events = _gives_events(endpoint)
        if gives_events:
            body["stream_format"] = "sse"
        headers = headers_for(endpoint, secret, accept=EVENT_STREAM if gives_events else b"*/*")
        return BuiltRequest(quirks_of(endpoint).speech_path, headers, dumps(body), tuple(dropped))

    @override
    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        content_type = header(headers, b"content-type").lower()
        is_events = content_type.startswith(EVENT_STREAM)
        if not body or (content_type.startswith(_TEXTUAL) and not is_events):
            errors.answer_in(body, headers, quirks_of(endpoint))
            raise errors.not_an_answer(body)
        reader = _sound_from(call, endpoint, is_events=is_events)
        sound = reader.feed(body) + reader.close()
        if reader.error is not None:
            raise reader.error
        return Reply(
            raw=sound,
            usage=reader.usage,
            usage_raw=reader.usage_raw,
            content_type=content_type if content_type.startswith(b"audio/") else reader.sound_type,
        )

    @override
    def open_stream(self, call: ChatCall, endpoint: Endpoint) -> StreamReader:
        if not call.is_sound:
            return SpokenEvents(call, endpoint)
        return _sound_from(call, endpoint, is_events=_gives_events(endpoint))


class SpokenEvents(KindStream):
    """Sound in pieces of base64, and the usage at the end."""

    @override
    def _on_event(self, name: str, event: dict[str, Any], sent: bytes) -> bytes:
        if name == DELTA:
            return self._spoken(text_of(event.get("audio")), sent)
        if name == DONE:
            told = dict_of(event.get("usage"))
            self._end_with(_usage(self._call, self._endpoint, told), told)
        return self._passed_on(sent)

    def _spoken(self, audio: str, sent: bytes) -> bytes:
        try:
            sound = b64decode(audio, validate=True)
        except ValueError:
            return self._fail("bad_sound", "The provider sent sound that is not base64.")
        if sound:
            if not self.content_started:
                self._begin(sound)
            self._count(0, is_answer=True)
        return self._passed_on(sent, sound)

    def _begin(self, sound: bytes) -> None:
        self.usage = _usage(self._call, self._endpoint, {})

    def _passed_on(self, sent: bytes, sound: bytes = b"") -> bytes:
        return sent


class UnpackedSound(SpokenEvents):
    """The sound itself, out of a provider's events."""

    sound_type = b""

    @override
    def _begin(self, sound: bytes) -> None:
        super()._begin(sound)
        self.sound_type = type_of_sound(sound, _asked_format(self._call))

    @override
    def _passed_on(self, sent: bytes, sound: bytes = b"") -> bytes:
        return sound


def _sound_from(
    call: ChatCall, endpoint: Endpoint, *, is_events: bool
) -> UnpackedSound | SoundStream:
    if is_events:
        return UnpackedSound(call, endpoint)
    return SoundStream(_usage(call, endpoint, {}), _asked_format(call))


def _gives_events(endpoint: Endpoint) -> bool:
    return "stream" in endpoint.capabilities


def _asked_format(call: ChatCall) -> str:
    return text_of(call.body.get("response_format")) or USUAL_FORMAT


def _usage(call: ChatCall, endpoint: Endpoint, told: dict[str, Any]) -> Usage:
    """Of the whole text: a provider that has begun to speak has read it."""
    text = text_of(call.body.get("input"))
    spoken, made = count(told.get("input_tokens")), count(told.get("output_tokens"))
    priced = {row.meter for row in endpoint.prices.rows}
    is_guess = Meter.OUTPUT in priced and None in (spoken, made)
    usage = Usage(
        input_total=text_tokens(text) if spoken is None else spoken,
        output_total=made or 0,
        characters=len(text),
        source=UsageSource.ESTIMATED if is_guess else UsageSource.PROVIDER,
    )
    return as_billed(usage, endpoint)
