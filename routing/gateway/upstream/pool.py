"""The kept connections to one scheme, host and port: who gets one, who waits, what is closed."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from contextlib import suppress
from math import inf
from typing import NamedTuple

from routing.core.deadlines import Deadlines
from routing.core.errors import ConnectFailed, UpstreamTimeout
from routing.gateway.upstream.connecting import connect_in_time
from routing.gateway.upstream.connection import Connection
from routing.gateway.upstream.guard import Guard, Target
from routing.gateway.upstream.sending import after

CLOSE_GRACE_S = 2.0


class PoolStats(NamedTuple):
    open: int  # connections, those being made included
    idle: int
    waiting: int


class Pool:
    __slots__ = (
        "_context",
        "_emptied",
        "_guard",
        "_idle",
        "_idle_expiry_s",
        "_is_closed",
        "_limit",
        "_open",
        "_slots",
        "_target",
        "_waiters",
    )

    def __init__(
        self,
        target: Target,
        guard: Guard,
        context: ssl.SSLContext | None,
        limit: int,
        idle_expiry_s: float,
    ) -> None:
        self._target = target
        self._guard = guard
        self._context = context
        self._limit = limit
        self._idle_expiry_s = idle_expiry_s
        self._idle: list[Connection] = []  # the last used is taken first
        self._open: set[Connection] = set()
        self._slots = 0  # open, or being opened
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._is_closed = False
        self._emptied: asyncio.Event | None = None

    def stats(self) -> PoolStats:
        return PoolStats(self._slots, len(self._idle), len(self._waiters))

    def take(self) -> Connection | None:
        idle = self._idle
        while idle:
            connection = idle.pop()
            if not connection.is_closed:
                return connection
        return None

    async def acquire(self, deadlines: Deadlines, total_at: float) -> Connection:
        """A new connection, or the next one that another request is done with."""
        if self._slots < self._limit:
            self._slots += 1
        else:
            granted = await self._wait(deadlines, total_at)
            if granted is not None:
                if not granted.is_closed:
                    return granted
                return await self.acquire(deadlines, total_at)
        return await self._connect(deadlines, total_at)

    def freed(self, connection: Connection) -> None:
        if self._is_closed:
            connection.close()
        elif not self._waiters or not self._grant(connection):
            self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        self._forget(connection)

    async def aclose(self) -> None:
        self._is_closed = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ConnectFailed("the upstream client is closed"))
        self._waiters.clear()
        for connection in list(self._idle):
            connection.close()
        await self._until_empty()
        for connection in list(self._open):
            connection.cut_off()
        await self._until_empty()

    async def _until_empty(self) -> None:
        if self._open:
            self._emptied = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), CLOSE_GRACE_S)

    def _forget(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            self._give_slot_back()
            if self._emptied is not None and not self._open:
                self._emptied.set()

    def _give_slot_back(self) -> None:
        if not self._grant(None):
            self._slots -= 1

    def _grant(self, connection: Connection | None) -> bool:
        """To the one who waits longest: a connection, or the right to open one."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():  # else cancelled, and not yet told
                waiter.set_result(connection)
                return True
        return False

    async def _wait(self, deadlines: Deadlines, total_at: float) -> Connection | None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Connection | None] = loop.create_future()
        self._waiters.append(waiter)
        pool_at = after(loop.time(), deadlines.pool_s)
        phase = "pool" if pool_at <= total_at else "total"
        due = min(pool_at, total_at)
        timer = loop.call_at(due, self._give_up, waiter, phase) if due < inf else None
        try:
            return await waiter
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _give_up(self, waiter: asyncio.Future[Connection | None], phase: str) -> None:
        if not waiter.done():
            self._waiters.remove(waiter)
            message = f"{self._target.authority}: all {self._limit} connections stayed in use"
            waiter.set_exception(UpstreamTimeout(phase, message, was_sent=False))

    def _withdraw(self, waiter: asyncio.Future[Connection | None]) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif not waiter.cancelled() and waiter.exception() is None:
            granted = waiter.result()
            if granted is None:
                self._give_slot_back()
            elif not granted.is_closed:
                self.freed(granted)

    async def _connect(self, deadlines: Deadlines, total_at: float) -> Connection:
        """Uses up the slot that the caller holds."""
        loop = asyncio.get_running_loop()

        def make() -> Connection:
            return Connection(self, loop, self._target.authority, self._idle_expiry_s)

        try:
            connection = await connect_in_time(
                make, self._target, self._guard, self._context, deadlines, total_at
            )
        except BaseException:
            self._give_slot_back()
            raise
        if connection.is_closed:  # between the handshake and now; `lost` did not know it
            self._give_slot_back()
            raise ConnectFailed(f"{self._target.authority}: closed the connection at once")
        self._open.add(connection)
        return connection
