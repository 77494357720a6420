"""Sends what one turn of the event loop has to send together, when the turn is over.

A write costs most where it has to wake its reader: amid other work every reader has gone to sleep
again. Written one after another, messages find the readers of those before still awake, and the
kernel's code still in the cache. What is held is at most one turn old. Where little goes on there is
nothing to gain: then messages are sent at once.
"""

from __future__ import annotations

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary

MOST_HELD_BYTES = 2**16
MANY = 8  # requests at once: from so many on messages are held


class Holder(Protocol):
    def send_held(self) -> None:
        """Sends what is held, if anything still is and somebody is there to get it."""
        ...


class Outbox:
    """One per event loop. `is_open` says whether messages are to be held."""

    __slots__ = ("_holders", "_loop", "is_open")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_open = False
        self._loop = loop
        self._holders: list[Holder] = []

    def add(self, holder: Holder) -> None:
        holders = self._holders
        if not holders:
            self._loop.call_soon(self._send_all)
        holders.append(holder)

    def _send_all(self) -> None:
        holders, self._holders = self._holders, []
        for holder in holders:
            holder.send_held()


_boxes: WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox] = WeakKeyDictionary()


def outbox_of(loop: asyncio.AbstractEventLoop) -> Outbox:
    box = _boxes.get(loop)
    if box is None:
        box = _boxes[loop] = Outbox(loop)
    return box
