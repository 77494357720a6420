"""Postgres for an event loop: a few threads with connections of their own do the work.

No more wait than they can do, and whoever waits too long for a hung server ends its wait by cutting
the connection.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

import psycopg

from routing.core.cursor import Cursor
from routing.snapshots.connection import BlockingConnection, Database, cut

THREADS = 4
PATIENCE_S = 8.0
MOST_WAITING = 64  # beyond it the database is plainly not keeping up
PAUSE_S = 5.0  # after a failure, for those who can do without: they shall not wait one by one
MOST_IDLE_S = 120.0  # an older connection is not used again
T = TypeVar("T")


Begin = Callable[[BlockingConnection], AbstractContextManager[object]]


class DatabaseUnavailable(Exception):
    """It cannot be read or written now; trying again may help."""


class _Job(Generic[T]):
    """One piece of work. Its connection is known to the event loop, which may have to cut it."""

    def __init__(self, work: Callable[[Cursor], T]) -> None:
        self.work = work
        self.connection: BlockingConnection | None = None
        self.is_late = False

    def run_on(self, connection: BlockingConnection, begin: Begin) -> T:
        self.connection = connection
        try:
            with begin(connection), connection.cursor() as cursor:
                return self.work(cursor)
        finally:
            self.connection = None

    def give_up(self) -> None:
        self.is_late = True
        if self.connection is not None:
            cut(self.connection)


def _statement_by_statement(_: BlockingConnection) -> AbstractContextManager[object]:
    return nullcontext()


def _as_one(connection: BlockingConnection) -> AbstractContextManager[object]:
    return connection.transaction()


class DatabaseWork:
    """Each statement counts by itself. `name` is that of its threads."""

    begin: Begin = staticmethod(_statement_by_statement)

    def __init__(
        self, database: Database, name: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=name)
        self._places = threading.Semaphore(MOST_WAITING)
        self._idle: deque[tuple[BlockingConnection, float]] = deque()  # and since when
        self._paused_until = 0.0

    @property
    def is_paused(self) -> bool:
        """It did not answer a moment ago."""
        return self._monotonic() < self._paused_until

    async def run(self, work: Callable[[Cursor], T], limit_s: float = PATIENCE_S) -> T:
        """Raises DatabaseUnavailable, and what `work` raises. After a broken connection the work
        is done once more, so it must not do harm twice."""
        if not self._places.acquire(blocking=False):
            raise DatabaseUnavailable("too many requests wait for the database")
        job = _Job(work)
        future = self._threads.submit(self._work, job)
        future.add_done_callback(lambda _: self._places.release())
        try:
            async with asyncio.timeout(limit_s):
                found = await asyncio.wrap_future(future)
        except TimeoutError:
            job.give_up()
            self._pause()
            raise DatabaseUnavailable(f"no answer within {limit_s:g} s") from None
        except psycopg.IntegrityError as exc:  # what it belongs to is gone; the database is well
            raise DatabaseUnavailable(str(exc)) from exc
        except (psycopg.Error, OSError) as exc:
            self._pause()
            raise DatabaseUnavailable(str(exc)) from exc
        self._paused_until = 0.0
        return found

    async def close(self) -> None:
        """Waits for what runs; nothing may be asked afterwards."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        while self._idle:
            self._idle.pop()[0].close()

    def _pause(self) -> None:
        self._paused_until = self._monotonic() + PAUSE_S

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
            return job.run_on(connection, self.begin)
        finally:
            if not connection.closed:
                self._idle.append((connection, self._monotonic()))

    def _kept_connection(self) -> BlockingConnection | None:
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return None
            if self._monotonic() - since < MOST_IDLE_S:
                return connection
            connection.close()


class DatabaseTransactions(DatabaseWork):
    """What is done in one go counts as a whole or not at all."""

    begin = staticmethod(_as_one)
