"""The answer that is being read from a connection of the fast client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from routing.adapters.base import Headers, header
from routing.core.errors import BrokenAnswer, UpstreamError
from routing.gateway.upstream.plain import pairs_in, value_in
from routing.gateway.upstream.sending import too_large

MAX_UNREAD_BYTES = 2**18


class Carrier(Protocol):
    """What an answer may do to its connection."""

    def resume(self) -> None: ...

    def abort(self) -> None: ...


class FastAnswer:
    """Status and headers of an answer, and its body as it arrives.

    It is its own iterator over the body. `waiter` is told of the head, and then of the end of the
    body for one who reads all of it; `taker` gets the next bytes themselves, without another step.
    """

    __slots__ = (
        "connection",
        "error",
        "framed",
        "head",
        "is_complete",
        "loop",
        "lower",
        "parsed",
        "parts",
        "pour",
        "room",
        "status",
        "taker",
        "unread",
        "waiter",
        "wants_all",
    )

    def __init__(
        self,
        connection: Carrier,
        loop: asyncio.AbstractEventLoop,
        waiter: asyncio.Future[None],
    ) -> None:
        self.connection: Carrier | None = connection  # until the answer has ended
        self.loop = loop
        self.waiter = waiter
        self.taker: asyncio.Future[bytes] | None = None
        self.pour: Callable[[bytes], bool] | None = None
        self.framed: Callable[[bytes, int], bool] | None = None
        self.status = 0  # until the head has arrived
        self.parsed: Headers | None = None
        self.head = b""  # and `lower`: in place of `parsed`, of an answer read at a glance
        self.lower = b""
        self.parts: list[bytes] = []
        self.unread = 0  # bytes in `parts`
        self.room = MAX_UNREAD_BYTES
        self.wants_all = False
        self.is_complete = False
        self.error: UpstreamError | None = None

    @property
    def headers(self) -> Headers:
        if self.parsed is None:
            self.parsed = pairs_in(self.head)
        return self.parsed

    def header(self, line: bytes) -> bytes:
        if self.parsed is None:
            return value_in(self.head, self.lower, line)
        return header(self.parsed, line[1:-2])

    def body_at_once(self, limit_bytes: int) -> bytes | None:
        if not self.is_complete or len(self.parts) != 1 or self.unread > limit_bytes:
            return None
        self.unread = 0
        return self.parts.pop()

    async def read(self, limit_bytes: int) -> bytes:
        if not self.is_complete:
            await self._until_end(limit_bytes)
        if self.unread > limit_bytes:
            await self.aclose()
            raise too_large(limit_bytes, self.status)
        if self.error is not None:
            raise self.error
        parts = self.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.unread = 0
        return data

    def pour_into(
        self,
        pour: Callable[[bytes], bool],
        framed: Callable[[bytes, int], bool] | None = None,
    ) -> None:
        self.pour = pour
        self.framed = framed

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def __anext__(self) -> asyncio.Future[bytes]:
        taker: asyncio.Future[bytes] = self.loop.create_future()
        if self.parts:
            taker.set_result(self.take())
        elif self.error is not None:
            raise self.error
        elif self.is_complete:
            raise StopAsyncIteration
        else:
            self.taker = taker
        return taker

    async def aclose(self) -> None:
        if self.connection is not None:
            self.abandon()
        self.parts.clear()

    def abandon(self) -> None:
        """Ends an answer that has not ended, and its connection with it."""
        if self.connection is not None:
            self.connection.abort()
            self.fail(BrokenAnswer("closed", "the answer was closed while it was read"))

    def take(self) -> bytes:
        parts = self.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.unread = 0
        if self.connection is not None:
            self.connection.resume()
        return data

    def complete(self) -> None:
        self.is_complete = True
        self.connection = None

    def fail(self, error: UpstreamError) -> None:
        self.connection = None
        if self.error is None and not self.is_complete:
            self.error = error
        self.tell()

    def tell(self) -> None:
        """Wakes the reader if it can go on with what has arrived."""
        waiter = self.waiter
        if not waiter.done() and self._can_go_on():
            waiter.set_result(None)
        taker = self.taker
        if taker is None or taker.done():
            return
        if self.parts:
            taker.set_result(self.take())
        elif self.error is not None:
            taker.set_exception(self.error)
        elif self.is_complete:
            taker.set_exception(StopAsyncIteration())

    def _can_go_on(self) -> bool:
        if self.error is not None or self.is_complete:
            return True
        return self.unread > self.room if self.wants_all else self.status != 0

    async def _until_end(self, limit_bytes: int) -> None:
        self.wants_all = True
        self.room = limit_bytes
        if self.connection is not None:
            self.connection.resume()
        if not self._can_go_on():
            self.waiter = self.loop.create_future()
            await self.waiter
