"""Responses that clients asked the hub to keep: sealed, bound to their project, dropped in time.

A row can be opened only with the project it was stored for: the project's id is part of what the
seal authenticates, besides being in every query.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import DatabaseError, IntegrityError, close_old_connections
from django.utils import timezone
from typing_extensions import override

from routing.adapters.jsonio import dumps, loads
from routing.models import StoredResponse
from routing.surfaces.responses.ids import uuid_hex_of
from routing.surfaces.responses.store import (
    KeptResponse,
    ResponseStore,
    ResponseTooLarge,
    StoreUnavailable,
)

log = logging.getLogger(__name__)

KEPT_FOR = dt.timedelta(days=30)
MAX_BYTES = 16 * 2**20  # of one response, its input included, before it is packed
NONCE_BYTES = 12
THREADS = 4
MOST_WAITING = 64  # beyond it the database is plainly not keeping up
READ_S = 5.0
KEEP_S = 2.0  # the client waits for it before the last event
PAUSE_S = 5.0  # after a failure nothing is kept for so long: answers shall not wait one by one
DELETED_AT_ONCE = 1000
T = TypeVar("T")


def keep(kept: KeptResponse, project_id: int) -> None:
    """Keeping the same response again changes nothing. Raises ResponseTooLarge."""
    response_id = UUID(uuid_hex_of(kept.id))
    plain = dumps(msgspec.structs.asdict(kept))
    if len(plain) > MAX_BYTES:
        raise ResponseTooLarge(f"{len(plain)} bytes, and {MAX_BYTES} are taken of one response")
    key_id = settings.PANELBOARD_ACTIVE_KEY_ID
    created_at = dt.datetime.fromtimestamp(kept.created_at, dt.UTC)
    row = StoredResponse(
        id=response_id,
        project_id=project_id,
        created_at=created_at,
        expires_at=created_at + KEPT_FOR,
        key_id=key_id,
        sealed=_seal(zlib.compress(plain, 1), response_id, project_id, key_id),
    )
    StoredResponse.objects.bulk_create([row], ignore_conflicts=True)


def find(response_id: str, project_id: int) -> KeptResponse | None:
    """None where it never was, has expired, or is another project's."""
    digits = uuid_hex_of(response_id)
    if not digits:
        return None
    row = StoredResponse.objects.filter(
        id=UUID(digits), project_id=project_id, expires_at__gt=timezone.now()
    ).first()
    plain = _unseal(row) if row is not None else None
    return msgspec.convert(loads(plain), KeptResponse) if plain is not None else None


def forget(response_id: str, project_id: int) -> bool:
    """False where there was none."""
    digits = uuid_hex_of(response_id)
    if not digits:
        return False
    rows = StoredResponse.objects.filter(
        id=UUID(digits), project_id=project_id, expires_at__gt=timezone.now()
    )
    deleted, _ = rows.delete()
    return deleted > 0


def forget_expired(now: dt.datetime) -> int:
    """How many were dropped. In small steps, so that no lock is held for long."""
    dropped = 0
    while True:
        expired = StoredResponse.objects.filter(expires_at__lte=now)
        ids = list(expired.values_list("id", flat=True)[:DELETED_AT_ONCE])
        if not ids:
            return dropped
        dropped += StoredResponse.objects.filter(id__in=ids).delete()[0]


def _seal(plain: bytes, response_id: UUID, project_id: int, key_id: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    cipher = AESGCM(settings.PANELBOARD_KEYRING[key_id])
    return nonce + cipher.encrypt(nonce, plain, _bound_to(response_id, project_id, key_id))


def _unseal(row: StoredResponse) -> bytes | None:
    """None where nobody can read it again, which is as good as expired."""
    key = settings.PANELBOARD_KEYRING.get(row.key_id)
    if key is None:
        log.warning("%s was sealed with key %s, which is not in the key ring", row, row.key_id)
        return None
    sealed, bound_to = bytes(row.sealed), _bound_to(row.id, row.project_id, row.key_id)
    try:
        packed = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        log.warning("%s was sealed for another row, or is damaged", row)
        return None
    return zlib.decompress(packed)


def _bound_to(response_id: UUID, project_id: int, key_id: str) -> bytes:
    return f"response|{response_id.hex}|{project_id}|{key_id}".encode()


class PostgresResponseStore(ResponseStore):
    """For an event loop: the work is done by a few threads, and no more waits than they can do.

    `bounded` gives a context in which waiting for the database ends by itself; without one a hung
    server would hold a thread for as long as it hangs.
    """

    def __init__(
        self,
        bounded: Callable[[], AbstractContextManager[object]] = nullcontext,
        *,
        read_s: float = READ_S,
        keep_s: float = KEEP_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounded = bounded
        self._read_s = read_s
        self._keep_s = keep_s
        self._monotonic = monotonic
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="stored-responses")
        self._places = threading.Semaphore(MOST_WAITING)
        self._paused_until = 0.0

    @override
    async def get(self, response_id: str, project_id: int) -> KeptResponse | None:
        return await self._run(lambda: find(response_id, project_id), self._read_s)

    @override
    async def put(self, kept: KeptResponse, project_id: int) -> None:
        if self._monotonic() < self._paused_until:
            raise StoreUnavailable("the database did not answer a moment ago")
        await self._run(lambda: keep(kept, project_id), self._keep_s)

    @override
    async def delete(self, response_id: str, project_id: int) -> bool:
        return await self._run(lambda: forget(response_id, project_id), self._read_s)

    async def close(self) -> None:
        """Waits for what runs; nothing may be asked afterwards."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

    async def _run(self, work: Callable[[], T], limit_s: float) -> T:
        """After `limit_s` nobody waits any more; what a thread has begun it still ends."""
        if not self._places.acquire(blocking=False):
            raise StoreUnavailable("too many requests wait for the database")
        future = self._threads.submit(self._work, work)
        future.add_done_callback(lambda _: self._places.release())
        try:
            async with asyncio.timeout(limit_s):
                found = await asyncio.wrap_future(future)
        except TimeoutError:
            self._pause()
            raise StoreUnavailable(f"no answer within {limit_s:g} s") from None
        except IntegrityError as exc:  # the project is gone; the database is well
            raise StoreUnavailable(str(exc)) from exc
        except DatabaseError as exc:
            self._pause()
            raise StoreUnavailable(str(exc)) from exc
        self._paused_until = 0.0
        return found

    def _pause(self) -> None:
        self._paused_until = self._monotonic() + PAUSE_S

    def _work(self, work: Callable[[], T]) -> T:
        close_old_connections()
        try:
            with self._bounded():
                return work()
        finally:
            close_old_connections()
