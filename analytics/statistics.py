"""Figures with their uncertainty. Pure: counts in, intervals out."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

Z_95 = 1.959963984540054
_TAIL = 0.025
_EXACT_UP_TO = 200_000  # beyond it the normal approximation is off by less than one rank in 10,000


def wilson(k: int, n: int) -> tuple[float, float] | None:
    """The 95 % interval of a share, as fractions of one. None for n = 0: no number at all."""
    if n == 0:
        return None
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no share")
    share, z2 = k / n, Z_95 * Z_95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if k == 0 else max(centre - half, 0.0)
    high = 1.0 if k == n else min(centre + half, 1.0)
    return low, high


def most_that_could_fail(n: int) -> float:
    """With no failure in n tries: the one-sided 95 % upper bound of the failure rate."""
    return float(1 - 0.05 ** (1 / n))


def failures_text(failed: int, n: int) -> str:
    """So that "100 %" never stands alone: what n tries can and cannot say."""
    if n == 0:
        return "no data"
    if failed:
        return f"{failed:,} of {n:,} failed"
    return f"0 of {n:,} failed (true rate could be up to {_percent(most_that_could_fail(n))})"


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%"


@lru_cache(maxsize=4096)
def quantile_ranks(n: int, q: float) -> tuple[int | None, int | None]:
    """Ranks (from 1) of the sorted values that bound the q-quantile with 95 % confidence.

    Free of any assumption on the distribution. None where n is too small for such a bound to
    exist: the upper one of p50 needs 6 values, of p90 36, of p95 72, of p99 368.
    """
    low = _binomial_quantile(_TAIL, n, q)
    high = _binomial_quantile(1 - _TAIL, n, q) + 1
    return (low if low >= 1 else None), (high if high <= n else None)


def quantile_rank(n: int, q: float) -> int:
    """The rank (from 1) of the value that stands for the q-quantile itself."""
    return min(max(math.ceil(q * n), 1), n)


def _binomial_quantile(p: float, n: int, q: float) -> int:
    """The smallest k with P(B <= k) >= p, B ~ Binomial(n, q)."""
    if n > _EXACT_UP_TO:
        spread = math.sqrt(n * q * (1 - q))
        return min(max(round(n * q + NormalDist().inv_cdf(p) * spread), 0), n)
    k = max(int(n * q - 9 * math.sqrt(n * q * (1 - q)) - 9), 0)  # below it there is nothing
    total = _binomial_pmf(k, n, q)
    while total < p and k < n:
        k += 1
        total += _binomial_pmf(k, n, q)
    return k


def _binomial_pmf(k: int, n: int, q: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(q) + (n - k) * math.log1p(-q))
