"""Lines on their way: claimed by a worker, taken by a gateway, kept with their answer, once.

    waiting -> claim (worker) -> take (gateway) -> renew ... -> keep -> done
                    \\______ lease over, or given back ______/ -> waiting

Each step holds only while nobody else took the line meanwhile: `try_no` and `holder` say so. A kept
answer is never asked for again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from decimal import Decimal
from uuid import UUID

import msgspec

from routing.core.batches import MOST_TRIES, Ended
from routing.core.cursor import Cursor
from routing.services.sealing import Keyring

HAND_OVER_S = 12.0  # from the claim until a gateway has taken the line
LEASE_S = 30.0  # of a gateway; it renews in time
MOST_CLAIMED = 64


class Claimed(msgspec.Struct, frozen=True):
    id: int
    number: int
    try_no: int
    chunk: int
    offset: int
    length: int


class Work(msgspec.Struct, frozen=True):
    """The batch that lines are claimed from."""

    batch_id: UUID
    project_id: int
    endpoint: str
    input_file_id: UUID
    key_digest: bytes
    lines: list[Claimed]


class Take(msgspec.Struct, frozen=True):
    line_id: int
    try_no: int
    holder: UUID  # the worker that claimed it
    request_id: UUID


class Cost(msgspec.Struct, frozen=True):
    """Of an answer."""

    usd: Decimal
    simulated: bool  # by the built-in simulator: nobody is owed it


class Keep(msgspec.Struct, frozen=True):
    """How a try ended. Without `status_code` the line waits for `pause_s` and is tried again."""

    line_id: int
    try_no: int
    request_id: UUID
    status_code: int | None
    key_id: str = ""
    sealed: bytes = b""
    pause_s: float = 0.0
    counts: bool = True  # as a try
    cost: Cost | None = None


_NEXT = """
SELECT batch.id, batch.project_id, batch.endpoint, batch.input_file_id, key.digest
FROM routing_batch AS batch JOIN routing_apikey AS key ON key.id = batch.key_id
WHERE batch.status = 'in_progress' AND batch.native = 'off' AND batch.expires_at > now() AND EXISTS (
  SELECT 1 FROM routing_batchline AS line WHERE line.batch_id = batch.id
  AND line.state = 'waiting' AND (line.not_before IS NULL OR line.not_before <= now()))
ORDER BY batch.served_at LIMIT 1
"""
_SERVED = """
UPDATE routing_batch SET served_at = clock_timestamp()
WHERE id = %s AND served_at < clock_timestamp() - interval '50 milliseconds'
"""
_CLAIM = """
UPDATE routing_batchline AS line SET state = 'running', holder = %s, try_no = try_no + 1,
  lease_until = now() + %s, not_before = NULL
WHERE line.id IN (
  SELECT id FROM routing_batchline WHERE batch_id = %s AND state = 'waiting'
  AND (not_before IS NULL OR not_before <= now())
  ORDER BY number LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id, number, try_no, chunk, "offset", length
"""
_GIVE_BACK = """
UPDATE routing_batchline SET state = 'waiting', holder = NULL, lease_until = NULL,
  try_no = try_no - 1, not_before = now() + %s
WHERE id = ANY(%s) AND state = 'running' AND holder = %s
"""
_TAKE = """
UPDATE routing_batchline AS line
SET holder = %s, request_id = new.request_id, lease_until = now() + %s
FROM unnest(%s::bigint[], %s::smallint[], %s::uuid[], %s::uuid[])
  AS new (id, try_no, holder, request_id), routing_batch AS batch
WHERE line.id = new.id AND line.try_no = new.try_no AND line.holder = new.holder
  AND line.state = 'running' AND batch.id = line.batch_id AND batch.status = 'in_progress'
RETURNING line.id
"""
_RENEW = """
UPDATE routing_batchline SET lease_until = now() + %s
WHERE id = ANY(%s) AND state = 'running' AND holder = %s
"""
# A line whose lease ended while Postgres was away may be kept still, unless someone tries it again.
_KEEP = """
UPDATE routing_batchline AS line SET state = 'done', status_code = new.status_code,
  key_id = new.key_id, sealed = new.sealed, cost_usd = new.cost_usd,
  simulated = new.simulated, holder = NULL, lease_until = NULL, not_before = NULL
FROM unnest(%s::bigint[], %s::smallint[], %s::uuid[], %s::smallint[], %s::text[], %s::bytea[],
  %s::numeric[], %s::boolean[])
  AS new (id, try_no, request_id, status_code, key_id, sealed, cost_usd, simulated)
WHERE line.id = new.id AND line.try_no = new.try_no AND line.request_id = new.request_id
  AND line.state IN ('running', 'waiting')
RETURNING line.id
"""
_AGAIN = """
UPDATE routing_batchline AS line SET state = 'waiting', holder = NULL, lease_until = NULL,
  not_before = now() + new.pause, try_no = line.try_no - new.uncounted
FROM unnest(%s::bigint[], %s::smallint[], %s::uuid[], %s::interval[], %s::smallint[])
  AS new (id, try_no, request_id, pause, uncounted)
WHERE line.id = new.id AND line.try_no = new.try_no AND line.request_id = new.request_id
  AND line.state = 'running'
RETURNING line.id
"""
_REAP = """
UPDATE routing_batchline SET holder = NULL, lease_until = NULL,
  state = CASE WHEN try_no >= %s THEN 'done' ELSE 'waiting' END,
  error_code = CASE WHEN try_no >= %s THEN %s ELSE '' END
WHERE state = 'running' AND lease_until < now() AND id IN (
  SELECT id FROM routing_batchline WHERE state = 'running' AND lease_until < now()
  LIMIT 5000 FOR UPDATE SKIP LOCKED)
RETURNING id
"""


# --- the worker's side --------------------------------------------------------------------------------
def claim(cursor: Cursor, holder: UUID, most: int) -> Work | None:
    """Lines of the batch that has waited longest. Needs a transaction of its own."""
    cursor.execute(_NEXT)
    found = cursor.fetchall()
    if not found:
        return None
    batch_id, project_id, endpoint, input_file_id, digest = found[0]
    cursor.execute(_SERVED, [batch_id])
    limit = min(most, MOST_CLAIMED)
    cursor.execute(_CLAIM, [holder, _seconds(HAND_OVER_S), batch_id, limit])
    lines = sorted((Claimed(*row) for row in cursor.fetchall()), key=lambda line: line.number)
    return Work(batch_id, project_id, endpoint, input_file_id, bytes(digest), lines)


def give_back(cursor: Cursor, holder: UUID, line_ids: Collection[int], pause_s: float) -> None:
    """Lines that no gateway took: they were not tried."""
    cursor.execute(_GIVE_BACK, [_seconds(pause_s), list(line_ids), holder])


def reap(cursor: Cursor) -> int:
    """Lines whose holder died wait again. How many there were."""
    cursor.execute(_REAP, [MOST_TRIES, MOST_TRIES, Ended.LOST.value])
    return len(cursor.fetchall())


# --- the gateway's side -------------------------------------------------------------------------------
def take(cursor: Cursor, process: UUID, wanted: Sequence[Take]) -> set[int]:
    """The ids of those that are this process's now."""
    cursor.execute(
        _TAKE,
        [
            process,
            _seconds(LEASE_S),
            [one.line_id for one in wanted],
            [one.try_no for one in wanted],
            [one.holder for one in wanted],
            [one.request_id for one in wanted],
        ],
    )
    return _ids(cursor)


def renew(cursor: Cursor, process: UUID, line_ids: Collection[int]) -> None:
    cursor.execute(_RENEW, [_seconds(LEASE_S), list(line_ids), process])


def keep(cursor: Cursor, ended: Sequence[Keep]) -> set[int]:
    """The ids of those that were still theirs to end."""
    kept: set[int] = set()
    whole = [one for one in ended if one.status_code is not None]
    if whole:
        cursor.execute(
            _KEEP,
            [
                *_keys(whole),
                [one.status_code for one in whole],
                [one.key_id for one in whole],
                [one.sealed for one in whole],
                [one.cost and one.cost.usd for one in whole],
                [one.cost is not None and one.cost.simulated for one in whole],
            ],
        )
        kept |= _ids(cursor)
    again = [one for one in ended if one.status_code is None]
    if again:
        cursor.execute(
            _AGAIN,
            [
                *_keys(again),
                [_seconds(one.pause_s) for one in again],
                [int(not one.counts) for one in again],
            ],
        )
        kept |= _ids(cursor)
    return kept


def _keys(ended: Sequence[Keep]) -> tuple[list[int], list[int], list[UUID]]:
    return (
        [one.line_id for one in ended],
        [one.try_no for one in ended],
        [one.request_id for one in ended],
    )


def _ids(cursor: Cursor) -> set[int]:
    return {row[0] for row in cursor.fetchall()}


def _seconds(seconds: float) -> dt.timedelta:
    return dt.timedelta(seconds=seconds)


# --- answers at rest ----------------------------------------------------------------------------------
def seal(keyring: Keyring, place: tuple[bytes, int, int], body: bytes) -> bytes:
    """`place` is batch, number and project: what the answer can be opened with only."""
    return keyring.seal(body, _bound_to(place, keyring.active))


def unseal(keyring: Keyring, place: tuple[bytes, int, int], key_id: str, sealed: bytes) -> bytes:
    """Raises CannotOpen."""
    return keyring.open(sealed, key_id, _bound_to(place, key_id))


def _bound_to(place: tuple[bytes, int, int], key_id: str) -> str:
    batch_id, number, project_id = place
    return f"batch-line|{batch_id.hex()}|{number}|{project_id}|{key_id}"
