"""Tells the other gateway processes what this one learned, and adds what they tell to its own.

    every 2 s: insert our news, if any  ->  read the others' rows since the last round

A breaker that turns is told at once, by a notification that makes the others read. A task of the event loop: statements are awaited, and cut after a second. Without Postgres every
process goes on with what it sees itself, and tells it later.
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
CHANNEL = "panelboard_sighting"
LIVE_S = 60.0  # a process that told something so long ago still serves requests
STATEMENT_S = 1.0
FIRST_ROUND_S = 2.0
FORGET_EVERY_S = 60.0
KEPT_S = 900.0
HEARD_AT_START_S = 600.0  # a new process begins with what was seen so long before
OVERLAP_ROWS = 200  # ids come in order, commits do not: so many are looked at twice
MOST_ROWS = 5000  # in one round
LEAST_BACK_OFF_S, MOST_BACK_OFF_S = 0.5, 10.0

TELL = """
INSERT INTO routing_sighting (process, told_at, sightings) VALUES (%s, clock_timestamp() - make_interval(secs => %s), %s)
"""
NOTIFY = "SELECT pg_notify(%s, %s)"
FIRST = """
SELECT coalesce(min(id), 0) FROM routing_sighting
WHERE told_at > clock_timestamp() - make_interval(secs => %s)
"""
READ = """
SELECT id, process, extract(epoch FROM clock_timestamp() - told_at)::float8, sightings
FROM routing_sighting WHERE id >= %s AND process <> %s ORDER BY id DESC LIMIT %s
"""
FORGET = """
DELETE FROM routing_sighting WHERE told_at < clock_timestamp() - make_interval(secs => %s)
"""

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
        while (left_s := until - loop.time()) > 0 and not self._learner.is_urgent:
            async for note in connection.notifies(timeout=min(left_s, LOOK_S), stop_after=1):
                if note.payload != self.process:
                    return

    async def _round(self, connection: Connection) -> None:
        await self._tell(connection)
        await self._hear(connection)
        now = self._monotonic()
        if now >= self._forget_at + FORGET_EVERY_S:
            self._forget_at = now
            with cut_after(connection, STATEMENT_S):
                await connection.execute(FORGET, [KEPT_S])

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

    async def _hear(self, connection: Connection) -> None:
        with cut_after(connection, STATEMENT_S):
            if self._from_id is None:
                cursor = await connection.execute(FIRST, [HEARD_AT_START_S])
                row = await cursor.fetchone()
                self._from_id = 0 if row is None else int(row[0])
            cursor = await connection.execute(READ, [self._from_id, self.process, MOST_ROWS])
            rows = await cursor.fetchall()
        now = self._monotonic()
        for number, process, age_s, text in rows:
            if number not in self._heard:
                self._heard.add(number)
                self._others[process] = max(self._others.get(process, float("-inf")), now - age_s)
                self._take_in(text, now, age_s)
        self._others = {one: at for one, at in self._others.items() if now - at < LIVE_S}
        self._learner.meet(1 + len(self._others))
        if rows:
            self._from_id = max(self._from_id, rows[0][0] - OVERLAP_ROWS)
            self._heard = {number for number in self._heard if number >= self._from_id}

    def _take_in(self, text: str, now: float, age_s: float) -> None:
        try:
            self._learner.hear(text, now, age_s)
        except msgspec.MsgspecError:
            log.warning("what another process told is not readable and left out")

    def _note_trouble(self, exc: Exception) -> None:
        if not self.trouble:
            log.warning(
                "what is learned cannot be shared with the other processes now: %s",
                exc,
                exc_info=not isinstance(exc, psycopg.Error | OSError),
            )
        self.trouble = str(exc).strip() or type(exc).__name__
