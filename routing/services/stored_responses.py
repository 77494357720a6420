"""Responses that clients asked the hub to keep: sealed, bound to their project, dropped in time.

A row can be opened only with the project it was stored for: the project's id is part of what the
seal authenticates, besides being in every query. Plain SQL, for gateways without Django.
"""

from __future__ import annotations

import datetime as dt
import logging
import zlib
from uuid import UUID

import msgspec

from routing.adapters.jsonio import dumps, loads
from routing.core.cursor import Cursor
from routing.services.sealing import CannotOpen, Keyring
from routing.surfaces.responses.ids import uuid_hex_of
from routing.surfaces.responses.store import KeptResponse, ResponseTooLarge

log = logging.getLogger(__name__)

KEPT_FOR = dt.timedelta(days=30)
MAX_BYTES = 16 * 2**20  # of one response, its input included, before it is packed
DELETED_AT_ONCE = 1000

_KEEP = """
INSERT INTO routing_storedresponse (id, project_id, created_at, expires_at, key_id, sealed)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING
"""
_FIND = """
SELECT key_id, sealed FROM routing_storedresponse
WHERE id = %s AND project_id = %s AND expires_at > %s
"""
_FORGET = """
DELETE FROM routing_storedresponse
WHERE id = %s AND project_id = %s AND expires_at > %s RETURNING id
"""
_FORGET_EXPIRED = """
DELETE FROM routing_storedresponse WHERE id IN
  (SELECT id FROM routing_storedresponse WHERE expires_at <= %s LIMIT %s) RETURNING id
"""


def keep(cursor: Cursor, keyring: Keyring, kept: KeptResponse, project_id: int) -> None:
    """Keeping the same response again changes nothing. Raises ResponseTooLarge."""
    response_id = UUID(uuid_hex_of(kept.id))
    plain = dumps(msgspec.structs.asdict(kept))
    if len(plain) > MAX_BYTES:
        raise ResponseTooLarge(f"{len(plain)} bytes, and {MAX_BYTES} are taken of one response")
    created_at = dt.datetime.fromtimestamp(kept.created_at, dt.UTC)
    bound_to = _bound_to(response_id, project_id, keyring.active)
    sealed = keyring.seal(zlib.compress(plain, 1), bound_to)
    cursor.execute(
        _KEEP,
        [response_id, project_id, created_at, created_at + KEPT_FOR, keyring.active, sealed],
    )


def find(
    cursor: Cursor, keyring: Keyring, response_id: str, project_id: int
) -> KeptResponse | None:
    """None where it never was, has expired, is another project's, or nobody can read it again."""
    digits = uuid_hex_of(response_id)
    if not digits:
        return None
    cursor.execute(_FIND, [UUID(digits), project_id, _now()])
    for key_id, sealed in cursor.fetchall():
        bound_to = _bound_to(UUID(digits), project_id, key_id)
        try:
            packed = keyring.open(bytes(sealed), key_id, bound_to)
        except CannotOpen as exc:
            log.warning("%s cannot be opened: %s", response_id, exc)
            return None
        return msgspec.convert(loads(zlib.decompress(packed)), KeptResponse)
    return None


def forget(cursor: Cursor, response_id: str, project_id: int) -> bool:
    """False where there was none."""
    digits = uuid_hex_of(response_id)
    if not digits:
        return False
    cursor.execute(_FORGET, [UUID(digits), project_id, _now()])
    return bool(cursor.fetchall())


def forget_expired(cursor: Cursor, now: dt.datetime) -> int:
    """How many were dropped. In small steps, so that no lock is held for long."""
    dropped = 0
    while True:
        cursor.execute(_FORGET_EXPIRED, [now, DELETED_AT_ONCE])
        found = len(cursor.fetchall())
        if not found:
            return dropped
        dropped += found


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _bound_to(response_id: UUID, project_id: int, key_id: str) -> str:
    return f"response|{response_id.hex}|{project_id}|{key_id}"
