"""Postgres for an event loop: a few threads with connections of their own do the work.

No more wait than they can do, and whoever waits too long for a hung server ends its wait by cutting
the connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import psycopg

from routing.core.cursor import Cursor
from routing.snapshots.connection import BlockingConnection, Database, cut

THREADS = 3
MOST_WAITING = 64  # beyond it the database is plainly not keeping up
PATIENCE_S = 8.0
T = TypeVar("T")


class DatabaseAway(Exception):
    """It cannot be read or written now; trying again may help."""


class _Job(Generic[T]):
    """One transaction. Its connection is known to the event loop, which may have to cut it."""

    def __init__(self, work: Callable[[Cursor], T]) -> None:
        self.work = work
        self.connection: BlockingConnection | None = None
        self.is_late = False

    def run_on(self, connection: BlockingConnection) -> T:
        self.connection = connection
        try:
            with connection.transaction(), connection.cursor() as cursor:
                return self.work(cursor)
        finally:
            self.connection = None

    def give_up(self) -> None:
        self.is_late = True
        if self.connection is not None:
            cut(self.connection)


class DatabaseThreads:
    def __init__(self, database: Database, threads: int = THREADS) -> None:
        self._database = database
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="batches")
        self._places = threading.Semaphore(MOST_WAITING)
        self._idle: deque[BlockingConnection] = deque()

    async def run(self, work: Callable[[Cursor], T], limit_s: float = PATIENCE_S) -> T:
        """In a transaction of its own. Raises DatabaseAway, and what `work` raises.

        After a broken connection the work is done once more, so it must not do harm twice.
        """
        if not self._places.acquire(blocking=False):
            raise DatabaseAway("too many requests wait for the database")
        job = _Job(work)
        future = self._threads.submit(self._work, job)
        future.add_done_callback(lambda _: self._places.release())
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            job.give_up()
            raise DatabaseAway(f"no answer within {limit_s:g} s") from None
        except (psycopg.Error, OSError) as exc:
            raise DatabaseAway(str(exc)) from exc

    async def close(self) -> None:
        """Waits for what runs; nothing may be asked afterwards."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        while self._idle:
            self._idle.pop().close()

    def _work(self, job: _Job[T]) -> T:
        kept = self._kept_connection()
        if kept is not None:
            try:
                return self._work_on(kept, job)
            except psycopg.OperationalError:  # it may have ended with a server that came back
                if job.is_late or not kept.closed:
                    raise
        return self._work_on(self._database.connect_blocking(), job)

    def _work_on(self, connection: BlockingConnection, job: _Job[T]) -> T:
        try:
            return job.run_on(connection)
        finally:
            if not connection.closed:
                self._idle.append(connection)

    def _kept_connection(self) -> BlockingConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None
