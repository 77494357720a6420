"""Segments as the recorder sees them: read forward, judged live or dead, deleted when shipped."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from routing.core import spool
from routing.core.spool import BadSegment, Damaged, Ended, Frame, SegmentHeader

_BLANK = bytes(spool.FRAME_HEAD_BYTES)
_AHEAD_BYTES = 2**18


class Segment:
    """One open segment file. Close it, or `delete` it.

    `position` is how far it was read, `shipped` how far it is known to be in Postgres: what is read
    again after a restart of ours is needed for the open requests, not for the rows.
    """

    def __init__(self, path: Path) -> None:
        """Raises BadSegment, and OSError when the file went away."""
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.header: SegmentHeader = spool.read_header(
                os.pread(self._fd, spool.HEADER_BYTES, 0)
            )
        except BadSegment:
            os.close(self._fd)
            raise
        self.position = spool.HEADER_BYTES
        self.shipped = self._read_checkpoint()
        self.ended = ""  # rotated | closed
        self.is_deleted = False

    @property
    def has_news(self) -> bool:
        """One small read: cheap enough to ask ten times a second."""
        head = os.pread(self._fd, spool.FRAME_HEAD_BYTES, self.position)
        return not self.ended and head not in (_BLANK, b"")

    @property
    def is_shipped(self) -> bool:
        """Whether what comes next is in Postgres already."""
        return self.position < self.shipped

    def ahead(self, most: int) -> list[bytes]:
        """Bodies of what comes next, as far as it is whole; [] says nothing about the rest."""
        size = self.shipped - self.position if self.is_shipped else _AHEAD_BYTES
        data = self._read(self.position, min(size, _AHEAD_BYTES))
        bodies, used = spool.frames_ahead(data, self.header, most)
        self.position += used
        return bodies

    def frames(self, *, live: bool) -> Iterator[Frame | Damaged]:
        """Reads on from `position`, which moves with each item that is taken."""
        for item in spool.scan(self._read, self.header, self.position, live=live):
            self.position = item.end
            if isinstance(item, Ended):
                self.ended = item.how
                return
            yield item

    def is_written(self) -> bool:
        """Whether a process still holds it open for writing."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        return False

    def torn_bytes(self) -> bytes:
        """What stands behind the last good frame of a dead segment, without the blank rest."""
        return self._read(self.position, 4096).rstrip(b"\0") if not self.ended else b""

    def raw(self, damaged: Damaged) -> bytes:
        return self._read(damaged.offset, damaged.end - damaged.offset)

    def save_checkpoint(self, offset: int) -> None:
        """Only after COMMIT. A checkpoint that is lost costs a second shipping, nothing else."""
        self.shipped = offset
        fresh = self._checkpoint.with_suffix(".ckpt.new")
        fresh.write_bytes(spool.pack_checkpoint(offset))
        fresh.replace(self._checkpoint)

    def delete(self) -> None:
        """The checkpoint goes first: it must not outlive its segment, whose name may come again."""
        self._checkpoint.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.is_deleted = True
        self.close()

    def close(self) -> None:
        os.close(self._fd)

    @property
    def _checkpoint(self) -> Path:
        return self.path.with_suffix(spool.SEGMENT_SUFFIX + spool.CHECKPOINT_SUFFIX)

    def _read_checkpoint(self) -> int:
        try:
            return spool.parse_checkpoint(self._checkpoint.read_bytes())
        except OSError:
            return spool.HEADER_BYTES

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self._fd, size, offset)


def segment_paths(folder: Path) -> list[Path]:
    """Every segment by name; [] while the folder does not exist."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return []
    return [folder / name for name in names if spool.parse_segment_name(name) is not None]
