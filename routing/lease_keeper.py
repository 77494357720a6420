"""Keeps this process's leases of rate limits, and asks for more while requests wait.

    take (no I/O)  ->  wait  ->  one round: read the pools, count and grant, write if unchanged

The pools are rows of Postgres; every process writes them by a conditional upsert, so no lock is
held while a process thinks. All of it is a task of the event loop: statements are awaited, and cut
after a second. When Postgres is gone, leases are good for 15 s more; after that this process goes
on with its even part of each limit (see core.limit_outage), and `trouble` and the log say so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from random import Random
from typing import Any

import msgspec
import psycopg

from routing.core.limit_book import LimitBook
from routing.core.limit_pool import Amount, Caps, Pool, Reply, Report
from routing.core.limits import TOKENS, Denied, Grant, Limits, RateLimited, Standings
from routing.snapshots.connection import Database, cut, cut_after

log = logging.getLogger(__name__)

TICK_S = 0.5
STATEMENT_S = 1.0
FIRST_ROUND_S = 3.0
WAIT_S = 1.25  # what a request waits for the pools, at the very most
LAST_ROUND_S = 1.5
CONFLICTS = 12  # writers of the same pool that may come first before we give up for this round
CONFLICT_PAUSE_S = 0.004
BATCH = 200
HEARTBEAT_S = 5.0
FORGET_EVERY_S = 60.0
LEAST_BACK_OFF_S, MOST_BACK_OFF_S = 0.1, 1.0
PROCESSES_POOL = "hub:processes"
UNKNOWN_PROCESSES = 8  # assumed until Postgres has told

READ = """
SELECT extract(epoch FROM clock_timestamp())::float8, asked.name, pool.version, pool.state::text
FROM unnest(%s::text[]) AS asked (name) LEFT JOIN routing_limitpool AS pool USING (name)
"""
WRITE = """
INSERT INTO routing_limitpool AS pool (name, version, state)
SELECT name, version, state::jsonb
FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS new (name, version, state) ORDER BY name
ON CONFLICT (name) DO UPDATE SET version = EXCLUDED.version, state = EXCLUDED.state
WHERE pool.version = EXCLUDED.version - 1
RETURNING name
"""

Connection = psycopg.AsyncConnection[Any]
_decode = msgspec.json.Decoder(Pool).decode
_encode = msgspec.json.Encoder().encode


class LeaseKeeper:
    """A routing.core.limits.Limiter over Postgres."""

    def __init__(
        self,
        database: Database,
        *,
        process: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self.process = process or f"{os.getpid()}-{secrets.token_hex(4)}"
        self.trouble = "not connected yet"  # "" while Postgres answers
        self.processes = UNKNOWN_PROCESSES
        self.book = LimitBook(self.process)
        self._database = database
        self._monotonic = monotonic
        self._random = random or Random()
        self._trouble_since = monotonic()
        self._wake = asyncio.Event()
        self._next_round: asyncio.Future[None] | None = None
        self._first_round = asyncio.Event()
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._is_trouble_logged = False
        self._heartbeat_no = 0
        self._heartbeat_at = float("-inf")
        self._tick_at = 0.0
        self._forget_at = 0.0

    # --- life ---------------------------------------------------------------------------------
    async def start(self) -> None:
        """Waits for the first round, but not for long: without Postgres it goes on trying."""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="lease keeper")
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_ROUND_S):
                await self._first_round.wait()

    async def stop(self) -> None:
        """Gives back what is held, if Postgres answers soon; else the leases end by themselves."""
        if self._task is None:
            return
        self._is_stopping = True
        self._wake.set()
        if not self.trouble:
            await asyncio.wait({self._task}, timeout=LAST_ROUND_S)
        if self._connection is not None:
            cut(self._connection)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        self.trouble = "stopped"

    # --- the request path ---------------------------------------------------------------------
    def take(self, limits: Limits, input_tokens: int, output_tokens: int) -> Grant | None:
        tokens, most = input_tokens + output_tokens, limits.most_tokens
        if most is not None and tokens > most:
            if input_tokens > most:
                return None  # `wait` explains
            tokens = most
        grant = self.book.take(limits, tokens, self._monotonic())
        if self.book.is_hungry:
            self._wake.set()
        return grant

    async def wait(self, limits: Limits, input_tokens: int, output_tokens: int) -> Grant:
        tokens = _reserved(limits, input_tokens, output_tokens)
        deadline = self._monotonic() + WAIT_S
        while (now := self._monotonic()) < deadline:
            if self.trouble:
                return self._take_alone(limits, tokens, now)
            if denied := self.book.known_refusal(limits, tokens, now):
                raise RateLimited(denied)
            self.book.ask(limits, tokens, now)
            if not await self._round_ended():
                return self._take_alone(limits, tokens, self._monotonic())
            if grant := self.book.take(limits, tokens, self._monotonic()):
                return grant
        if self.trouble:
            return self._take_alone(limits, tokens, self._monotonic())
        raise RateLimited(self.book.refusal(limits, tokens, self._monotonic()))

    def refuse_early(self, limits: Limits) -> None:
        if not self.trouble and (denied := self.book.known_refusal(limits, 0, self._monotonic())):
            raise RateLimited(denied)

    def settle(self, grant: Grant, tokens: int) -> None:
        self.book.settle(grant, tokens, self._monotonic())

    def release(self, grant: Grant) -> None:
        self.book.release(grant, self._monotonic())

    def standings(self, grant: Grant) -> Standings:
        return self.book.standings(grant.shares, self._monotonic())

    def _take_alone(self, limits: Limits, tokens: int, now: float) -> Grant:
        since = min(self._trouble_since, now) if self.trouble else now
        verdict = self.book.take_degraded(limits, tokens, now, self.processes, since)
        if isinstance(verdict, Denied):
            raise RateLimited(verdict)
        return verdict

    async def _round_ended(self) -> bool:
        """Of the first round that begins from now on. False when it takes too long."""
        if self._next_round is None:
            self._next_round = asyncio.get_running_loop().create_future()
        self._wake.set()
        ended, _ = await asyncio.wait({self._next_round}, timeout=WAIT_S)
        return bool(ended)

    # --- the keeper's own life ----------------------------------------------------------------
    async def _keep(self) -> None:
        back_off_s = LEAST_BACK_OFF_S
        while not self._is_stopping:
            try:
                self._connection = await self._database.connect()
                async with self._connection as connection:
                    await self._serve(connection)
                    return
            except Exception as exc:  # noqa: BLE001  # whatever it is, the next round is tried
                back_off_s = LEAST_BACK_OFF_S if not self.trouble else back_off_s
                self._note_trouble(exc)
            finally:
                self._connection = None
                _end(self._next_round)
                self._next_round = None
            await asyncio.sleep(back_off_s * (1 + self._random.random() / 5))
            back_off_s = min(back_off_s * 2, MOST_BACK_OFF_S)

    async def _serve(self, connection: Connection) -> None:
        """Round after round until the process stops. Raises when Postgres does not answer."""
        with cut_after(connection, STATEMENT_S):
            # What a crash of the server could lose is a part of one minute's uses.
            await connection.execute("SET synchronous_commit = off")
        self._heartbeat_at = float("-inf")
        while not self._is_stopping:
            await self._round(connection)
            self._note_success()
            delay_s = self._tick_at + TICK_S - self._monotonic()
            if delay_s > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._wake.wait()
        self.book.give_all_back()
        self._heartbeat_at = float("-inf")
        await self._round(connection)

    async def _round(self, connection: Connection) -> None:
        self._wake.clear()
        ended, self._next_round = self._next_round, None
        try:
            now = self._monotonic()
            is_tick = now >= self._tick_at + TICK_S
            if is_tick:
                self._tick_at = now
            reports = self.book.collect(now, tick=is_tick)
            if now >= self._heartbeat_at + HEARTBEAT_S:
                self._heartbeat_at = now
                reports.append(self._heartbeat())
            for first in range(0, len(reports), BATCH):
                await self._bring(connection, reports[first : first + BATCH])
            if now >= self._forget_at + FORGET_EVERY_S:
                self._forget_at = now
                self.book.forget(now)
        finally:
            _end(ended)

    async def _bring(self, connection: Connection, reports: Iterable[Report]) -> None:
        """Those that others wrote meanwhile are read and counted anew; what never gets through is
        told again by the next report."""
        left = {report.pool: report for report in reports}
        for conflict in range(CONFLICTS):
            if conflict:
                await asyncio.sleep(self._random.random() * CONFLICT_PAUSE_S * conflict)
            sent_at = self._monotonic()
            replies = await self._exchange(connection, left, sent_at)
            for name, reply in replies.items():
                self.book.accept(left.pop(name), reply, sent_at)
            if not left:
                return
        log.warning("rate limits: others were faster %d times at %s", CONFLICTS, ", ".join(left))

    async def _exchange(
        self, connection: Connection, reports: Mapping[str, Report], sent_at: float
    ) -> dict[str, Reply]:
        """Replies of the pools that could be written."""
        names = sorted(reports)
        with cut_after(connection, STATEMENT_S):
            rows = await (await connection.execute(READ, [names])).fetchall()
            now: float = rows[0][0]
            self.book.hear_clock(now, sent_at)
            pools = {name: _pool(name, state) for _, name, _, state in rows}
            versions = [(version or 0) + 1 for _, _, version, _ in rows]
            replies = {name: pools[name].sync(reports[name], now) for name in pools}
            states = [_encode(pool).decode() for pool in pools.values()]
            cursor = await connection.execute(WRITE, [list(pools), versions, states])
            written = [row[0] for row in await cursor.fetchall()]
        if PROCESSES_POOL in written:
            self.processes = max(1, len(pools[PROCESSES_POOL].leases))
        return {name: replies[name] for name in written}

    def _heartbeat(self) -> Report:
        """Who holds a lease of this pool is a gateway process that lives."""
        self._heartbeat_no += 1
        return Report(
            pool=PROCESSES_POOL,
            process=self.process,
            no=self._heartbeat_no,
            caps=Caps(),
            held=Amount(),
            running=0 if self._is_stopping else 1,
            uses=[],
            need=Amount(),
            want=Amount(),
        )

    def _note_success(self) -> None:
        if self._is_trouble_logged:
            log.warning("rate limits are shared with the other processes again")
        self._is_trouble_logged = False
        self.trouble = ""
        self._first_round.set()

    def _note_trouble(self, exc: Exception) -> None:
        if not self._is_trouble_logged:
            log.warning(
                "rate limits cannot be shared now; what is not leased is held to a part of 1/%d of "
                "each limit: %s",
                self.processes,
                exc,
                exc_info=not isinstance(exc, psycopg.Error | OSError),
            )
        self._is_trouble_logged = True
        if not self.trouble:
            self._trouble_since = self._monotonic()
        self.trouble = str(exc).strip() or type(exc).__name__


def _reserved(limits: Limits, input_tokens: int, output_tokens: int) -> int:
    """The output is only expected, so it never makes a request too large. Raises RateLimited."""
    tokens, most = input_tokens + output_tokens, limits.most_tokens
    if most is None:
        return tokens
    if input_tokens > most:
        tightest = next(part for part in limits.parts if part.tokens_per_minute == most)
        raise RateLimited(Denied(tightest, TOKENS, None, input_tokens))
    return min(tokens, most)


def _pool(name: str, state: str | None) -> Pool:
    if state is None:
        return Pool()
    try:
        return _decode(state)
    except msgspec.MsgspecError:
        log.exception("the limit pool %s is not readable and begins anew", name)
        return Pool()


def _end(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
