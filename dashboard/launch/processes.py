"""Child processes that do not outlive us, however we end."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


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
