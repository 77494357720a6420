"""Whether this worker was told to stop, known to all its processes at once.

A worker that is told to stop waits for its running tasks, and tells them nothing. Here its main
process says so, in a page of memory that the processes which run tasks share with it, and a task
that may take long looks there and comes to its end. What it leaves undone is done at the next start.
"""

from __future__ import annotations

import asyncio
import mmap

LOOK_EVERY_S = 0.1

_SHARED = mmap.mmap(-1, 1)  # no lock: it is written from within a signal handler


def say() -> None:
    _SHARED[0] = 1


def forget() -> None:
    _SHARED[0] = 0


def was_told() -> bool:
    return _SHARED[0] != 0


async def until_told() -> None:
    while not was_told():  # noqa: ASYNC110 - the word comes from another process
        await asyncio.sleep(LOOK_EVERY_S)
