"""One segment file of the spool, from its creation under lock to its end."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

from routing.core.spool import (
    FRAME_HEAD_BYTES,
    HEADER_BYTES,
    MAX_BODY_BYTES,
    UNFINISHED_SUFFIX,
    pack_end,
    pack_frame,
    pack_frame_head,
    pack_header,
    parse_segment_name,
    read_header,
    segment_name,
)
from routing.gateway.spool_files import Files

END_BYTES = 32  # room kept for the mark of the end
_MAX_NAME_TRIES = 1000


class Author(NamedTuple):
    """Who writes, as far as names and headers tell."""

    process_name: str
    pid: int
    process_id: UUID


class Segment:
    """Locked for writing while it is open. After a failure it takes nothing any more.

    `free` is what frames may still take, 0 once it has failed.
    """

    __slots__ = ("_crc", "_fd", "_files", "_used", "_write", "free", "has_failed", "number", "path")

    def __init__(self, fd: int, path: Path, number: int, size: int, crc: int, files: Files) -> None:
        self._fd = fd
        self._files = files
        self._write = files.write
        self._used = HEADER_BYTES
        self._crc = crc
        self.free = size - HEADER_BYTES - END_BYTES
        self.path = path
        self.number = number
        self.has_failed = False

    def put_at_once(self, body: bytes, promised: int) -> bool:
        """False, and nothing written, where it would not leave `promised` bytes free.

        Every request comes here twice, so this is `put` without its calls. Raises OSError.
        """
        size = len(body)
        if size + FRAME_HEAD_BYTES + promised > self.free or size > MAX_BODY_BYTES:
            return False
        frame = pack_frame_head(size, crc32(body, self._crc)) + body
        size += FRAME_HEAD_BYTES
        try:
            written = self._write(self._fd, frame, self._used)
        except OSError:
            self.fail()
            raise
        if written != size:
            raise self._cut_short()
        self._used += size
        self.free -= size
        return True

    def put(self, body: bytes) -> None:
        self._append(pack_frame(body, self._crc))

    def put_all(self, bodies: Iterable[bytes]) -> None:
        self._append(b"".join(pack_frame(body, self._crc) for body in bodies))

    def end(self, how: str) -> None:
        self._append(pack_end(how, self._crc))

    def fail(self) -> None:
        self.has_failed = True
        self.free = 0

    def sync(self) -> None:
        """Raises OSError at most once: a second fdatasync of a failed file could report success."""
        if self.has_failed:
            return
        try:
            self._files.sync(self._fd)
        except OSError:
            self.fail()
            raise

    def close(self) -> None:
        """Lets go of the lock, and of the space behind the last frame."""
        with suppress(OSError):
            if not self.has_failed:
                self._files.truncate(self._fd, self._used)
        os.close(self._fd)

    def discard(self) -> None:
        """Of a new segment that holds nothing of its own."""
        with suppress(OSError):
            self.path.unlink()
        os.close(self._fd)

    def _append(self, data: bytes) -> None:
        try:
            written = self._write(self._fd, data, self._used)
        except OSError:
            self.fail()
            raise
        if written != len(data):
            raise self._cut_short()
        self._used += written
        self.free -= written

    def _cut_short(self) -> OSError:
        self.fail()
        return OSError(errno.ENOSPC, "the disk took only a part of a record")


def create_segment(
    folder: Path, author: Author, number: int, size: int, created_at: float, files: Files
) -> Segment:
    """With this number or the next free one. Raises OSError; then nothing is left behind."""
    unfinished = folder / f"{author.process_id.hex}-{number}{UNFINISHED_SUFFIX}"
    fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        files.allocate(fd, size)
        for candidate in range(number, number + _MAX_NAME_TRIES):
            header = pack_header(author.process_id, author.pid, candidate, created_at)
            if files.write(fd, header, 0) != HEADER_BYTES:
                raise OSError(errno.ENOSPC, "the disk took only a part of a header")
            path = folder / segment_name(author.process_name, author.pid, candidate)
            try:
                os.link(unfinished, path)
            except FileExistsError:  # of an earlier process that had the same pid
                continue
            return Segment(fd, path, candidate, size, read_header(header).crc, files)
        raise FileExistsError(f"no free segment number from {number} on in {folder}")
    except BaseException:
        os.close(fd)
        raise
    finally:
        unfinished.unlink(missing_ok=True)


class FolderUse(NamedTuple):
    segments: int
    own_segments: int
    bytes: int
    next_number: int

    def with_own(self, size: int) -> FolderUse:
        """Until the next measurement: one more segment of ours."""
        return FolderUse(
            self.segments + 1, self.own_segments + 1, self.bytes + size, self.next_number
        )


def measure_folder(folder: Path, author: Author) -> FolderUse:
    """Of all processes together; a segment that vanishes meanwhile counts as gone."""
    sizes, numbers = [], []
    with os.scandir(folder) as entries:
        found = [(entry, parse_segment_name(entry.name)) for entry in entries]
    for entry, name in found:
        if name is None:
            continue
        with suppress(OSError):
            sizes.append(entry.stat(follow_symlinks=False).st_size)
            if (name.process_name, name.pid) == author[:2]:
                numbers.append(name.number)
    return FolderUse(len(sizes), len(numbers), sum(sizes), max(numbers, default=0) + 1)


def prepare_folder(folder: Path) -> None:
    """Makes it, closes it to others and removes what an interrupted start left. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    for unfinished in folder.glob(f"*{UNFINISHED_SUFFIX}"):
        with suppress(OSError):
            _remove_unless_locked(unfinished)


def _remove_unless_locked(path: Path) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Makes new names last."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
