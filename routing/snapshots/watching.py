"""Keeps a process's snapshot fresh without ever holding up its event loop.

    NOTIFY, or a look at the version every 2 s  ->  stale  ->  load in a thread  ->  replace

Nothing here raises when Postgres is gone or hung: the last snapshot stays, and the log says so once.
A statement that hangs is ended by cutting its socket, because a stopped server honours no timeout.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random
from typing import Any

import psycopg

from routing.core.catalog import Snapshot, empty_snapshot
from routing.core.cursor import Cursor
from routing.snapshots.connection import BlockingConnection, Database, cut, cut_after
from routing.snapshots.rows import VERSION

log = logging.getLogger(__name__)

CHANNEL = "panelboard_snapshot"
POLL_S = 2.0
STATEMENT_S = 2.0
LOAD_S = 15.0
FIRST_LOAD_S = 5.0
RELOAD_S = 300.0  # also without a change: an endpoint may retire at midnight
PAUSE_BETWEEN_LOADS_S = 0.05
LEAST_BACK_OFF_S, MOST_BACK_OFF_S = 0.2, 5.0

Load = Callable[[Cursor], Snapshot]
Callback = Callable[[Snapshot], None]


class SnapshotWatcher:
    """`current` is always a whole snapshot: the empty one until `is_loaded`, then the latest."""

    def __init__(
        self,
        database: Database,
        load: Load,
        *,
        poll_s: float = POLL_S,
        load_s: float = LOAD_S,
        random: Random | None = None,
    ) -> None:
        self.current: Snapshot = empty_snapshot()
        self.is_loaded = False
        self.trouble = ""  # why the database cannot be read now, "" when it can
        self._database = database
        self._load = load
        self._poll_s = poll_s
        self._load_s = load_s
        self._random = random or Random()
        self._callbacks: list[Callback] = []
        self._stale = asyncio.Event()
        self._loaded = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._loader = _LoaderThread(database)

    def on_change(self, callback: Callback) -> None:
        """Called on the event loop with each new snapshot; must be quick and must not raise."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Waits for the first snapshot, but no longer than 5 s: see `is_loaded`."""
        self._stale.set()
        self._tasks = [
            asyncio.create_task(self._keep_loaded(), name="snapshot loader"),
            asyncio.create_task(self._keep_listening(), name="snapshot listener"),
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOAD_S):
                await self._loaded.wait()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._loader.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._loader.close()

    async def _keep_loaded(self) -> None:
        back_off_s = LEAST_BACK_OFF_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RELOAD_S):
                    await self._stale.wait()
            self._stale.clear()
            try:
                self._accept(await self._loader.run(self._load, self._load_s))
            except Exception as exc:  # noqa: BLE001  # whatever it is, the last snapshot serves on
                self._note_trouble(exc)
                self._stale.set()
                await asyncio.sleep(self._jittered(back_off_s))
                back_off_s = min(back_off_s * 2, MOST_BACK_OFF_S)
            else:
                back_off_s = LEAST_BACK_OFF_S
                await asyncio.sleep(PAUSE_BETWEEN_LOADS_S)

    def _accept(self, snapshot: Snapshot) -> None:
        if self.trouble:
            log.warning("the database answers again; snapshot %d", snapshot.version)
        self.trouble = ""
        self.current = snapshot
        self.is_loaded = True
        self._loaded.set()
        for callback in self._callbacks:
            callback(snapshot)

    def _note_trouble(self, exc: Exception) -> None:
        if not self.trouble:
            log.warning("cannot read the snapshot, keeping %d: %s", self.current.version, exc)
        self.trouble = str(exc).strip() or type(exc).__name__

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 + self._random.random() / 5)

    async def _keep_listening(self) -> None:
        back_off_s = LEAST_BACK_OFF_S
        while True:
            try:
                async with await self._database.connect() as connection:
                    back_off_s = LEAST_BACK_OFF_S
                    await self._listen(connection)
            except (psycopg.Error, OSError) as exc:
                self._note_trouble(exc)
            self._stale.set()  # a load tells whether the database is gone, and notices what we missed
            await asyncio.sleep(self._jittered(back_off_s))
            back_off_s = min(back_off_s * 2, MOST_BACK_OFF_S)

    async def _listen(self, connection: psycopg.AsyncConnection[Any]) -> None:
        with cut_after(connection, STATEMENT_S):
            await connection.execute(f"LISTEN {CHANNEL}")
        while True:
            with cut_after(connection, STATEMENT_S):
                cursor = await connection.execute(VERSION)
                row = await cursor.fetchone()
            if row is not None and row[0] != self.current.version:
                self._stale.set()
            async for _ in connection.notifies(timeout=self._poll_s, stop_after=1):
                self._stale.set()


class _LoaderThread:
    """One thread with a database connection of its own, outside the pages' pool."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot")
        self._connection: BlockingConnection | None = None

    async def run(self, load: Load, limit_s: float) -> Snapshot:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(limit_s, self.cut)
        try:
            return await loop.run_in_executor(self._thread, self._load, load)
        finally:
            timer.cancel()

    def cut(self) -> None:
        """Ends a running statement with an error. May be called from any thread."""
        connection = self._connection
        if connection is not None and not connection.closed:
            cut(connection)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _load(self, load: Load) -> Snapshot:
        if self._connection is None:
            self._connection = self._database.connect_blocking()
        try:
            with self._connection.cursor() as cursor:
                return load(cursor)
        except Exception:
            self._close()
            raise

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
