"""What this process has seen of each endpoint, mixed with what the rollups say of it.

Live figures are time-decayed means of logarithms (times and speeds are skewed); the measured
`Stats` of the snapshot weigh as a limited number of observations, so a quiet process starts from
them and a busy one follows its own traffic.
"""

from __future__ import annotations

import math
from random import Random

import msgspec

from routing.core.breaker import Breaker
from routing.core.catalog import Endpoint
from routing.core.errors import COUNTS_AGAINST_HEALTH, FailureClass

HALF_LIFE_S = 300.0
STATS_WEIGHT = 20.0  # observations that the rollups count as, at most
RETRY_TOKENS = 10.0
RETRY_COST = 1.0
RETRY_EARNED = 0.1
RETRY_FLOOR = 5.0


class Numbers(msgspec.Struct, frozen=True):
    """None where nothing was measured yet."""

    ttft_ms: float | None
    speed_tps: float | None
    success_rate: float | None
    samples: int


class DecayedMean:
    __slots__ = ("_at", "value", "weight")

    def __init__(self) -> None:
        self.value = 0.0
        self.weight = 0.0
        self._at = 0.0

    def add(self, x: float, now: float) -> None:
        self.weight = self.weight_at(now) + 1.0
        self._at = now
        self.value += (x - self.value) / self.weight

    def weight_at(self, now: float) -> float:
        if not self.weight:
            return 0.0
        return float(self.weight * 0.5 ** ((now - self._at) / HALF_LIFE_S))

    def mixed_with(
        self, baseline: float | None, baseline_weight: float, now: float
    ) -> float | None:
        live = self.weight_at(now)
        if baseline is None:
            return self.value if live else None
        if live + baseline_weight == 0:
            return None
        return (self.value * live + baseline * baseline_weight) / (live + baseline_weight)


class EndpointHealth:
    __slots__ = ("breaker", "log_speed", "log_ttft", "retry_tokens", "seen", "success")

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.log_ttft = DecayedMean()
        self.log_speed = DecayedMean()
        self.success = DecayedMean()
        self.retry_tokens = RETRY_TOKENS
        self.seen = 0


class HealthBook:
    """One per gateway process. All methods take monotonic seconds."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._books: dict[int, EndpointHealth] = {}
        self._cache: dict[int, tuple[float, Endpoint, Numbers]] = {}

    def of(self, endpoint_id: int) -> EndpointHealth:
        book = self._books.get(endpoint_id)
        if book is None:
            book = self._books[endpoint_id] = EndpointHealth()
        return book

    def numbers(self, endpoint: Endpoint, now: float) -> Numbers:
        """Worked out at most once a second per endpoint: ranking reads it for every request."""
        cached = self._cache.get(endpoint.id)
        if cached is not None and now - cached[0] < 1.0 and cached[1] is endpoint:
            return cached[2]
        fresh = self._work_out(endpoint, now)
        self._cache[endpoint.id] = (now, endpoint, fresh)
        return fresh

    def _work_out(self, endpoint: Endpoint, now: float) -> Numbers:
        book, stats = self.of(endpoint.id), endpoint.stats
        weight = min(float(stats.n), STATS_WEIGHT)
        return Numbers(
            ttft_ms=_exp(book.log_ttft.mixed_with(_log(stats.ttft_p50_ms), weight, now)),
            speed_tps=_exp(book.log_speed.mixed_with(_log(stats.speed_p50_tps), weight, now)),
            success_rate=book.success.mixed_with(stats.success_rate, weight, now),
            samples=stats.n + book.seen,
        )

    def on_start(self, endpoint_id: int, now: float) -> None:
        self.of(endpoint_id).breaker.on_start(now)

    def on_success(
        self, endpoint_id: int, now: float, ttft_ms: float | None, speed_tps: float | None
    ) -> None:
        book = self.of(endpoint_id)
        book.seen += 1
        book.breaker.on_success(now)
        book.success.add(1.0, now)
        book.retry_tokens = min(book.retry_tokens + RETRY_EARNED, RETRY_TOKENS)
        if ttft_ms is not None and ttft_ms > 0:
            book.log_ttft.add(math.log(ttft_ms), now)
        if speed_tps is not None and speed_tps > 0:
            book.log_speed.add(math.log(speed_tps), now)

    def on_failure(
        self, endpoint_id: int, now: float, failure: FailureClass, retry_after_s: float | None
    ) -> None:
        book = self.of(endpoint_id)
        if failure is FailureClass.CAPACITY:
            book.breaker.on_capacity(now, retry_after_s)
        elif failure in COUNTS_AGAINST_HEALTH:
            book.seen += 1
            book.success.add(0.0, now)
            book.breaker.on_failure(now, self._rng.random())
        else:
            book.breaker.on_neutral()
        if failure is not FailureClass.CLIENT:
            book.retry_tokens = max(book.retry_tokens - RETRY_COST, 0.0)

    def may_retry(self, endpoint_id: int) -> bool:
        """The retry budget of gRPC A6: retries stop when failures outrun successes."""
        return self.of(endpoint_id).retry_tokens > RETRY_FLOOR

    def forget_missing(self, endpoint_ids: frozenset[int]) -> None:
        """Called when the snapshot changes, so that memory stays bounded."""
        for gone in set(self._books) - endpoint_ids:
            del self._books[gone]
            self._cache.pop(gone, None)


def _log(value: float | None) -> float | None:
    return math.log(value) if value is not None and value > 0 else None


def _exp(value: float | None) -> float | None:
    return math.exp(value) if value is not None else None
