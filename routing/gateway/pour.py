"""The short way of a stream's bytes: from the provider's connection to the client's in one callback.

Most pieces of a stream are plain content that only has to be passed on. For them nobody needs to be
woken: the connection that received them has them read and written at once. Whatever needs more (the
end, an error, a client that does not keep up) is left to the exchange, which is woken for it.
"""

from __future__ import annotations

from collections.abc import Callable

from routing.adapters.base import StreamReader
from routing.adapters.stream import EventStream
from routing.gateway.attempt import Attempt


class Pour:
    """Called with the next bytes; True when they have been passed on and nothing else is to be done.

    After False the bytes have been read all the same: `take` gives what has to be written.
    """

    __slots__ = (
        "_attempt",
        "_feed",
        "_left",
        "_most_chars",
        "_now",
        "_problem",
        "_reader",
        "_stream",
        "_write",
        "_write_framed",
    )

    def __init__(
        self,
        attempt: Attempt,
        reader: StreamReader,
        feed: Callable[[bytes], bytes],
        write: Callable[[bytes], bool],
        now: Callable[[], float],
        most_chars: int,
        write_framed: Callable[[bytes], bool] | None = None,
    ) -> None:
        """`write` tells whether the client keeps up; after `most_chars` of output the exchange is
        woken, to write down the progress. `write_framed` writes a chunk with its framing, where
        the client's connection takes it so."""
        self._attempt = attempt
        self._reader = reader
        self._stream = reader if isinstance(reader, EventStream) else None
        self._feed = feed
        self._write = write
        self._write_framed = write_framed
        self._now = now
        self._most_chars = most_chars
        self._left = b""
        self._problem: Exception | None = None

    def __call__(self, data: bytes) -> bool:
        out = self._read(data)
        return out is not None and (not out or self._write(out))

    def framed(self, chunk: bytes, start: int) -> bool:
        """As the call, with the data in its framing as HTTP chunk: from `start` to the last CRLF."""
        data = chunk[start:-2]
        out = self._read(data)
        if out is data and self._write_framed is not None:
            return self._write_framed(chunk)
        return out is not None and (not out or self._write(out))

    def take(self) -> bytes:
        """Raises what went wrong while the bytes were read."""
        if self._problem is not None:
            raise self._problem
        left, self._left = self._left, b""
        return left

    def _read(self, data: bytes) -> bytes | None:
        """What the client gets; None where the exchange has to go on."""
        try:
            out = self._feed(data)
        except Exception as problem:  # noqa: BLE001 - raised where the exchange is woken
            self._problem = problem
            return None
        attempt = self._attempt
        attempt.last_chunk_at = now = self._now()
        if attempt.answer_at is None:
            attempt.mark_first(now)
        if self._is_due(attempt.progress_chars):
            self._left = out
            return None
        return out

    def _is_due(self, chars_before: int) -> bool:
        """The end, an error, or enough output for a record of the progress."""
        stream = self._stream  # of a known layout: compiled, its fields need not be looked up
        if stream is not None:
            chars = stream.output_chars - chars_before
            return stream.done or stream.error is not None or chars >= self._most_chars
        reader = self._reader
        chars = reader.output_chars - chars_before
        return reader.done or reader.error is not None or chars >= self._most_chars
