"""What is written down of batches at providers, step by step."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

import msgspec

from routing.core.batches import NATIVE, Ended
from routing.core.cursor import Cursor

STEP_S = 120.0  # unless its worker says in time that it is still at it, another takes a step anew
LEASE = dt.timedelta(days=3)  # of lines: a provider ends a batch long before


class Undecided(msgspec.Struct, frozen=True):
    batch_id: UUID
    project_id: int
    key_digest: bytes
    url: str
    model: str
    native: str


class AtProvider(msgspec.Struct, frozen=True):
    batch_id: UUID
    project_id: int
    organization_id: int
    key_id: int
    key_digest: bytes
    url: str
    input_file_id: UUID
    native: str
    batch_status: str
    total: int
    tag: UUID
    endpoint_id: int
    state: str
    native_id: str
    is_cancelled: bool
    submitted_at: dt.datetime | None
    tries: int
    expires_at: dt.datetime
    holder: UUID


class NotOurs(Exception):
    """Another worker does this step by now."""


class NativeLine(msgspec.Struct, frozen=True):
    id: int
    number: int
    chunk: int
    offset: int
    length: int
    request_id: UUID | None


_UNDECIDED = """
SELECT batch.id, batch.project_id, key.digest, batch.endpoint, batch.model, batch.native
FROM routing_batch AS batch JOIN routing_apikey AS key ON key.id = batch.key_id
WHERE batch.status = 'in_progress' AND batch.native <> 'off' AND NOT EXISTS (
  SELECT 1 FROM routing_nativebatch AS native WHERE native.batch_id = batch.id)
ORDER BY batch.id LIMIT 1 FOR UPDATE OF batch SKIP LOCKED
"""
_GO_LOCAL = "UPDATE routing_batch SET native = 'off' WHERE id = %s"
_GO_NATIVE = """
INSERT INTO routing_nativebatch (batch_id, tag, endpoint_id, state, native_id, completed, failed,
  is_cancelled, next_at, tries)
VALUES (%s, %s, %s, 'new', '', 0, 0, false, now(), 0)
"""
_HOLD_LINES = """
UPDATE routing_batchline SET state = 'running', holder = %s, lease_until = now() + %s, try_no = 1
WHERE batch_id = %s AND state = 'waiting'
"""
_DUE = """
UPDATE routing_nativebatch AS native SET next_at = now() + %s, holder = gen_random_uuid()
FROM routing_batch AS batch JOIN routing_apikey AS key ON key.id = batch.key_id
  JOIN routing_project AS project ON project.id = batch.project_id
WHERE batch.id = native.batch_id AND native.batch_id = (
  SELECT batch_id FROM routing_nativebatch WHERE state <> 'over' AND next_at <= now()
  ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING batch.id, batch.project_id, project.organization_id, key.id, key.digest, batch.endpoint,
  batch.input_file_id, batch.native, batch.status, batch.total, native.tag, native.endpoint_id,
  native.state, native.native_id, native.is_cancelled, native.submitted_at, native.tries,
  batch.expires_at, native.holder
"""
_HOLD = """
UPDATE routing_nativebatch SET next_at = now() + %s WHERE batch_id = %s AND holder = %s
"""
_KNOWN = """
SELECT native_id FROM routing_nativebatch
WHERE native_id <> '' AND submitted_at > %s - interval '1 day'
"""
_LINES = """
SELECT id, number, chunk, "offset", length, request_id FROM routing_batchline
WHERE batch_id = %s AND state = 'running' AND holder = %s AND number > %s ORDER BY number LIMIT %s
"""
_COUNT_LINES = """
SELECT count(*) FROM routing_batchline WHERE batch_id = %s AND state = 'running' AND holder = %s
"""
_NAME = """
UPDATE routing_batchline AS line SET request_id = new.request_id
FROM unnest(%s::bigint[], %s::uuid[]) AS new (id, request_id)
WHERE line.id = new.id AND line.request_id IS NULL
"""
_OURS = "WHERE batch_id = %s AND holder = %s RETURNING batch_id"
_SUBMITTING = f"""
UPDATE routing_nativebatch SET state = 'submitting', submitted_at = now(), tries = tries + 1 {_OURS}
"""  # noqa: S608
# Done twice, after a connection broke, it must not seem to be another one's.
_RUNNING = """
UPDATE routing_nativebatch
SET state = 'running', native_id = %s, next_at = now() + %s, holder = NULL
WHERE batch_id = %s AND (holder = %s OR (state = 'running' AND native_id = %s)) RETURNING batch_id
"""
_AGAIN = f"""
UPDATE routing_nativebatch SET next_at = now() + %s, holder = NULL {_OURS}
"""  # noqa: S608
# Who was cancelled during the step has the next one at once.
_PROGRESS = f"""
UPDATE routing_nativebatch AS native
SET completed = %s, failed = %s, holder = NULL, next_at = now() + CASE WHEN is_cancelled
  OR NOT EXISTS (SELECT 1 FROM routing_batch WHERE id = native.batch_id AND status = 'cancelling')
  THEN %s ELSE interval '0' END {_OURS}
"""  # noqa: S608
_TOLD = f"UPDATE routing_nativebatch SET is_cancelled = true {_OURS}"  # noqa: S608
_OVER = f"UPDATE routing_nativebatch SET state = 'over', holder = NULL {_OURS}"  # noqa: S608
_RELEASE = """
UPDATE routing_batchline SET state = 'waiting', holder = NULL, lease_until = NULL, try_no = 0,
  request_id = NULL
WHERE batch_id = %s AND state = 'running' AND holder = %s
"""
_REFUSE = """
UPDATE routing_batchline SET state = 'done', holder = NULL, lease_until = NULL, error_code = %s
WHERE batch_id = %s AND state = 'running' AND holder = %s
"""


# --- whether ------------------------------------------------------------------------------------------
def undecided(cursor: Cursor) -> Undecided | None:
    """Locked until the end of the transaction, in which it is to be decided."""
    cursor.execute(_UNDECIDED)
    found = cursor.fetchall()
    if not found:
        return None
    batch_id, project_id, digest, *rest = found[0]
    return Undecided(batch_id, project_id, bytes(digest), *rest)


def go_local(cursor: Cursor, batch_id: UUID) -> None:
    cursor.execute(_GO_LOCAL, [batch_id])


def go_native(cursor: Cursor, batch_id: UUID, tag: UUID, endpoint_id: int) -> None:
    cursor.execute(_GO_NATIVE, [batch_id, tag, endpoint_id])
    cursor.execute(_HOLD_LINES, [tag, LEASE, batch_id])


# --- step by step -------------------------------------------------------------------------------------
def take_due(cursor: Cursor) -> AtProvider | None:
    """For as long as a step may take, nobody else gets it."""
    cursor.execute(_DUE, [_seconds(STEP_S)])
    found = cursor.fetchall()
    if not found:
        return None
    row = list(found[0])
    row[4] = bytes(row[4])
    return AtProvider(*row)


def lines_of(cursor: Cursor, one: AtProvider, after: int, most: int) -> list[NativeLine]:
    """Those that have not ended, in the order of the input."""
    cursor.execute(_LINES, [one.batch_id, one.tag, after, most])
    return [NativeLine(*row) for row in cursor.fetchall()]


def count_lines(cursor: Cursor, one: AtProvider) -> int:
    cursor.execute(_COUNT_LINES, [one.batch_id, one.tag])
    return int(cursor.fetchall()[0][0])


def name(cursor: Cursor, ids: dict[int, UUID]) -> None:
    """The requests' ids, by line. One that a line has already stays."""
    cursor.execute(_NAME, [list(ids), list(ids.values())])


def hold(cursor: Cursor, one: AtProvider) -> None:
    """For some time longer. Raises NotOurs, as all of these do."""
    _do(cursor, f"{_HOLD} RETURNING batch_id", [_seconds(STEP_S), one.batch_id, one.holder])


def known_ids(cursor: Cursor, since: dt.datetime) -> frozenset[str]:
    """Of batches at providers that were submitted about then."""
    cursor.execute(_KNOWN, [since])
    return frozenset(row[0] for row in cursor.fetchall())


def submitting(cursor: Cursor, one: AtProvider) -> None:
    _do(cursor, _SUBMITTING, [one.batch_id, one.holder])


def running(cursor: Cursor, one: AtProvider, native_id: str, next_s: float) -> None:
    _do(cursor, _RUNNING, [native_id, _seconds(next_s), one.batch_id, one.holder, native_id])


def again(cursor: Cursor, one: AtProvider, next_s: float) -> None:
    """The step is to be taken anew, from where it has come to."""
    _do(cursor, _AGAIN, [_seconds(next_s), one.batch_id, one.holder])


def progress(cursor: Cursor, one: AtProvider, counts: tuple[int, int], next_s: float) -> None:
    _do(cursor, _PROGRESS, [*counts, _seconds(next_s), one.batch_id, one.holder])


def told(cursor: Cursor, one: AtProvider) -> None:
    _do(cursor, _TOLD, [one.batch_id, one.holder])


def _do(cursor: Cursor, statement: str, values: list[object]) -> None:
    cursor.execute(statement, values)
    if not cursor.fetchall():
        raise NotOurs


def over(cursor: Cursor, one: AtProvider, ended: Ended) -> None:
    """Lines without an answer are run by the hub itself, unless the client wants them at the
    provider alone. Raises NotOurs."""
    _do(cursor, _OVER, [one.batch_id, one.holder])
    if one.native == NATIVE and one.batch_status != "cancelling":
        cursor.execute(_REFUSE, [ended.value, one.batch_id, one.tag])
    else:
        cursor.execute(_RELEASE, [one.batch_id, one.tag])
    cursor.execute(_GO_LOCAL, [one.batch_id])


def _seconds(seconds: float) -> dt.timedelta:
    return dt.timedelta(seconds=seconds)
