"""One timer for thousands of streams: callbacks due within the same tick run together."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

TICK_S = 0.005


class Wheel:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, list[Callable[[], None]]] = {}
        self._ticks: list[int] = []  # heap of the keys of _slots
        self._timer: asyncio.TimerHandle | None = None
        self._timer_tick = 0

    def now(self) -> float:
        return self._loop.time()

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Run `callback` at or up to one tick after `when`. There is no cancelling: the callback
        looks whether it is still wanted."""
        tick = int(when / TICK_S) + 1
        slot = self._slots.get(tick)
        if slot is None:
            self._slots[tick] = [callback]
            heapq.heappush(self._ticks, tick)
            self._arm()
        else:
            slot.append(callback)

    def stop(self) -> None:
        self._slots.clear()
        self._ticks.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if not self._ticks:
            return
        first = self._ticks[0]
        if self._timer is not None:
            if self._timer_tick <= first:
                return
            self._timer.cancel()
        self._timer_tick = first
        self._timer = self._loop.call_at(first * TICK_S, self._run)

    def _run(self) -> None:
        self._timer = None
        reached = int(self._loop.time() / TICK_S)
        # libuv rounds timers to whole milliseconds and may fire a hair early
        reached = max(reached, self._timer_tick)
        while self._ticks and self._ticks[0] <= reached:
            for callback in self._slots.pop(heapq.heappop(self._ticks)):
                self._loop.call_soon(callback)  # one that fails does not take the others along
        self._arm()
