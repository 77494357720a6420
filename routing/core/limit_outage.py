"""Limits while the shared pool cannot be asked."""

from __future__ import annotations

from routing.core.limit_pool import Caps
from routing.core.limits import REQUESTS, RUNNING, WINDOW_S

PLACE_WAIT_S = 1.0


class Degraded:
    """Without the shared pool: an even part of the limit, without any burst.

    The part grows from nothing at the moment the pool was lost, as older uses cease to count, so
    all processes together stay near the limit from the first minute on.
    """

    __slots__ = ("_at", "_caps", "_processes", "requests", "tokens")

    def __init__(self, caps: Caps, processes: int, since: float) -> None:
        self._caps = caps
        self._processes = processes
        self._at = since
        self.requests = 0.0
        self.tokens = 0.0

    def fill(self, now: float) -> None:
        passed = (now - self._at) / WINDOW_S
        self._at = now
        self.requests = self._filled(self.requests, self._caps.requests, passed)
        self.tokens = self._filled(self.tokens, self._caps.tokens, passed)

    def _filled(self, level: float, cap: int | None, passed: float) -> float:
        part = (cap or 0) / self._processes
        return min(part, level + part * passed)

    def wait_s(self, meter: str, units: int, running: int) -> float:
        """After `fill`. More than the whole part is lent once the part is full."""
        if meter == RUNNING:
            places = max(1, (self._caps.running or 0) // self._processes)
            return 0.0 if running < places else PLACE_WAIT_S
        is_requests = meter == REQUESTS
        cap = self._caps.requests if is_requests else self._caps.tokens
        part = (cap or 0) / self._processes
        missing = min(units, part) - (self.requests if is_requests else self.tokens)
        return max(0.0, missing / part * WINDOW_S)

    def draw(self, tokens: int) -> None:
        self.requests -= 1
        self.tokens -= tokens
