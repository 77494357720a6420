"""Coroutines that wait for the spool's thread."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Waiters:
    """Filled by event loops, released by a thread. The caller holds a lock for `add` and `take`."""

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def add(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((loop, done))
        return done

    def take(self) -> Waiters:
        """All who wait now; who comes later waits for the next round."""
        taken = Waiters()
        taken._waiting, self._waiting = self._waiting, []
        return taken

    def release(self) -> None:
        for loop, done in self._waiting:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_resolve, done)
        self._waiting.clear()


def _resolve(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
