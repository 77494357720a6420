"""Calls with an Idempotency-Key: claimed by inserting their row, answered once, dropped in a day.

Answers are sealed like kept responses and bound to their row. Plain SQL, for gateways without Django.
"""

from __future__ import annotations

import datetime as dt
import logging
import zlib
from uuid import UUID

import msgspec

from routing.core.cursor import Cursor
from routing.gateway.idempotency import (
    AnswerTooLarge,
    CallName,
    Claimed,
    Found,
    KeptAnswer,
    OtherRequest,
    Running,
)
from routing.services.sealing import CannotOpen, Keyring

log = logging.getLogger(__name__)

KEPT_FOR = dt.timedelta(hours=24)
MAX_BYTES = 16 * 2**20  # of one answer, before it is packed
DELETED_AT_ONCE = 1000
LOOKS = 3  # a row that another process drops between two statements is looked for again

# A row that has expired is as good as none; so is one whose holder died, for the same request. The
# same holder may claim twice: its first statement may have been done though its answer was lost.
_CLAIM = """
INSERT INTO routing_idempotentcall AS call
  (api_key_id, digest, fingerprint, holder, locked_until, created_at, expires_at, key_id, sealed)
VALUES (%(key)s, %(digest)s, %(fingerprint)s, %(holder)s, now() + %(lock)s, now(),
        now() + %(kept_for)s, '', NULL)
ON CONFLICT (api_key_id, digest) DO UPDATE SET
  fingerprint = EXCLUDED.fingerprint, holder = EXCLUDED.holder, key_id = '', sealed = NULL,
  locked_until = EXCLUDED.locked_until, created_at = EXCLUDED.created_at,
  expires_at = EXCLUDED.expires_at
WHERE call.expires_at <= now() OR call.holder = EXCLUDED.holder OR (
  call.sealed IS NULL AND call.locked_until <= now() AND call.fingerprint = EXCLUDED.fingerprint)
RETURNING holder
"""
_LOOK = """
SELECT fingerprint = %(fingerprint)s, key_id, sealed FROM routing_idempotentcall
WHERE api_key_id = %(key)s AND digest = %(digest)s
"""
_RENEW = """
UPDATE routing_idempotentcall SET locked_until = now() + %(lock)s
WHERE api_key_id = %(key)s AND digest = %(digest)s AND holder = %(holder)s AND sealed IS NULL
"""
_KEEP = """
UPDATE routing_idempotentcall
SET key_id = %(key_id)s, sealed = %(sealed)s, expires_at = now() + %(kept_for)s
WHERE api_key_id = %(key)s AND digest = %(digest)s AND holder = %(holder)s
"""
_RELEASE = """
DELETE FROM routing_idempotentcall
WHERE api_key_id = %(key)s AND digest = %(digest)s AND holder = %(holder)s AND sealed IS NULL
"""
_FORGET_EXPIRED = """
DELETE FROM routing_idempotentcall WHERE id IN
  (SELECT id FROM routing_idempotentcall WHERE expires_at <= %s LIMIT %s) RETURNING id
"""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(KeptAnswer).decode


def claim(
    cursor: Cursor,
    keyring: Keyring,
    name: CallName,
    fingerprint: bytes,
    holder: UUID,
    lock_s: float,
) -> Found:
    row = {
        **_row(name, holder),
        "fingerprint": fingerprint,
        "lock": dt.timedelta(seconds=lock_s),
        "kept_for": KEPT_FOR,
    }
    for _ in range(LOOKS):
        cursor.execute(_CLAIM, row)
        if cursor.fetchall():
            return Claimed(holder)
        cursor.execute(_LOOK, row)
        for is_same, key_id, sealed in cursor.fetchall():
            return _found(keyring, name, is_same=is_same, key_id=key_id, sealed=sealed)
    return Running()


def _found(
    keyring: Keyring, name: CallName, *, is_same: bool, key_id: str, sealed: bytes | None
) -> Found:
    if not is_same:
        return OtherRequest()
    if sealed is None:
        return Running()
    try:
        packed = keyring.open(bytes(sealed), key_id, _bound_to(name, key_id))
    except CannotOpen as exc:  # answering anew could charge twice: the client has to decide
        log.warning("the answer of an idempotent call cannot be opened: %s", exc)
        return OtherRequest()
    return _decode(zlib.decompress(packed))


def renew(cursor: Cursor, name: CallName, holder: UUID, lock_s: float) -> None:
    cursor.execute(_RENEW, {**_row(name, holder), "lock": dt.timedelta(seconds=lock_s)})


def keep(
    cursor: Cursor, keyring: Keyring, name: CallName, holder: UUID, answer: KeptAnswer
) -> None:
    """Changes nothing where another holder took over. Raises AnswerTooLarge."""
    plain = _encode(answer)
    if len(plain) > MAX_BYTES:
        raise AnswerTooLarge(f"{len(plain)} bytes, and {MAX_BYTES} are taken of one answer")
    sealed = keyring.seal(zlib.compress(plain, 1), _bound_to(name, keyring.active))
    row = {"key_id": keyring.active, "sealed": sealed, "kept_for": KEPT_FOR}
    cursor.execute(_KEEP, {**_row(name, holder), **row})


def release(cursor: Cursor, name: CallName, holder: UUID) -> None:
    cursor.execute(_RELEASE, _row(name, holder))


def forget_expired(cursor: Cursor, now: dt.datetime) -> int:
    """How many were dropped. In small steps, so that no lock is held for long."""
    dropped = 0
    while True:
        cursor.execute(_FORGET_EXPIRED, [now, DELETED_AT_ONCE])
        found = len(cursor.fetchall())
        if not found:
            return dropped
        dropped += found


def _row(name: CallName, holder: UUID) -> dict[str, object]:
    return {"key": name.key_id, "digest": name.digest, "holder": holder}


def _bound_to(name: CallName, key_id: str) -> str:
    return f"idempotent|{name.key_id}|{name.digest.hex()}|{key_id}"
