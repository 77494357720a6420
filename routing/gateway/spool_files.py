"""What the spool asks of the disk."""

from __future__ import annotations

import os


class Files:
    """The system calls that can fail with the disk; a test puts its own in their place."""

    def allocate(self, fd: int, size: int) -> None:
        os.posix_fallocate(fd, 0, size)

    write = staticmethod(os.pwrite)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)
