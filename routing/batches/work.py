"""What a Celery worker does for batches: begins and ends them, and hands their lines to a gateway.

The gateway runs a line like a client's request and keeps the answer itself. So a worker may be
killed at any moment: lines it had handed over come to their end, the others wait again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec

from routing.batches import ending, files, lines, runners
from routing.batches.lines import Claimed, Work
from routing.batches.native import NativeBatches
from routing.core.batches import LineEnd, LineJob, body_of, pack_job, signature
from routing.core.cursor import Cursor
from routing.services import stopping
from routing.services.database_work import DatabaseTransactions, DatabaseUnavailable
from routing.services.sealing import CannotOpen, Keyring
from routing.snapshots.connection import Database

log = logging.getLogger(__name__)

TURN_S = 30.0  # then others may have the worker
TEND_S = 1.0
HOLD_S = 1.5
IDLE_S = 0.1
ANSWER_WITHIN_S = 700.0  # longer than a gateway gives any request
STEP_WITHIN_S = 300.0  # to check an input, or to write the files of answers
CHUNKS_KEPT = 4
BUSY_PAUSE_S = 1.0
AWAY_PAUSE_S = 3.0

NewId = Callable[[], UUID]
NewNatives = Callable[[DatabaseTransactions], NativeBatches]


class Settings(msgspec.Struct, frozen=True):
    gateway_url: str
    pepper: bytes
    lines_at_once: int
    max_line_bytes: int


class Worker:
    """One turn of one task in one place."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        keyring: Keyring,
        new_id: NewId,
        place: tuple[int, UUID],
        new_natives: NewNatives,
        transport: httpx.AsyncBaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.holder = uuid4()
        self._settings = settings
        self._threads = DatabaseTransactions(database, "batches")
        self._keyring = keyring
        self._new_id = new_id
        self._place = place
        self._natives = new_natives(self._threads)
        self._transport = transport
        self._monotonic = monotonic
        self._chunks: OrderedDict[tuple[UUID, int], bytes] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()
        self._beside: dict[str, asyncio.Task[None]] = {}  # what is done beside the lines
        self._hold_at = self._tend_at = self._until = 0.0
        self._has_place = self._has_work = True

    async def run(self, turn_s: float = TURN_S) -> bool:
        """Whether there is work left, and the place is still ours to go on with."""
        self._until = self._monotonic() + turn_s
        async with self._client() as client:
            try:
                while self._has_place and self._has_work and self._goes_on:
                    await self._look_after()
                    if not await self._hand_over_more(client):
                        await self._pause()
                while (self._running or self._is_busy_beside) and not stopping.was_told():
                    await self._look_after()
                    await self._pause()
            finally:
                await self._let_go()
        return self._has_place and self._has_work

    @property
    def _goes_on(self) -> bool:
        """A turn may end late, but no line waits for what is done beside the lines."""
        return (not self._is_over or self._is_busy_beside) and not stopping.was_told()

    @property
    def _is_over(self) -> bool:
        return self._monotonic() >= self._until

    async def _let_go(self) -> None:
        """Nothing is left running, also where this turn was cancelled."""
        left = [*self._running, *self._beside.values()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._threads.close()

    def _client(self) -> httpx.AsyncClient:
        most = self._settings.lines_at_once
        return httpx.AsyncClient(
            base_url=self._settings.gateway_url,
            timeout=httpx.Timeout(ANSWER_WITHIN_S, connect=5.0),
            limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
            transport=self._transport,
            trust_env=False,
        )

    async def _pause(self) -> None:
        waited_for = {*self._running, *(task for task in self._beside.values() if not task.done())}
        if waited_for:
            await asyncio.wait(waited_for, timeout=IDLE_S, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(IDLE_S)

    # --- the place, and the batches as wholes -----------------------------------------------------
    @property
    def _is_busy_beside(self) -> bool:
        return any(not task.done() for task in self._beside.values())

    async def _look_after(self) -> None:
        now = self._monotonic()
        if now >= self._hold_at:
            await self._hold(now)
        is_on = self._has_place and self._has_work and not self._is_over
        if is_on and now >= self._tend_at:
            self._tend_at = now + TEND_S
            self._begin_beside("tend", self._tend)
            self._begin_beside("natives", self._see_to_natives)

    def _begin_beside(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Unless it is still at it."""
        before = self._beside.get(name)
        if before is not None and before.done() and (problem := before.exception()):
            log.error("%s of batches failed", name, exc_info=problem)
        if before is None or before.done():
            self._beside[name] = asyncio.create_task(work())

    async def _hold(self, now: float) -> None:
        slot, token = self._place
        with suppress(DatabaseUnavailable):
            found = await self._threads.run(lambda cursor: runners.hold(cursor, slot, token))
            self._has_place, self._has_work = found is not None, bool(found)
            self._hold_at = now + HOLD_S

    async def _tend(self) -> None:
        """Each step is one transaction, and one that finds nothing to do costs next to nothing."""
        try:
            await self._threads.run(lines.reap)
            await self._threads.run(ending.close_lines, STEP_WITHIN_S)
            while await self._threads.run(self._begin_one, STEP_WITHIN_S):
                pass
            while await self._threads.run(self._end_one, STEP_WITHIN_S):
                pass
        except DatabaseUnavailable as exc:
            log.warning("batches have to wait for the database: %s", exc)
        except CannotOpen as exc:
            log.warning("the answers of a batch cannot be read: %s", exc)

    async def _see_to_natives(self) -> None:
        """Beside the rest: to hand over a large file, or to fetch one, may take minutes."""
        try:
            while await self._natives.step() and not self._is_over:
                pass
        except DatabaseUnavailable as exc:
            log.warning("batches at providers have to wait for the database: %s", exc)
        except CannotOpen as exc:
            log.warning("the lines of a batch cannot be read: %s", exc)

    def _begin_one(self, cursor: Cursor) -> bool:
        return ending.begin_one(cursor, self._keyring, self._settings.max_line_bytes)

    def _end_one(self, cursor: Cursor) -> bool:
        return ending.end_one(cursor, self._keyring, self._new_id)

    # --- lines ------------------------------------------------------------------------------------
    async def _hand_over_more(self, client: httpx.AsyncClient) -> bool:
        """Claims several at once: each claim is a transaction."""
        most = self._settings.lines_at_once
        free = most - len(self._running)
        if free * 4 < most:
            return False
        try:
            work = await self._threads.run(lambda cursor: lines.claim(cursor, self.holder, free))
        except DatabaseUnavailable:
            return False
        if work is None or not work.lines:
            return False
        for line in work.lines:
            task = asyncio.create_task(self._hand_over(client, work, line))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return True

    async def _hand_over(self, client: httpx.AsyncClient, work: Work, line: Claimed) -> None:
        pause_s: float | None = AWAY_PAUSE_S
        try:
            job = await self._job(work, line)
            pause_s = await self._post(client, pack_job(job))
        except (DatabaseUnavailable, CannotOpen, httpx.HTTPError) as exc:
            log.info("line %d is not handed over: %s", line.id, exc)
        if pause_s is None:
            return
        back = pause_s
        with suppress(DatabaseUnavailable):
            # Changes nothing where a gateway has the line by now.
            await self._threads.run(
                lambda cursor: lines.give_back(cursor, self.holder, [line.id], back)
            )

    async def _post(self, client: httpx.AsyncClient, packed: bytes) -> float | None:
        """None when the gateway has seen to the line; else seconds until it may be tried again."""
        answer = await client.post(
            "/v1/batches/lines",
            content=packed,
            headers={
                "content-type": "application/octet-stream",
                "x-panelboard-signature": signature(packed, self._settings.pepper),
            },
        )
        if answer.status_code != httpx.codes.OK:
            log.warning(
                "%s answers %d to a line of a batch: %s",
                self._settings.gateway_url,
                answer.status_code,
                answer.text[:200],
            )
            return AWAY_PAUSE_S
        end = answer.json()["end"]
        if end == LineEnd.BUSY:
            return BUSY_PAUSE_S
        return 0.0 if end == LineEnd.NOT_YOURS else None

    async def _job(self, work: Work, line: Claimed) -> LineJob:
        chunk = await self._chunk(work.input_file_id, line.chunk)
        data = chunk[line.offset : line.offset + line.length]
        return LineJob(
            line_id=line.id,
            try_no=line.try_no,
            holder=self.holder.bytes,
            key_digest=work.key_digest,
            url=work.endpoint,
            body=body_of(data),
            place=(work.batch_id.bytes, line.number, work.project_id),
        )

    async def _chunk(self, file_id: UUID, number: int) -> bytes:
        found = self._chunks.get((file_id, number))
        if found is None:
            found = await self._threads.run(
                lambda cursor: files.read_chunk(cursor, self._keyring, file_id, number)
            )
            if found is None:
                raise CannotOpen(f"chunk {number} of file {file_id} is gone")
            self._chunks[file_id, number] = found
            while len(self._chunks) > CHUNKS_KEPT:
                self._chunks.popitem(last=False)
        return found
