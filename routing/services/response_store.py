"""Kept responses for an event loop: a few threads with connections of their own do the work.

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
from typing import Generic, TypeVar

import psycopg
from typing_extensions import override

from routing.core.cursor import Cursor
from routing.services import stored_responses
from routing.services.sealing import Keyring
from routing.snapshots.connection import BlockingConnection, Database, cut
from routing.surfaces.responses.store import KeptResponse, ResponseStore, StoreUnavailable

THREADS = 4
MOST_WAITING = 64  # beyond it the database is plainly not keeping up
READ_S = 2.0
KEEP_S = 2.0  # the client waits for it before the last event
PAUSE_S = 5.0  # after a failure nothing is kept for so long: answers shall not wait one by one
MOST_IDLE_S = 120.0  # an older connection is not used again
T = TypeVar("T")


class _Job(Generic[T]):
    """One piece of work. Its connection is known to the event loop, which may have to cut it."""

    def __init__(self, work: Callable[[Cursor], T]) -> None:
        self.work = work
        self.connection: BlockingConnection | None = None
        self.is_late = False

    def run_on(self, connection: BlockingConnection) -> T:
        self.connection = connection
        try:
            with connection.cursor() as cursor:
                return self.work(cursor)
        finally:
            self.connection = None

    def give_up(self) -> None:
        self.is_late = True
        if self.connection is not None:
            cut(self.connection)


class PostgresResponseStore(ResponseStore):
    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        *,
        read_s: float = READ_S,
        keep_s: float = KEEP_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._read_s = read_s
        self._keep_s = keep_s
        self._monotonic = monotonic
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="stored-responses")
        self._places = threading.Semaphore(MOST_WAITING)
        self._idle: deque[tuple[BlockingConnection, float]] = deque()  # and since when
        self._paused_until = 0.0

    @override
    async def get(self, response_id: str, project_id: int) -> KeptResponse | None:
        return await self._run(
            lambda cursor: stored_responses.find(cursor, self._keyring, response_id, project_id),
            self._read_s,
        )

    @override
    async def put(self, kept: KeptResponse, project_id: int) -> None:
        if self._monotonic() < self._paused_until:
            raise StoreUnavailable("the database did not answer a moment ago")
        await self._run(
            lambda cursor: stored_responses.keep(cursor, self._keyring, kept, project_id),
            self._keep_s,
        )

    @override
    async def delete(self, response_id: str, project_id: int) -> bool:
        return await self._run(
            lambda cursor: stored_responses.forget(cursor, response_id, project_id), self._read_s
        )

    async def close(self) -> None:
        """Waits for what runs; nothing may be asked afterwards."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        while self._idle:
            self._idle.pop()[0].close()

    async def _run(self, work: Callable[[Cursor], T], limit_s: float) -> T:
        if not self._places.acquire(blocking=False):
            raise StoreUnavailable("too many requests wait for the database")
        job = _Job(work)
        future = self._threads.submit(self._work, job)
        future.add_done_callback(lambda _: self._places.release())
        try:
            async with asyncio.timeout(limit_s):
                found = await asyncio.wrap_future(future)
        except TimeoutError:
            job.give_up()
            self._pause()
            raise StoreUnavailable(f"no answer within {limit_s:g} s") from None
        except psycopg.IntegrityError as exc:  # the project is gone; the database is well
            raise StoreUnavailable(str(exc)) from exc
        except (psycopg.Error, OSError) as exc:
            self._pause()
            raise StoreUnavailable(str(exc)) from exc
        self._paused_until = 0.0
        return found

    def _pause(self) -> None:
        self._paused_until = self._monotonic() + PAUSE_S

    def _work(self, job: _Job[T]) -> T:
        """A kept connection may have ended with a server that was started anew: it gets one more
        try, which every piece of work here allows."""
        kept = self._kept_connection()
        if kept is not None:
            try:
                return self._work_on(kept, job)
            except psycopg.OperationalError:
                if job.is_late:
                    raise
        return self._work_on(self._database.connect_blocking(), job)

    def _work_on(self, connection: BlockingConnection, job: _Job[T]) -> T:
        try:
            return job.run_on(connection)
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
