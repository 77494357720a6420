"""The short way of a stream's bytes: from the provider's connection to the client's in one callback.

Most pieces of a stream are plain content that only has to be passed on. For them nobody needs to be
woken: the connection that received them has them read and written at once. Whatever needs more (the
end, an error, a client that does not keep up) is left to the exchange, which is woken for it.
"""

from __future__ import annotations

from collections.abc import Callable

from routing.adapters.base import StreamReader
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
        "_write",
    )

    def __init__(
        self,
        attempt: Attempt,
        reader: StreamReader,
        feed: Callable[[bytes], bytes],
        write: Callable[[bytes], bool],
        now: Callable[[], float],
        most_chars: int,
    ) -> None:
        """`write` tells whether the client keeps up; after `most_chars` of output the exchange is
        woken, to write down the progress."""
        self._attempt = attempt
        self._reader = reader
        self._feed = feed
        self._write = write
        self._now = now
        self._most_chars = most_chars
        self._left = b""
        self._problem: Exception | None = None

    def __call__(self, data: bytes) -> bool:
        attempt, reader = self._attempt, self._reader
        try:
            out = self._feed(data)
        except Exception as problem:  # noqa: BLE001 - raised where the exchange is woken
            self._problem = problem
            return False
        attempt.last_chunk_at = now = self._now()
        if attempt.answer_at is None:
            attempt.mark_first(now)
        if (
            reader.done
            or reader.error is not None
            or reader.output_chars - attempt.progress_chars >= self._most_chars
        ):
            self._left = out
            return False
        return not out or self._write(out)

    def take(self) -> bytes:
        """Raises what went wrong while the bytes were read."""
        if self._problem is not None:
            raise self._problem
        left, self._left = self._left, b""
        return left
