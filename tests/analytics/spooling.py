"""Segments on disk, as a gateway process leaves them: by the format's own functions."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from uuid import UUID, uuid4

from routing.core import spool
from routing.core.record import Finish, Record, RequestDone, encode, encode_end


class Writer:
    """Holds the lock like a living process until `die` or `close`."""

    def __init__(self, folder: Path, *, number: int = 1, process_id: UUID | None = None) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        self.number = number
        self.process_id = process_id or uuid4()
        header = spool.pack_header(self.process_id, 4711, number, 1.0)
        self._crc = spool.read_header(header).crc
        self.path = folder / spool.segment_name("gateway", 4711, number)
        self.path.write_bytes(header + bytes(64 * 1024))
        self._fd = os.open(self.path, os.O_RDWR)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self.offset = spool.HEADER_BYTES

    def write(self, *records: Record) -> None:
        for record in records:
            self.put(spool.pack_frame(encode(record), self._crc))

    def write_end(self, finish: Finish, done: RequestDone) -> None:
        """In one frame, as the gateway does where an attempt ends its request."""
        self.put(self.frame(encode_end(finish, done)))

    def put(self, data: bytes) -> None:
        os.pwrite(self._fd, data, self.offset)
        self.offset += len(data)

    def frame(self, body: bytes) -> bytes:
        return spool.pack_frame(body, self._crc)

    def die(self) -> None:
        """As with kill -9: the lock goes, no end is written."""
        os.close(self._fd)

    def close(self) -> None:
        self.put(spool.pack_end("closed", self._crc))
        self.die()

    def rotate(self, *repeated: Record) -> Writer:
        following = Writer(self.folder, number=self.number + 1, process_id=self.process_id)
        following.write(*repeated)
        self.put(spool.pack_end("rotated", self._crc))
        self.die()
        return following
