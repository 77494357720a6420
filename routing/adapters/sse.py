"""Server-sent events: bytes in, frames out, by the WHATWG grammar.

Lines end at CR, LF or CRLF and at nothing else: U+2028, U+0085 and their kin may stand inside a
JSON string. The frames do not depend on how the bytes were sliced.
"""

from __future__ import annotations

from typing import NamedTuple

from routing.adapters.base import Headers, header

MAX_EVENT_BYTES = 2**20
BOM = b"\xef\xbb\xbf"
COMMENT = b":"  # the name of a frame that is a comment; no event can have it
KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"

_NOT_A_STREAM = (b"application/json", b"application/problem+json", b"text/html", b"text/xml")


class Frame(NamedTuple):
    data: bytes
    name: bytes = b""


class FrameSplitter:
    """Feed it bytes; `overflow` is set when an event exceeds the limit, and nothing follows."""

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_data",
        "_event_bytes",
        "_limit",
        "_name",
        "_partial",
        "at_rest",
        "overflow",
    )

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._partial = bytearray()
        self._data: list[bytes] = []
        self._name = b""
        self._event_bytes = 0
        self._after_cr = False
        self._at_start = True
        self.at_rest = False  # between two events, with nothing held back
        self.overflow = False

    def feed(self, data: bytes) -> list[Frame]:
        if self.at_rest and is_one_frame(data) and len(data) < self._limit:
            return [Frame(data[6:-2])]
        return self._split(data)

    def close(self) -> list[Frame]:
        """EOF: a last frame without its blank line still counts."""
        return self._split(b"\n\n")

    def _split(self, data: bytes) -> list[Frame]:
        if self.overflow:
            return []
        lines = self._line_feeds_only(data).split(b"\n")
        unfinished = lines.pop()
        frames: list[Frame] = []
        if lines and self._partial:
            lines[0] = bytes(self._partial) + lines[0]
            self._partial.clear()
        for line in lines:
            if not self._end_line(line, frames):
                return frames
        self._partial += unfinished
        self._fits(len(self._partial))
        self.at_rest = not (self._partial or self._event_bytes or self._after_cr or self._at_start)
        return frames

    def _line_feeds_only(self, data: bytes) -> bytes:
        if not data:
            return data
        starts_at = 1 if self._after_cr and data.startswith(b"\n") else 0
        self._after_cr = data.endswith(b"\r")
        data = data[starts_at:]
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _end_line(self, line: bytes, frames: list[Frame]) -> bool:
        """False when the event has become too large."""
        if not self._fits(len(line) + 1):
            return False
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(BOM)
        if not line:
            self._dispatch(frames)
        elif line.startswith(COMMENT):
            frames.append(Frame(line[1:], COMMENT))
        else:
            self._take_field(line)
        return True

    def _take_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value
        self._event_bytes += len(line) + 1

    def _dispatch(self, frames: list[Frame]) -> None:
        if self._data:
            frames.append(Frame(b"\n".join(self._data), self._name))
            self._data.clear()
        self._name = b""
        self._event_bytes = 0

    def _fits(self, line_bytes: int) -> bool:
        self.overflow = self._event_bytes + line_bytes > self._limit
        return not self.overflow


def is_one_frame(data: bytes) -> bool:
    """Exactly one event of one JSON object, in the form that nearly all providers send."""
    return (
        data.startswith(b"data: {")
        and data.endswith(b"}\n\n")
        and data.find(b"\n") == len(data) - 2
        and b"\r" not in data
    )


def encode(payload: bytes) -> bytes:
    """One event. The payload is JSON, so a line break in it is white space between tokens."""
    if b"\n" in payload:
        payload = payload.replace(b"\n", b" ")
    return b"data: " + payload + b"\n\n"


def looks_like_stream(headers: Headers) -> bool:
    """False when the content type says that a 2xx answer is one document instead of events."""
    content_type = header(headers, b"content-type").strip().lower()
    return not content_type.startswith(_NOT_A_STREAM)
