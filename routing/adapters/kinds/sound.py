"""Sound that comes as it is: passed on in the pieces it comes in."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from typing_extensions import override

from routing.adapters import errors
from routing.adapters.base import StreamReader
from routing.adapters.usage import NoteUsage
from routing.core.errors import UpstreamError
from routing.core.usage import Usage

CONTENT_TYPES = {
    "mp3": b"audio/mpeg",
    "opus": b"audio/ogg",
    "aac": b"audio/aac",
    "flac": b"audio/flac",
    "wav": b"audio/wav",
    "pcm": b"audio/pcm",
}
# How a file begins says more than what was asked for: some providers have but one format.
_BEGINNINGS = ((b"RIFF", "wav"), (b"OggS", "opus"), (b"fLaC", "flac"), (b"ID3", "mp3"))


@runtime_checkable
class SoundReader(StreamReader, Protocol):
    """Gives sound itself, not events."""

    sound_type: bytes  # a content type, once sound has come


class SoundStream(SoundReader):
    """Ends with its connection: a cut shows there alone, not in what was read."""

    def __init__(self, usage: Usage, asked_format: str) -> None:
        self.content_started = self.answer_started = False
        self.done = False
        self.error: UpstreamError | None = None
        self.usage = Usage()
        self.usage_raw = b""
        self.finish_reason = ""
        self.response_model = ""
        self.service_tier = ""
        self.output_chars = 0
        self.content_frames = 0
        self.is_native = False
        self.note: NoteUsage | None = None
        self.sound_type = b""
        self._usage_once_begun = usage
        self._asked_format = asked_format

    @override
    def feed(self, data: bytes) -> bytes:
        if not data or self.done or self.error is not None:
            return b""
        if not self.content_started:
            self.content_started = self.answer_started = True
            self.usage = self._usage_once_begun
            self.sound_type = type_of_sound(data, self._asked_format)
        self.content_frames += 1
        return data

    @override
    def close(self) -> bytes:
        if self.content_started:
            self.done = True
        elif self.error is None:
            self.error = errors.not_an_answer(b"")
        return b""


def type_of_sound(head: bytes, asked_format: str) -> bytes:
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning):
            return CONTENT_TYPES[name]
    return CONTENT_TYPES.get(asked_format, b"application/octet-stream")
