"""Tells the other gateway processes what this one learned, and adds what they tell to its own.

    every 2 s: insert our news, if any  ->  read the others' rows since the last round

A breaker that turns is told at once, by a notification that makes the others read. A task of the
event loop: statements are awaited, and cut after a second. Without Postgres every process goes on
with what it sees itself, and tells it later. What others wrote is not taken on trust.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Protocol

import msgspec
import psycopg

from routing.snapshots.connection import Database, cut, cut_after

log = logging.getLogger(__name__)

ROUND_S = 2.0
LOOK_S = 0.25  # whether there is something urgent
LEAST_REST_S = 0.05  # however much is urgent, here and elsewhere
CHANNEL = "panelboard_sighting"
LIVE_S = 60.0  # a process that told something so long ago still serves requests
MOST_PROCESSES = 256
STATEMENT_S = 1.0
FIRST_ROUND_S = 2.0
FORGET_EVERY_S = 60.0
KEPT_S = 900.0
HEARD_AT_START_S = 600.0  # a new process begins with what was seen so long before
OVERLAP_ROWS = 200  # ids come in order, commits do not: so many are looked at twice
MOST_ROWS = 5000  # in one round, the newest ones; fewer where so many could not be read
FEWEST_ROWS = 20
MOST_BYTES = 4 * 2**20  # of one row
LEAST_BACK_OFF_S, MOST_BACK_OFF_S = 0.5, 10.0

TELL = """
INSERT INTO routing_sighting (process, told_at, sightings) VALUES (%s, clock_timestamp() - make_interval(secs => %s), %s)
"""
NOTIFY = "SELECT pg_notify(%s, %s)"
FIRST = """
SELECT coalesce(min(id), 0) FROM routing_sighting
WHERE told_at > clock_timestamp() - make_interval(secs => %s)
"""
NEWEST = "SELECT coalesce(max(id), 0) FROM routing_sighting"
READ = """
SELECT id, process, extract(epoch FROM clock_timestamp() - told_at)::float8, sightings
FROM routing_sighting WHERE id >= %s AND process <> %s AND octet_length(sightings) <= %s
ORDER BY id DESC LIMIT %s
"""
FORGET = """
DELETE FROM routing_sighting WHERE told_at < clock_timestamp() - make_interval(secs => %s)
OR told_at > clock_timestamp() + make_interval(secs => %s)
"""  # the latter where the clock was set back

Connection = psycopg.AsyncConnection[Any]


class Learner(Protocol):
    """routing.core.learning.Learning; times are monotonic seconds."""

    @property
    def is_urgent(self) -> bool: ...

    def meet(self, processes: int) -> None: ...

    def tell(self, now: float) -> bytes: ...

    def hear(self, data: str, now: float, age_s: float) -> None: ...


class HealthKeeper:
    def __init__(
        self,
        database: Database,
        learner: Learner,
        *,
        also: Sequence[Callable[[Connection], Awaitable[None]]] = (),
        process: str = "",
        round_s: float = ROUND_S,
        monotonic: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        """`also` is done in each round, with the same connection."""
        self._also = tuple(also)
        self.process = process or f"{os.getpid()}-{secrets.token_hex(4)}"
        self.trouble = "not connected yet"  # "" while Postgres answers
        self._database = database
        self._learner = learner
        self._round_s = round_s
        self._monotonic = monotonic
        self._random = random or Random()
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._first_round = asyncio.Event()
        self._untold = b""  # that could not be written
        self._untold_at = 0.0
        self._others: dict[str, float] = {}  # when they told something last
        self._from_id: int | None = None
        self._newest_id = 0
        self._most_rows = MOST_ROWS
        self._heard: set[int] = set()
        self._forget_at = float("-inf")

    async def start(self) -> None:
        """Waits for the first round, but not for long: without Postgres it goes on trying."""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="health keeper")
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_ROUND_S):
                await self._first_round.wait()

    async def stop(self) -> None:
        if self._task is None:
            return
        if self._connection is not None:
            cut(self._connection)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        self.trouble = "stopped"

    async def _keep(self) -> None:
        back_off_s = LEAST_BACK_OFF_S
        while True:
            try:
                self._connection = await self._database.connect()
                async with self._connection as connection:
                    await self._serve(connection)
            except Exception as exc:  # noqa: BLE001  # whatever it is, the next round is tried
                back_off_s = LEAST_BACK_OFF_S if not self.trouble else back_off_s
                self._note_trouble(exc)
            finally:
                self._connection = None
            await asyncio.sleep(back_off_s * (1 + self._random.random() / 5))
            back_off_s = min(back_off_s * 2, MOST_BACK_OFF_S)

    async def _serve(self, connection: Connection) -> None:
        """Round after round. Raises when Postgres does not answer."""
        with cut_after(connection, STATEMENT_S):
            await connection.execute(f"LISTEN {CHANNEL}")
            await self._look_for_new_beginning(connection)
        while True:
            await self._round(connection)
            if self.trouble:
                log.info("what is learned is shared with the other processes")
            self.trouble = ""
            self._first_round.set()
            await self._rest(connection, self._round_s * (0.9 + self._random.random() / 5))

    async def _rest(self, connection: Connection, seconds: float) -> None:
        """Until the next round, which comes early where a breaker turned, here or elsewhere."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        await asyncio.sleep(min(LEAST_REST_S, seconds))
        while (left_s := until - loop.time()) > 0 and not self._learner.is_urgent:
            looking = connection.notifies(timeout=min(left_s, LOOK_S), stop_after=1)
            notes = [note.payload async for note in looking]  # all that have come
            if any(process != self.process for process in notes):
                return

    async def _round(self, connection: Connection) -> None:
        await self._tell(connection)
        now = self._monotonic()
        if now >= self._forget_at + FORGET_EVERY_S:
            self._forget_at = now
            with cut_after(connection, STATEMENT_S):
                await connection.execute(FORGET, [KEPT_S, LIVE_S])
        await self._hear(connection)

    async def _tell(self, connection: Connection) -> None:
        now, is_urgent = self._monotonic(), self._learner.is_urgent
        if not self._untold:
            self._untold, self._untold_at = self._learner.tell(now), now
        if self._untold:
            row = [self.process, now - self._untold_at, self._untold.decode()]
            with cut_after(connection, STATEMENT_S):
                await connection.execute(TELL, row)
                self._untold = b""
                if is_urgent:
                    await connection.execute(NOTIFY, [CHANNEL, self.process])
        for tell in self._also:
            with cut_after(connection, STATEMENT_S):
                await tell(connection)

    async def _look_for_new_beginning(self, connection: Connection) -> None:
        """A server that crashed empties the table, and counts its rows from one again."""
        cursor = await connection.execute(NEWEST)
        row = await cursor.fetchone()
        if row is not None and row[0] < self._newest_id:
            self._from_id, self._newest_id = None, 0
            self._heard.clear()

    async def _hear(self, connection: Connection) -> None:
        rows = await self._read(connection)
        now = self._monotonic()
        for number, process, age_s, text in rows:
            if number not in self._heard:
                self._heard.add(number)
                self._take_in(process, text, now, max(age_s, 0.0))
                await asyncio.sleep(0)  # many at once would hold up the requests
        self._others = {one: at for one, at in self._others.items() if now - at < LIVE_S}
        self._learner.meet(min(1 + len(self._others), MOST_PROCESSES))
        if rows:
            self._newest_id = max(self._newest_id, rows[0][0])
            self._from_id = max(self._from_id or 0, rows[0][0] - OVERLAP_ROWS)
            self._heard = {number for number in self._heard if number >= self._from_id}

    async def _read(self, connection: Connection) -> list[Any]:
        most, self._most_rows = self._most_rows, max(self._most_rows // 4, FEWEST_ROWS)
        with cut_after(connection, STATEMENT_S):
            if self._from_id is None:
                cursor = await connection.execute(FIRST, [HEARD_AT_START_S])
                row = await cursor.fetchone()
                self._from_id = 0 if row is None else int(row[0])
            wanted = [self._from_id, self.process, MOST_BYTES, most]
            cursor = await connection.execute(READ, wanted)
            rows = await cursor.fetchall()
        self._most_rows = MOST_ROWS
        return rows

    def _take_in(self, process: str, text: str, now: float, age_s: float) -> None:
        self._others[process] = max(self._others.get(process, float("-inf")), now - age_s)
        try:
            self._learner.hear(text, now, age_s)
        except (msgspec.MsgspecError, RecursionError):
            log.warning("what another process told is not readable and left out")

    def _note_trouble(self, exc: Exception) -> None:
        if not self.trouble:
            log.warning(
                "what is learned cannot be shared with the other processes now: %s",
                exc,
                exc_info=not isinstance(exc, psycopg.Error | OSError),
            )
        self.trouble = str(exc).strip() or type(exc).__name__
