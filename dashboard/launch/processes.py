"""What the system grants our processes: open files, and children that do not outlive us."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

MOST_FILES = 65_536
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def allow_many_files() -> None:
    """A stream needs two sockets, and the usual limit of 1024 files would end them at 500."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with suppress(ValueError, OSError):  # some systems allow less than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def dies_with_us(signal_number: int = signal.SIGTERM) -> Callable[[], None]:
    """For `preexec_fn`: the kernel sends the signal when the starting *thread* ends.

    So children are started from the main thread only. Elsewhere than on Linux it does nothing,
    and the next start cleans up.
    """
    parent = os.getpid()

    def in_child() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(signal_number))
            if os.getppid() != parent:  # it ended before the call above
                os._exit(1)

    return in_child
