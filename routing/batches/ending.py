"""How batches begin and end: input checked, time over, cancelled, files of answers written.

Each step is one transaction that locks its batch. A worker that dies in it leaves nothing behind,
and another one takes the step anew.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import msgspec

from routing.batches import book, files, lines
from routing.batches.book import COLUMNS, BatchRow, rows_of
from routing.core.batches import (
    KEPT_S,
    BadLine,
    Ended,
    LineCheck,
    answer_line,
    failure_line,
)
from routing.core.cursor import Cursor
from routing.services.sealing import CannotOpen, Keyring

log = logging.getLogger(__name__)

READ_AT_ONCE = 500  # lines of a batch, with their answers,
READ_AT_ONCE_BYTES = 8 * 2**20  # unless one alone is larger

NewId = Callable[[], UUID]

_DUE = f"""
SELECT {COLUMNS} FROM routing_batch AS batch WHERE status = %s ORDER BY id LIMIT 1
FOR UPDATE SKIP LOCKED
"""  # noqa: S608
_ADD_LINES = """
INSERT INTO routing_batchline
  (batch_id, number, custom_id, chunk, "offset", length, state, try_no, error_code, key_id)
SELECT %s, number, custom_id, %s, at, length, 'waiting', 0, '', ''
FROM unnest(%s::int[], %s::text[], %s::int[], %s::int[]) AS new (number, custom_id, at, length)
"""
_BEGUN = """
UPDATE routing_batch SET status = 'in_progress', in_progress_at = now(), total = %s, model = %s
WHERE id = %s
"""
# Waiting lines of batches that nobody may go on with; those that run come to their end.
_END_WAITING = """
UPDATE routing_batchline AS line SET state = 'done', holder = NULL, not_before = NULL,
  error_code = CASE WHEN batch.status = 'cancelling' THEN %s ELSE %s END
FROM routing_batch AS batch
WHERE batch.id = line.batch_id AND line.state = 'waiting' AND (batch.status = 'cancelling'
  OR (batch.status = 'in_progress' AND batch.expires_at <= now()))
"""
_OVER = """
UPDATE routing_batch AS batch SET status = 'finalizing', finalizing_at = now()
WHERE status = 'in_progress' AND NOT EXISTS (
  SELECT 1 FROM routing_batchline AS line
  WHERE line.batch_id = batch.id AND line.state IN ('waiting', 'running'))
"""
_CANCELLED = f"""
SELECT {COLUMNS} FROM routing_batch AS batch WHERE status = 'cancelling' AND NOT EXISTS (
  SELECT 1 FROM routing_batchline AS line
  WHERE line.batch_id = batch.id AND line.state IN ('waiting', 'running'))
ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
"""  # noqa: S608
_READ = """
WITH next AS (
  SELECT number, custom_id, request_id, status_code, error_code, key_id, sealed FROM
    routing_batchline WHERE batch_id = %s AND number > %s ORDER BY number LIMIT %s),
sized AS (
  SELECT number, sum(coalesce(octet_length(sealed), 0)) OVER (ORDER BY number) AS so_far,
    row_number() OVER (ORDER BY number) AS place FROM next)
SELECT next.* FROM next JOIN sized USING (number)
WHERE so_far <= %s OR place = 1 ORDER BY number
"""
# A batch that was begun before costs were kept has answers of which none is known.
_ENDED = """
UPDATE routing_batch SET status = %s, {moment} = now(), completed = %s, failed = %s,
  output_file_id = %s, error_file_id = %s, usage = %s::jsonb,
  (cost_usd, simulated) = (
    SELECT CASE WHEN count(*) FILTER (WHERE status_code = 200 AND cost_usd IS NULL) = 0
      THEN sum(cost_usd) END, coalesce(bool_or(simulated), false)
    FROM routing_batchline WHERE batch_id = routing_batch.id)
WHERE id = %s
"""


# --- the beginning ------------------------------------------------------------------------------------
def begin_one(cursor: Cursor, keyring: Keyring, limit_bytes: int) -> bool:
    """Checks the input of one batch and lays out its lines. False where none waits for it."""
    cursor.execute(_DUE, ["validating"])
    found = rows_of(cursor)
    if not found:
        return False
    batch = found[0]
    check = LineCheck(limit_bytes, batch.endpoint)
    try:
        for number, content in files.chunks(cursor, keyring, batch.input_file_id):
            _lay_out(cursor, batch, number, content, check)
    except CannotOpen as exc:
        log.warning("the input of %s cannot be read: %s", batch.id, exc)
        check.errors.append((None, BadLine("unreadable_file", "The input file cannot be read")))
    check.close()
    if check.errors:
        book.fail(cursor, batch.id, check.errors)
    else:
        cursor.execute(_BEGUN, [check.count, check.only_model, batch.id])
    return True


def _lay_out(cursor: Cursor, batch: BatchRow, chunk: int, content: bytes, check: LineCheck) -> None:
    rows: list[tuple[int, str, int, int]] = []
    at = 0
    for data in content.removesuffix(b"\n").split(b"\n"):
        line = check.take(data)
        if line is not None:
            rows.append((check.number, line.custom_id, at, len(data)))
        at += len(data) + 1
    if rows and not check.errors:
        cursor.execute(_ADD_LINES, [batch.id, chunk, *map(list, zip(*rows, strict=True))])


# --- the end --------------------------------------------------------------------------------------------
def close_lines(cursor: Cursor) -> None:
    """Of cancelled and of expired batches; those of all others that have ended are noted."""
    cursor.execute(_END_WAITING, [Ended.CANCELLED.value, Ended.EXPIRED.value])
    cursor.execute(_OVER)


def end_one(cursor: Cursor, keyring: Keyring, new_id: NewId) -> bool:
    """Writes the files of one batch whose lines have all ended. False where there is none."""
    for statement, values in ((_DUE, ["finalizing"]), (_CANCELLED, None)):
        cursor.execute(statement, values)
        found = rows_of(cursor)
        if found:
            _end(cursor, keyring, found[0], new_id)
            return True
    return False


def _end(cursor: Cursor, keyring: Keyring, batch: BatchRow, new_id: NewId) -> None:
    tally = Tally()
    output = _write(cursor, keyring, batch, new_id, "output", tally, wants_answers=True)
    errors = _write(cursor, keyring, batch, new_id, "error", tally, wants_answers=False)
    status = "completed"
    if batch.status == "cancelling":
        status = "cancelled"
    elif tally.expired:
        status = "expired"
    cursor.execute(
        _ENDED.format(moment=f"{status}_at"),
        [
            *(status, tally.completed, tally.failed, output, errors),
            msgspec.json.encode(tally.usage).decode(),
            batch.id,
        ],
    )
    book.drop_lines(cursor, batch.id)


class Tally:
    """What the lines of a batch came to."""

    def __init__(self) -> None:
        self.completed = self.failed = self.expired = 0
        self._tokens = dict.fromkeys(("input", "cached", "output", "reasoning"), 0)

    def count_failed(self, error_code: str) -> None:
        self.failed += error_code != Ended.CANCELLED
        self.expired += error_code == Ended.EXPIRED

    def count_answer(self, body: bytes) -> None:
        self.completed += 1
        usage = _usage_in(body)
        for name, found in zip(self._tokens, usage, strict=True):
            self._tokens[name] += found

    @property
    def usage(self) -> dict[str, Any]:
        tokens = self._tokens
        return {
            "input_tokens": tokens["input"],
            "input_tokens_details": {"cached_tokens": tokens["cached"]},
            "output_tokens": tokens["output"],
            "output_tokens_details": {"reasoning_tokens": tokens["reasoning"]},
            "total_tokens": tokens["input"] + tokens["output"],
        }


class _Answer(msgspec.Struct):
    usage: dict[str, Any] | None = None


_answer = msgspec.json.Decoder(_Answer)


def _usage_in(body: bytes) -> tuple[int, int, int, int]:
    """Input, cached, output and reasoning tokens, in the words of either of OpenAI's dialects or
    of Anthropic's."""
    try:
        usage = _answer.decode(body).usage or {}
    except msgspec.MsgspecError:
        return 0, 0, 0, 0
    cached = _whole(usage, "cache_read_input_tokens")  # Anthropic counts them apart
    written = _whole(usage, "cache_creation_input_tokens")
    said = _whole(usage, "input_tokens") or _whole(usage, "prompt_tokens")
    inside = _inside(usage, ("input_tokens_details", "prompt_tokens_details"), "cached_tokens")
    return (
        said + cached + written,
        cached + inside,
        _whole(usage, "output_tokens") or _whole(usage, "completion_tokens"),
        _inside(usage, ("output_tokens_details", "completion_tokens_details"), "reasoning_tokens"),
    )


def _inside(usage: dict[str, Any], parts: tuple[str, ...], name: str) -> int:
    details = [usage[part] for part in parts if isinstance(usage.get(part), dict)]
    return sum(_whole(part, name) for part in details)


def _whole(values: dict[str, Any], name: str) -> int:
    found = values.get(name)
    return found if type(found) is int else 0


def _write(
    cursor: Cursor,
    keyring: Keyring,
    batch: BatchRow,
    new_id: NewId,
    name: str,
    tally: Tally,
    *,
    wants_answers: bool,
) -> UUID | None:
    """The id of the file, or None where it would be empty."""
    written = _lines_of(cursor, keyring, batch, tally, wants_answers=wants_answers)
    first = next(written, None)
    if first is None:
        return None
    now = dt.datetime.now(dt.UTC)
    file = files.NewFile(
        id=new_id(),
        project_id=batch.project_id,
        filename=f"batch_{batch.id.hex}_{name}.jsonl",
        purpose=files.OUTPUT,
        created_at=now,
        expires_at=now + dt.timedelta(seconds=batch.output_kept_s or KEPT_S),
    )

    def all_lines() -> Iterator[bytes]:
        yield first
        yield from written

    files.write_whole(cursor, keyring, file, all_lines())
    return file.id


def _lines_of(
    cursor: Cursor, keyring: Keyring, batch: BatchRow, tally: Tally, *, wants_answers: bool
) -> Iterator[bytes]:
    """In the order of the input."""
    last = 0
    while True:
        cursor.execute(_READ, [batch.id, last, READ_AT_ONCE, READ_AT_ONCE_BYTES])
        rows = cursor.fetchall()
        if not rows:
            return
        for number, custom_id, request_id, status, error_code, key_id, sealed in rows:
            if (status == 200) is not wants_answers:
                continue
            if status is None:
                tally.count_failed(error_code)
                key = f"{batch.id.hex}_{number}"
                yield failure_line(custom_id, key, Ended(error_code or Ended.LOST))
                continue
            place = (batch.id.bytes, number, batch.project_id)
            body = lines.unseal(keyring, place, key_id, bytes(sealed))
            if status == 200:
                tally.count_answer(body)
            else:
                tally.count_failed("")
            yield answer_line(custom_id, request_id, status, body)
        last = rows[-1][0]
