"""The batches themselves: made, listed, looked at, cancelled."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from routing.core.batches import WINDOW_S, NumberedBadLine, told
from routing.core.cursor import Cursor

OPEN = ("validating", "in_progress", "finalizing", "cancelling")


class BatchRow(msgspec.Struct, frozen=True):
    id: UUID
    project_id: int
    key_id: int
    endpoint: str
    completion_window: str
    input_file_id: UUID
    output_file_id: UUID | None
    error_file_id: UUID | None
    metadata: dict[str, str] | None
    model: str
    status: str
    native: str
    output_kept_s: int | None
    total: int
    completed: int
    failed: int
    usage: dict[str, Any] | None
    errors: list[dict[str, Any]] | None
    created_at: dt.datetime
    expires_at: dt.datetime
    in_progress_at: dt.datetime | None
    finalizing_at: dt.datetime | None
    completed_at: dt.datetime | None
    failed_at: dt.datetime | None
    expired_at: dt.datetime | None
    cancelling_at: dt.datetime | None
    cancelled_at: dt.datetime | None


class NewBatch(msgspec.Struct, frozen=True):
    id: UUID
    project_id: int
    key_id: int
    endpoint: str
    completion_window: str
    input_file_id: UUID
    metadata: dict[str, str] | None
    native: str
    output_kept_s: int | None
    created_at: dt.datetime


_JSON = {"metadata", "usage", "errors"}
_NAMES = BatchRow.__struct_fields__
# As text, because Django's cursors and psycopg's read jsonb differently.
COLUMNS = ", ".join(f"batch.{name}::text" if name in _JSON else f"batch.{name}" for name in _NAMES)

_ADD = """
INSERT INTO routing_batch (
  id, project_id, key_id, endpoint, completion_window, input_file_id, metadata, native,
  output_kept_s, created_at, expires_at, served_at,
  model, status, total, completed, failed)
SELECT %s, %s, %s, %s, %s, file.id, %s::jsonb, %s, %s, %s, %s, %s, '', 'validating', 0, 0, 0
FROM routing_batchfile AS file WHERE file.id = %s AND file.project_id = %s FOR SHARE
ON CONFLICT (id) DO NOTHING
"""
_FIND = f"SELECT {COLUMNS} FROM routing_batch AS batch WHERE id = %s AND project_id = %s"  # noqa: S608
_LIST = f"""
SELECT {COLUMNS} FROM routing_batch AS batch
WHERE project_id = %s AND (%s::uuid IS NULL OR id < %s::uuid) ORDER BY id DESC LIMIT %s
"""  # noqa: S608
_COUNT = """
SELECT batch_id, count(*) FILTER (WHERE status_code = 200),
  count(*) FILTER (WHERE status_code IS DISTINCT FROM 200)
FROM routing_batchline WHERE batch_id = ANY(%s) AND state = 'done' GROUP BY batch_id
"""
_CANCEL = """
UPDATE routing_batch SET status = 'cancelling', cancelling_at = now()
WHERE id = %s AND project_id = %s AND status IN ('validating', 'in_progress') RETURNING id
"""
_FAIL = """
UPDATE routing_batch SET status = 'failed', failed_at = now(), total = 0, errors = %s::jsonb
WHERE id = %s
"""
_DROP_LINES = "DELETE FROM routing_batchline WHERE batch_id = %s"
_WAKE = """
UPDATE routing_nativebatch SET next_at = now()
WHERE batch_id = %s AND state <> 'over' AND holder IS NULL
"""
_OLD = """
SELECT id FROM routing_batch WHERE created_at < %s
  AND status IN ('completed', 'failed', 'expired', 'cancelled') LIMIT %s
"""
_FORGET = (
    "DELETE FROM routing_nativebatch WHERE batch_id = ANY(%s)",
    "DELETE FROM routing_batch WHERE id = ANY(%s)",
)
KEPT_FOR = dt.timedelta(days=180)
FORGOTTEN_AT_ONCE = 1000


def add(cursor: Cursor, new: NewBatch) -> None:
    """Adding the same again changes nothing, and neither does a file that has just been deleted:
    while it is added, nobody can."""
    expires_at = new.created_at + dt.timedelta(seconds=WINDOW_S)
    cursor.execute(
        _ADD,
        [
            *(new.id, new.project_id, new.key_id, new.endpoint, new.completion_window),
            None if new.metadata is None else msgspec.json.encode(new.metadata).decode(),
            *(new.native, new.output_kept_s, new.created_at, expires_at, new.created_at),
            *(new.input_file_id, new.project_id),
        ],
    )


def find(cursor: Cursor, batch_id: UUID, project_id: int) -> BatchRow | None:
    """With the counts as they are now. None where it is not, or another project's."""
    cursor.execute(_FIND, [batch_id, project_id])
    rows = counted(cursor, rows_of(cursor))
    return rows[0] if rows else None


def list_batches(
    cursor: Cursor, project_id: int, *, after: UUID | None, limit: int
) -> list[BatchRow]:
    """The newest first."""
    cursor.execute(_LIST, [project_id, after, after, limit])
    return counted(cursor, rows_of(cursor))


def cancel(cursor: Cursor, batch_id: UUID, project_id: int) -> bool:
    """False where it was not running, or is not there."""
    cursor.execute(_CANCEL, [batch_id, project_id])
    is_cancelled = bool(cursor.fetchall())
    if is_cancelled:
        cursor.execute(_WAKE, [batch_id])
    return is_cancelled


def fail(cursor: Cursor, batch_id: UUID, errors: Sequence[NumberedBadLine]) -> None:
    """Before any of its lines was begun."""
    drop_lines(cursor, batch_id)
    cursor.execute(_FAIL, [msgspec.json.encode(told(errors)).decode(), batch_id])


def drop_lines(cursor: Cursor, batch_id: UUID) -> None:
    cursor.execute(_DROP_LINES, [batch_id])


def forget_old(cursor: Cursor, now: dt.datetime) -> int:
    """Some of the batches that ended long ago; their files have been dropped long before."""
    cursor.execute(_OLD, [now - KEPT_FOR, FORGOTTEN_AT_ONCE])
    old = [row[0] for row in cursor.fetchall()]
    for statement in _FORGET:
        cursor.execute(statement, [old])
    return len(old)


def rows_of(cursor: Cursor) -> list[BatchRow]:
    """What a statement that gave `COLUMNS` found."""
    return [_row(values) for values in cursor.fetchall()]


_AT_PROVIDERS = """
SELECT batch_id, completed, failed FROM routing_nativebatch
WHERE batch_id = ANY(%s) AND state = 'running'
"""


def counted(cursor: Cursor, rows: list[BatchRow]) -> list[BatchRow]:
    running = [row.id for row in rows if row.status in OPEN]
    if not running:
        return rows
    cursor.execute(_COUNT, [running])
    counts = {batch_id: (completed, failed) for batch_id, completed, failed in cursor.fetchall()}
    cursor.execute(_AT_PROVIDERS, [running])
    for batch_id, completed, failed in cursor.fetchall():
        here = counts.get(batch_id, (0, 0))
        counts[batch_id] = (here[0] + completed, here[1] + failed)
    return [_with_counts(row, counts.get(row.id, (0, 0))) for row in rows]


def _with_counts(row: BatchRow, counts: tuple[int, int]) -> BatchRow:
    if row.status not in OPEN:
        return row
    return msgspec.structs.replace(row, completed=counts[0], failed=counts[1])


def _row(values: tuple[Any, ...]) -> BatchRow:
    named = dict(zip(_NAMES, values, strict=True))
    for name in _JSON:
        if named[name] is not None:
            named[name] = msgspec.json.decode(named[name])
    return BatchRow(**named)
