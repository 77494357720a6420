"""Where sound goes that is passed on as it comes: no event can be put into it."""

from __future__ import annotations

from collections.abc import Callable

from routing.adapters.base import Headers
from routing.adapters.kinds.sound import SoundReader
from routing.gateway.asgi import Sink
from routing.gateway.fixed_headers import NO_HEADERS, FixedHeaders
from routing.gateway.scribe import Scribe

_OF_EVENTS = frozenset({b"content-type", b"x-accel-buffering"})


class SoundSink:
    """A `Sink` before another one.

    It names the sound by what came of it, and cuts the connection where a stream of events would
    end with one that tells the error: whoever reads to the end then knows that it is not whole.
    """

    __slots__ = ("_scribe", "_sink")

    def __init__(self, sink: Sink, scribe: Scribe) -> None:
        self._sink = sink
        self._scribe = scribe

    @property
    def started(self) -> bool:
        return self._sink.started

    @property
    def finished(self) -> bool:
        return self._sink.finished

    @property
    def gone(self) -> bool:
        return self._sink.gone

    write_framed: Callable[[bytes], bool] | None = None

    @property
    def write_at_once(self) -> Callable[[bytes], bool] | None:
        return self._sink.write_at_once

    def watch(self, on_gone: Callable[[], object]) -> None:
        self._sink.watch(on_gone)

    async def start(self, status: int, headers: Headers, fixed: FixedHeaders = NO_HEADERS) -> None:
        reader = self._reader()
        if reader is not None:
            others = [pair for pair in fixed.pairs if pair[0] not in _OF_EVENTS]
            fixed = FixedHeaders([(b"content-type", reader.sound_type), *others])
        await self._sink.start(status, headers, fixed)

    async def write(self, data: bytes) -> None:
        await self._sink.write(data)

    async def finish(self, data: bytes = b"") -> None:
        reader = self._reader()
        if reader is None or reader.done:
            await self._sink.finish(data)
        else:
            self._sink.close()

    async def reply(
        self, status: int, headers: Headers, body: bytes, fixed: FixedHeaders = NO_HEADERS
    ) -> None:
        await self._sink.reply(status, headers, body, fixed)

    def close(self) -> None:
        self._sink.close()

    def _reader(self) -> SoundReader | None:
        """Of the attempt that answers."""
        attempt = self._scribe.attempt
        reader = attempt.reader if attempt is not None else None
        return reader if isinstance(reader, SoundReader) else None
