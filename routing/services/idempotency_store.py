"""Idempotent calls for an event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from typing_extensions import override

from routing.core.cursor import Cursor
from routing.gateway.idempotency import (
    CallName,
    Found,
    IdempotencyStore,
    KeptAnswer,
    StoreUnavailable,
)
from routing.services import idempotent_calls
from routing.services.database_work import DatabaseUnavailable, DatabaseWork
from routing.services.sealing import Keyring
from routing.snapshots.connection import Database

LIMIT_S = 2.0  # a client waits
T = TypeVar("T")


class PostgresIdempotencyStore(IdempotencyStore):
    def __init__(self, database: Database, keyring: Keyring, *, limit_s: float = LIMIT_S) -> None:
        self._keyring = keyring
        self._limit_s = limit_s
        self._database = DatabaseWork(database, "idempotent-calls")

    @override
    async def claim(self, name: CallName, fingerprint: bytes, holder: UUID, lock_s: float) -> Found:
        return await self._run(
            lambda cursor: idempotent_calls.claim(
                cursor, self._keyring, name, fingerprint, holder, lock_s
            )
        )

    @override
    async def renew(self, name: CallName, holder: UUID, lock_s: float) -> None:
        await self._run(lambda cursor: idempotent_calls.renew(cursor, name, holder, lock_s))

    @override
    async def keep(self, name: CallName, holder: UUID, answer: KeptAnswer) -> None:
        await self._run(
            lambda cursor: idempotent_calls.keep(cursor, self._keyring, name, holder, answer)
        )

    @override
    async def release(self, name: CallName, holder: UUID) -> None:
        await self._run(lambda cursor: idempotent_calls.release(cursor, name, holder))

    async def close(self) -> None:
        """Waits for what runs; nothing may be asked afterwards."""
        await self._database.close()

    async def _run(self, work: Callable[[Cursor], T]) -> T:
        try:
            return await self._database.run(work, self._limit_s)
        except DatabaseUnavailable as exc:
            raise StoreUnavailable(str(exc)) from exc
