"""Room that a provider announces in its answers' headers, kept up to date between answers.

A limit is a bucket that fills up again: what is left, and how soon all of it would be there again,
tell how fast. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from routing.core.rate_headers import REQUESTS, Allowance

SPARED_SHARE = 0.02  # of a limit: for requests that were under way when the provider counted
MOST_SPARED = 5.0  # requests
LEAST_WAIT_S = 0.05
LONGEST_WAIT_S = 60.0  # then one request is tried, whatever was announced
ASSUMED_TOKENS = 1000.0  # of a request, before any was seen to use some
TOKENS_WEIGHT = 0.2  # of the newest request in their mean
STALE_AFTER_S = 120.0


class AnnouncedRoom:
    """Of one endpoint. `closed_until` is when the next request should find room."""

    __slots__ = ("_limits", "_told_at", "closed_until", "why")

    def __init__(self) -> None:
        self.closed_until = 0.0
        self.why = ""
        self._limits: dict[str, _Limit] = {}
        self._told_at = 0.0

    def tell(self, allowances: Sequence[Allowance], now: float) -> bool:
        """True where it closed or opened. Limits that are told of no more are over."""
        limits = {one.name: self._limits.get(one.name) or _Limit() for one in allowances}
        for one in allowances:
            limits[one.name].tell(one, now)
        self._limits = limits
        self._told_at = now
        return self._settle(now)

    def take(self, now: float) -> bool:
        """A request begins. True where that closed it."""
        if now - self._told_at > STALE_AFTER_S:
            self._limits.clear()
        for limit in self._limits.values():
            limit.take(now)
        return self._settle(now)

    def _settle(self, now: float) -> bool:
        was_closed, until, why = self.closed_until > now, 0.0, ""
        for limit in self._limits.values():
            wait_s = limit.wait_s(now)
            if wait_s and now + wait_s > until:
                until, why = now + wait_s, limit.words()
        self.closed_until, self.why = until, why
        return was_closed or until > 0.0


class _Limit:
    """A mirror of one bucket of the provider's."""

    __slots__ = ("_at", "_per_request", "_per_s", "_reset_s", "_taken", "_told_at", "last", "level")

    def __init__(self) -> None:
        self.last: Allowance | None = None
        self.level = 0.0
        self._at = self._told_at = 0.0
        self._per_s = 0.0
        self._reset_s: float | None = None
        self._per_request = 0.0
        self._taken = 0

    def tell(self, allowance: Allowance, now: float) -> None:
        self._learn_size(allowance, now)
        self.last = allowance
        self.level, self._taken = allowance.remaining, 0
        self._at = self._told_at = now
        used, reset_s = allowance.limit - allowance.remaining, allowance.reset_s
        self._reset_s = reset_s
        self._per_s = used / reset_s if used and reset_s else 0.0

    def take(self, now: float) -> None:
        self.level = self._level_at(now) - self._per_request
        self._at = now
        self._taken += 1

    def wait_s(self, now: float) -> float:
        """0.0 while there is room."""
        if self.last is None:
            return 0.0
        wanted = self._per_request
        if self.last.of == REQUESTS:
            wanted += min(self.last.limit * SPARED_SHARE, MOST_SPARED)
        missing = min(wanted, self.last.limit) - self._level_at(now)
        if missing <= 0:
            return 0.0
        waits = [LONGEST_WAIT_S if self._reset_s is None else self._reset_s]
        if self._per_s:
            waits.append(missing / self._per_s)
        return min(max(min(waits), LEAST_WAIT_S), LONGEST_WAIT_S)

    def words(self) -> str:
        assert self.last is not None
        left = max(self.level, 0.0)
        return f"announced: about {left:.0f} of {self.last.limit:.0f} {self.last.of} left"

    def _learn_size(self, told: Allowance, now: float) -> None:
        """How much of the limit a request uses: of tokens, what is gone since we were last told."""
        if told.of == REQUESTS:
            self._per_request = 1.0
        elif self.last is None or not self._taken:
            self._per_request = self._per_request or ASSUMED_TOKENS
        else:
            refilled = self.last.remaining + (now - self._told_at) * self._per_s
            gone = max(min(refilled, self.last.limit) - told.remaining, 0.0)
            self._per_request += TOKENS_WEIGHT * (gone / self._taken - self._per_request)

    def _level_at(self, now: float) -> float:
        assert self.last is not None
        return min(self.level + (now - self._at) * self._per_s, self.last.limit)
