"""Figures of endpoints: what a plan reads of them, and the decayed means they come from.

Live figures are time-decayed means of logarithms (times and speeds are skewed).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import msgspec

from routing.core.sightings import Sums

ASSUMED_SPREAD = 0.5  # of log time; p95 is then 2.3 times the median
ASSUMED_WEIGHT = 5.0  # observations that it counts as


class Numbers(msgspec.Struct, frozen=True):
    """None where nothing was measured yet. Times and speeds are medians.

    A spread is the standard deviation of the logarithm: times and speeds are taken for log-normal.
    """

    ttft_ms: float | None
    speed_tps: float | None
    success_rate: float | None
    samples: int
    ttft_spread: float = ASSUMED_SPREAD
    speed_spread: float = ASSUMED_SPREAD
    weight: float = 0.0  # observations that the figures rest on, decayed
    seen_lately: float = 0.0  # those of them that processes saw themselves in the last minutes
    cached_share: float = 0.0  # of the input, that the provider reads from its cache
    valid_rate: float = 1.0  # of answers with tool calls or a schema that were of sound form
    valid_samples: int = 0  # that it rests on

    def with_form(self) -> Numbers:
        """An answer that cannot be used is no success for a request that needs its form."""
        if self.success_rate is None or self.valid_rate >= 1.0:
            return self
        return msgspec.structs.replace(self, success_rate=self.success_rate * self.valid_rate)

    def ttft_ms_at(self, percentile: float) -> float | None:
        """This share of the requests, in percent, sees its first token sooner."""
        return _quantile(self.ttft_ms, self.ttft_spread, percentile)

    def speed_tps_at(self, percentile: float) -> float | None:
        """This share of the requests, in percent, is faster."""
        return _quantile(self.speed_tps, -self.speed_spread, percentile)


def _quantile(median: float | None, spread: float, percentile: float) -> float | None:
    if median is None:
        return None
    return median * math.exp(spread * _normal.inv_cdf(min(max(percentile, 0.1), 99.9) / 100))


_normal = NormalDist()
Z95 = _normal.inv_cdf(0.95)


class DecayedMean:
    """Weights grow with time instead of decaying, so that an observation is two additions.

    `EndpointHealth.gain` says what an observation weighs now; only ratios of weights mean anything.
    """

    __slots__ = ("squares", "total", "weight")

    def __init__(self) -> None:
        self.squares = 0.0
        self.total = 0.0
        self.weight = 0.0

    def add(self, x: float, gain: float) -> None:
        self.squares += gain * x * x
        self.total += gain * x
        self.weight += gain

    def mixed_with(
        self, baseline: float | None, baseline_weight: float, fade: float
    ) -> float | None:
        """`fade` is what a weight is worth today, in observations."""
        live = self.weight * fade
        if baseline is None:
            return self.total / self.weight if live else None
        if live + baseline_weight == 0:
            return None
        return (self.total * fade + baseline * baseline_weight) / (live + baseline_weight)

    def spread(self, baseline: float | None, baseline_weight: float, fade: float) -> float:
        """The standard deviation; few observations are shrunk towards what is typical."""
        weight, total = ASSUMED_WEIGHT, ASSUMED_WEIGHT * ASSUMED_SPREAD**2
        if baseline is not None:
            weight += baseline_weight
            total += baseline_weight * baseline**2
        if live := self.weight * fade:
            mean = self.total / self.weight
            weight += live
            total += live * max(self.squares / self.weight - mean * mean, 0.0)
        return math.sqrt(total / weight)

    def sums_since(self, told: DecayedMean, fade: float) -> Sums:
        return Sums(
            (self.weight - told.weight) * fade,
            (self.total - told.total) * fade,
            (self.squares - told.squares) * fade,
        )

    def add_sums(self, sums: Sums, gain: float) -> None:
        self.weight += sums.weight * gain
        self.total += sums.total * gain
        self.squares += sums.squares * gain

    def become(self, other: DecayedMean) -> None:
        self.weight, self.total, self.squares = other.weight, other.total, other.squares

    def shrink(self, factor: float) -> None:
        self.squares *= factor
        self.total *= factor
        self.weight *= factor
