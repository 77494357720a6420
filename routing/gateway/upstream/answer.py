"""The answer that is being read from a connection of the fast client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from routing.adapters.base import Headers
from routing.core.errors import BrokenAnswer, UpstreamError
from routing.gateway.upstream.sending import too_large

MAX_UNREAD_BYTES = 2**18
_HEAD, _SOME, _ALL = range(3)  # what the reader waits for


class Carrier(Protocol):
    """What an answer may do to its connection."""

    def resume(self) -> None: ...

    def abort(self) -> None: ...


class FastAnswer:
    """Status and headers of an answer, and its body as it arrives."""

    __slots__ = (
        "_connection",
        "_error",
        "_loop",
        "awaits",
        "headers",
        "is_complete",
        "parts",
        "room",
        "status",
        "unread",
        "waiter",
    )

    def __init__(self, connection: Carrier, loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0  # until the head has arrived
        self.headers: Headers = []
        self._loop = loop
        self._connection: Carrier | None = connection
        self.parts: list[bytes] = []
        self.unread = 0
        self.room = MAX_UNREAD_BYTES
        self.awaits = _HEAD
        self.is_complete = False
        self._error: UpstreamError | None = None
        self.waiter: asyncio.Future[None] | None = None

    async def head(self) -> None:
        while not self.status and self._error is None:
            await self._wait()
        if self._error is not None and not self.status:
            raise self._error
        self.awaits = _SOME

    async def read(self, limit_bytes: int) -> bytes:
        self.awaits = _ALL
        self.room = limit_bytes
        if self._connection is not None:
            self._connection.resume()
        while not self.is_complete and self._error is None and self.unread <= limit_bytes:
            await self._wait()
        if self.unread > limit_bytes:
            await self.aclose()
            raise too_large(limit_bytes, self.status)
        if self._error is not None:
            raise self._error
        return self._take()

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            if self.parts:
                yield self._take()
            elif self._error is not None:
                raise self._error
            elif self.is_complete:
                return
            else:
                await self._wait()

    async def aclose(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.abort()
            self.fail(BrokenAnswer("closed", "the answer was closed while it was read"))
        self.parts.clear()

    def _take(self) -> bytes:
        parts = self.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.unread = 0
        if self._connection is not None:
            self._connection.resume()
        return data

    def _wait(self) -> asyncio.Future[None]:
        self.waiter = waiter = self._loop.create_future()
        return waiter

    def wants_all(self) -> bool:
        return self.awaits == _ALL

    def is_awaited(self) -> bool:
        """Whether the reader can go on with what has arrived."""
        if self.awaits == _SOME:
            return bool(self.parts) or self.is_complete
        if self.awaits == _HEAD:
            return self.status != 0
        return self.is_complete or self.unread > self.room

    def wake(self) -> None:
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def complete(self) -> None:
        self.is_complete = True
        self._connection = None

    def fail(self, error: UpstreamError) -> None:
        self._connection = None
        if self._error is None and not self.is_complete:
            self._error = error
        self.wake()
