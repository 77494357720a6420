"""A disk that fails on demand, and how large a small spool is."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from typing_extensions import override

from routing.gateway.spool import SpoolWriter
from routing.gateway.spool_files import Files

SMALL = 64 * 1024
PLENTY = 100 * SMALL
Make = Callable[..., SpoolWriter]


class FaultyFiles(Files):
    """A disk that fails in the way that is switched on."""

    def __init__(self) -> None:
        self.write_error = 0
        self.sync_error = 0
        self.allocate_error = 0
        self.short_writes = 0
        self.broken_writes = 0
        self.sound: Callable[[int], bool] = lambda inode: False  # files that sync all the same
        self.syncs: list[int] = []
        self.failed_syncs: list[int] = []

    @override
    def allocate(self, fd: int, size: int) -> None:
        self._fail(self.allocate_error)
        super().allocate(fd, size)

    @override
    def write(self, fd: int, data: bytes, offset: int) -> int:
        self._fail(self.write_error)
        if self.broken_writes:
            self.broken_writes -= 1
            self._fail(errno.EIO)
        if self.short_writes:
            self.short_writes -= 1
            return super().write(fd, data[: len(data) // 2], offset)
        return super().write(fd, data, offset)

    @override
    def sync(self, fd: int) -> None:
        inode = os.fstat(fd).st_ino
        assert inode not in self.failed_syncs, "a failed file must never be synced again"
        self.syncs.append(inode)
        if self.sync_error and not self.sound(inode):
            self.failed_syncs.append(inode)
            self._fail(self.sync_error)
        super().sync(fd)

    def _fail(self, code: int) -> None:
        if code:
            raise OSError(code, os.strerror(code))
