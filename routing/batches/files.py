"""Files of clients and of batches: sealed chunks of whole lines, bound to their project.

The functions run on any cursor, Django's or psycopg's, in the transaction of the caller.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterable, Iterator
from uuid import UUID

import msgspec

from routing.core.cursor import Cursor
from routing.services.sealing import Keyring

CHUNK_BYTES = 2**20
DELETED_AT_ONCE = 500
ABANDONED_AFTER = dt.timedelta(hours=2)  # an upload that nobody finished

UPLOADED, OUTPUT = PURPOSES = "batch", "batch_output"


class StoredFile(msgspec.Struct, frozen=True):
    id: UUID
    project_id: int
    filename: str
    purpose: str
    size_bytes: int
    lines: int
    created_at: dt.datetime
    expires_at: dt.datetime | None


class NewFile(msgspec.Struct, frozen=True):
    id: UUID
    project_id: int
    filename: str
    purpose: str
    created_at: dt.datetime
    expires_at: dt.datetime | None


class FileInUse(Exception):
    """A batch that has not ended reads it."""


_COLUMNS = "id, project_id, filename, purpose, size_bytes, lines, created_at, expires_at"
_VISIBLE = "status = 'processed' AND (expires_at IS NULL OR expires_at > now())"
_BEGIN = """
INSERT INTO routing_batchfile
  (id, project_id, filename, purpose, status, size_bytes, lines, created_at, expires_at)
VALUES (%s, %s, %s, %s, 'uploading', 0, 0, %s, %s)
"""
_ADD = """
INSERT INTO routing_batchfilechunk (file_id, number, lines, key_id, sealed)
VALUES (%s, %s, %s, %s, %s)
"""
_FINISH = f"""
UPDATE routing_batchfile
SET status = 'processed', size_bytes = %s, lines = %s, filename = %s, expires_at = %s
WHERE id = %s AND status = 'uploading' RETURNING {_COLUMNS}
"""  # noqa: S608
_FIND = f"""
SELECT {_COLUMNS} FROM routing_batchfile WHERE id = %s AND project_id = %s AND {_VISIBLE}
"""  # noqa: S608
_LIST = f"""
SELECT {_COLUMNS} FROM routing_batchfile
WHERE project_id = %s AND {_VISIBLE} AND (%s = '' OR purpose = %s)
  AND (%s::uuid IS NULL OR id {{beyond}} %s::uuid)
ORDER BY id {{order}} LIMIT %s
"""  # noqa: S608
_CHUNK = """
SELECT file.project_id, chunk.lines, chunk.key_id, chunk.sealed
FROM routing_batchfilechunk AS chunk JOIN routing_batchfile AS file ON file.id = chunk.file_id
WHERE chunk.file_id = %s AND chunk.number = %s
"""
_LOCK = "SELECT 1 FROM routing_batchfile WHERE id = %s AND project_id = %s FOR UPDATE"
_READERS = """
SELECT 1 FROM routing_batch WHERE input_file_id = %s AND project_id = %s
  AND status IN ('validating', 'in_progress', 'finalizing', 'cancelling') LIMIT 1
"""
_DROP_CHUNKS = """
DELETE FROM routing_batchfilechunk WHERE file_id IN (
  SELECT id FROM routing_batchfile WHERE id = %s AND project_id = %s)
"""
_DROP = "DELETE FROM routing_batchfile WHERE id = %s AND project_id = %s RETURNING id"
_OVER = """
SELECT file.id, file.project_id FROM routing_batchfile AS file
WHERE (file.expires_at <= %s OR (file.status = 'uploading' AND file.created_at <= %s))
  AND NOT EXISTS (SELECT 1 FROM routing_batch AS batch WHERE batch.input_file_id = file.id
    AND batch.status IN ('validating', 'in_progress', 'finalizing', 'cancelling'))
LIMIT %s FOR UPDATE OF file SKIP LOCKED
"""


# --- writing ----------------------------------------------------------------------------------------
def begin(cursor: Cursor, file: NewFile) -> None:
    cursor.execute(
        _BEGIN,
        [file.id, file.project_id, file.filename, file.purpose, file.created_at, file.expires_at],
    )


def add_chunk(
    cursor: Cursor, keyring: Keyring, file: NewFile, number: int, content: bytes, lines: int
) -> None:
    bound_to = _bound_to(file.id, number, file.project_id, keyring.active)
    sealed = keyring.seal(zlib.compress(content, 1), bound_to)
    cursor.execute(_ADD, [file.id, number, lines, keyring.active, sealed])


def finish(
    cursor: Cursor,
    file: NewFile,
    size_bytes: int,
    lines: int,
    filename: str,
    expires_at: dt.datetime | None,
) -> StoredFile:
    """Only now the file can be seen. Name and expiry are known when the whole form is."""
    cursor.execute(_FINISH, [size_bytes, lines, filename, expires_at, file.id])
    return StoredFile(*cursor.fetchall()[0])


def write_whole(
    cursor: Cursor, keyring: Keyring, file: NewFile, lines: Iterable[bytes]
) -> StoredFile:
    """`lines` each with their line end."""
    begin(cursor, file)
    size_bytes = written = 0
    for number, chunk in enumerate(_chunks_of(lines)):
        add_chunk(cursor, keyring, file, number, b"".join(chunk), len(chunk))
        size_bytes += sum(map(len, chunk))
        written += len(chunk)
    return finish(cursor, file, size_bytes, written, file.filename, file.expires_at)


def _chunks_of(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line)
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


# --- reading ----------------------------------------------------------------------------------------
def find(cursor: Cursor, file_id: UUID, project_id: int) -> StoredFile | None:
    """None where it never was, has expired, or is another project's."""
    cursor.execute(_FIND, [file_id, project_id])
    found = cursor.fetchall()
    return StoredFile(*found[0]) if found else None


def list_files(
    cursor: Cursor,
    project_id: int,
    *,
    purpose: str = "",
    after: UUID | None = None,
    limit: int = 20,
    newest_first: bool = True,
) -> list[StoredFile]:
    order, beyond = ("DESC", "<") if newest_first else ("ASC", ">")
    cursor.execute(
        _LIST.format(order=order, beyond=beyond),
        [project_id, purpose, purpose, after, after, limit],
    )
    return [StoredFile(*row) for row in cursor.fetchall()]


def read_chunk(cursor: Cursor, keyring: Keyring, file_id: UUID, number: int) -> bytes | None:
    """None behind the last one. Raises CannotOpen."""
    cursor.execute(_CHUNK, [file_id, number])
    found = cursor.fetchall()
    if not found:
        return None
    project_id, _, key_id, sealed = found[0]
    bound_to = _bound_to(file_id, number, project_id, key_id)
    return zlib.decompress(keyring.open(bytes(sealed), key_id, bound_to))


def chunks(cursor: Cursor, keyring: Keyring, file_id: UUID) -> Iterator[tuple[int, bytes]]:
    """Numbered from 0. Raises CannotOpen."""
    number = 0
    while (content := read_chunk(cursor, keyring, file_id, number)) is not None:
        yield number, content
        number += 1


# --- dropping ---------------------------------------------------------------------------------------
def forget(cursor: Cursor, file_id: UUID, project_id: int) -> bool:
    """False where there was none. Raises FileInUse."""
    cursor.execute(_LOCK, [file_id, project_id])  # whoever makes a batch of it now comes first
    cursor.execute(_READERS, [file_id, project_id])
    if cursor.fetchall():
        raise FileInUse
    return drop(cursor, file_id, project_id)


def drop(cursor: Cursor, file_id: UUID, project_id: int) -> bool:
    cursor.execute(_DROP_CHUNKS, [file_id, project_id])
    cursor.execute(_DROP, [file_id, project_id])
    return bool(cursor.fetchall())


def forget_expired(cursor: Cursor, now: dt.datetime) -> int:
    """How many were dropped, abandoned uploads included."""
    dropped = 0
    while True:
        cursor.execute(_OVER, [now, now - ABANDONED_AFTER, DELETED_AT_ONCE])
        over = cursor.fetchall()
        dropped += sum(drop(cursor, file_id, project_id) for file_id, project_id in over)
        if len(over) < DELETED_AT_ONCE:
            return dropped


def _bound_to(file_id: UUID, number: int, project_id: int, key_id: str) -> str:
    return f"batch-file|{file_id.hex}|{number}|{project_id}|{key_id}"
