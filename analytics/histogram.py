"""Histograms with log-spaced bins: any quantile within 1 %, merged by adding counts.

Bin b holds the values in (GAMMA**(b-1), GAMMA**b]. Bins may be negative: the same scale serves
milliseconds and tokens per second.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from analytics.statistics import quantile_rank, quantile_ranks

ALPHA = 0.01
GAMMA = (1 + ALPHA) / (1 - ALPHA)
LN_GAMMA = math.log(GAMMA)
LEAST = 1e-3  # anything smaller, zero included, counts as this much


def bin_of(value: float) -> int:
    return math.ceil(math.log(max(value, LEAST)) / LN_GAMMA)


def bin_sql(expression: str) -> str:
    """`bin_of` in Postgres, of a double precision expression."""
    return f"ceil(ln(greatest({expression}, {LEAST!r}::float8)) / {LN_GAMMA!r}::float8)::smallint"


def value_of(number: int) -> float:
    """The value that is within ALPHA of all values of the bin."""
    return 2 * math.exp(number * LN_GAMMA) / (GAMMA + 1)


def of_values(values: Iterable[float]) -> Counter[int]:
    return Counter(bin_of(value) for value in values)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantile and its 95 % interval; an end is None where there are too few values for it."""

    value: float
    low: float | None
    high: float | None
    n: int


def quantile(bins: Mapping[int, int], q: float) -> Estimate | None:
    """None for an empty histogram."""
    n = sum(bins.values())
    if n == 0:
        return None
    low, high = quantile_ranks(n, q)
    ranks = [rank for rank in (low, quantile_rank(n, q), high) if rank is not None]
    found = _values_at(bins, ranks)
    return Estimate(
        value=found[quantile_rank(n, q)],
        low=None if low is None else found[low],
        high=None if high is None else found[high],
        n=n,
    )


def _values_at(bins: Mapping[int, int], ranks: list[int]) -> dict[int, float]:
    found: dict[int, float] = {}
    waiting = sorted(set(ranks), reverse=True)
    seen = 0
    for number in sorted(bins):
        seen += bins[number]
        while waiting and waiting[-1] <= seen:
            found[waiting.pop()] = value_of(number)
    return found
