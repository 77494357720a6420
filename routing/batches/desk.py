"""A gateway's desk for lines: takes over those that workers hand in, and keeps their answers.

What comes in while a transaction runs goes into the next one together, so that a line costs a
small part of a commit. An answer that Postgres does not take now stays at the desk and is offered
again: the provider has billed it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

from routing.batches import lines
from routing.batches.lines import Keep, Take
from routing.core.cursor import Cursor
from routing.services.database_work import DatabaseTransactions, DatabaseUnavailable

log = logging.getLogger(__name__)

MOST_TOGETHER = 200
RENEW_S = 5.0
PAUSE_S = 0.5  # after Postgres did not answer
LAST_ROUND_S = 5.0

_Asked = tuple[Take, asyncio.Future[bool]] | tuple[Keep, asyncio.Future[bool]]


class LineDesk:
    def __init__(
        self, threads: DatabaseTransactions, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.process = uuid4()
        self._threads = threads
        self._monotonic = monotonic
        self._asked: list[_Asked] = []
        self._running: set[int] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._renew_at = 0.0
        self._is_stopping = False

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._serve(), name="batch lines")

    async def stop(self) -> None:
        """Keeps what has been answered, if Postgres takes it soon."""
        if self._task is None:
            return
        self._is_stopping = True
        self._wake.set()
        await asyncio.wait({self._task}, timeout=LAST_ROUND_S)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def take(self, wanted: Take) -> bool:
        """Whether the line is this process's now. Raises DatabaseUnavailable: then it may be or not."""
        if await self._ask(wanted):
            self._running.add(wanted.line_id)
            return True
        return False

    async def keep(self, ended: Keep) -> bool:
        """False where somebody else goes on with the line: its answer is not wanted any more."""
        try:
            return await self._ask(ended)
        finally:
            self._running.discard(ended.line_id)

    async def _ask(self, wanted: Take | Keep) -> bool:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked.append((wanted, future))  # type: ignore[arg-type]
        self._wake.set()
        return await future

    # --- the task ---------------------------------------------------------------------------------
    async def _serve(self) -> None:
        while self._asked or not self._is_stopping:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._renew()
                while self._asked:
                    await self._round()
            except DatabaseUnavailable as exc:
                self._refuse_takes(exc)
                await asyncio.sleep(PAUSE_S)
                self._wake.set()

    async def _round(self) -> None:
        batch = self._asked[:MOST_TOGETHER]
        takes = [wanted for wanted, _ in batch if isinstance(wanted, Take)]
        keeps = [wanted for wanted, _ in batch if isinstance(wanted, Keep)]

        def work(cursor: Cursor) -> tuple[set[int], set[int]]:
            taken = lines.take(cursor, self.process, takes) if takes else set()
            return taken, lines.keep(cursor, keeps) if keeps else set()

        taken, kept = await self._threads.run(work)
        del self._asked[: len(batch)]  # others have come meanwhile
        for wanted, future in batch:
            if not future.done():
                future.set_result(wanted.line_id in (taken if isinstance(wanted, Take) else kept))

    async def _renew(self) -> None:
        now = self._monotonic()
        if now < self._renew_at or not self._running:
            return
        running = list(self._running)
        await self._threads.run(lambda cursor: lines.renew(cursor, self.process, running))
        self._renew_at = now + RENEW_S

    def _refuse_takes(self, problem: DatabaseUnavailable) -> None:
        for wanted, future in self._asked:
            if isinstance(wanted, Take) and not future.done():
                future.set_exception(DatabaseUnavailable(str(problem)))
        self._asked = [one for one in self._asked if isinstance(one[0], Keep)]
