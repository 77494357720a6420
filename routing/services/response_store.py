"""Kept responses for an event loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from typing_extensions import override

from routing.core.cursor import Cursor
from routing.services import stored_responses
from routing.services.database_work import DatabaseUnavailable, DatabaseWork
from routing.services.sealing import Keyring
from routing.snapshots.connection import Database
from routing.surfaces.responses.store import KeptResponse, ResponseStore, StoreUnavailable

READ_S = 2.0
KEEP_S = 2.0  # the client waits for it before the last event
T = TypeVar("T")


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
        self._keyring = keyring
        self._read_s = read_s
        self._keep_s = keep_s
        self._database = DatabaseWork(database, "stored-responses", monotonic=monotonic)

    @override
    async def get(self, response_id: str, project_id: int) -> KeptResponse | None:
        return await self._run(
            lambda cursor: stored_responses.find(cursor, self._keyring, response_id, project_id),
            self._read_s,
        )

    @override
    async def put(self, kept: KeptResponse, project_id: int) -> None:
        if self._database.is_paused:
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
        await self._database.close()

    async def _run(self, work: Callable[[Cursor], T], limit_s: float) -> T:
        try:
            return await self._database.run(work, limit_s)
        except DatabaseUnavailable as exc:
            raise StoreUnavailable(str(exc)) from exc
