"""When this process should take no more requests, so that those it has still end in time."""

from __future__ import annotations

import os
import resource
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LATE_S = 0.2  # the loop answered so much later than asked
LATE_TIMES, LATE_WITHIN_S = 3, 3.0
BUSY_SHARE = 0.5  # of that time went into this process: others' work is not ours to shed
RECOVERY_S = 1.0
MOST_SHARE = 0.8  # of memory and of file descriptors
RESOURCES_EVERY_S = 2.0
_MEMORY_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
_UNLIMITED_BYTES = 2**60

Shares = Callable[[], tuple[float, float]]


def resource_shares() -> tuple[float, float]:
    """Of memory and of file descriptors in use, 0..1; zero where it cannot be told."""
    return _memory_share(), _descriptor_share()


class Overload:
    """`reason` is "" while all is well. Looked at by the gateway's ticker."""

    __slots__ = ("_cpu", "_cpu_at", "_late", "_looked_at", "_scarce", "_shares", "reason")

    def __init__(
        self, cpu: Callable[[], float] = time.process_time, shares: Shares = resource_shares
    ) -> None:
        self.reason = ""
        self._cpu = cpu
        self._cpu_at = cpu()
        self._shares = shares
        self._late: deque[float] = deque(maxlen=LATE_TIMES)
        self._looked_at = float("-inf")
        self._scarce = ""

    def look(self, now: float, elapsed_s: float, late_s: float) -> None:
        """`elapsed_s` since the last look, of which `late_s` were not asked for."""
        cpu = self._cpu()
        busy_s, self._cpu_at = cpu - self._cpu_at, cpu
        if late_s > LATE_S and busy_s >= elapsed_s * BUSY_SHARE:
            self._late.append(now)
        if now - self._looked_at >= RESOURCES_EVERY_S:
            self._looked_at = now
            self._scarce = self._what_is_scarce()
        self.reason = self._scarce or ("processor" if self._is_late(now) else "")

    def _is_late(self, now: float) -> bool:
        late = self._late
        if len(late) < LATE_TIMES or now - late[-1] > RECOVERY_S:
            return False
        return late[-1] - late[0] <= LATE_WITHIN_S

    def _what_is_scarce(self) -> str:
        memory, descriptors = self._shares()
        if memory > MOST_SHARE:
            return "memory"
        return "file descriptors" if descriptors > MOST_SHARE else ""


def _memory_share() -> float:
    limit = memory_limit_bytes()
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / limit if limit else 0.0
    return 0.0


def memory_limit_bytes() -> int:
    """Of the control group that this process is in; 0 where there is none."""
    for path in _MEMORY_LIMITS:
        with suppress(OSError, ValueError):  # "max" is no number
            limit = int(Path(path).read_text())
            if limit < _UNLIMITED_BYTES:
                return limit
    return 0


def _descriptor_share() -> float:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError):
        return len(os.listdir("/proc/self/fd")) / most if most > 0 else 0.0
    return 0.0
