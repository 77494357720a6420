"""What an hour came to: cost, times, success, and how soon troubles were answered."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec

from routing.core.errors import FailureClass
from routing.simulation.run import Log
from routing.simulation.script import Script, Span

BEFORE_S = 180.0  # whose share of first attempts is what is usual
LOOK_S = 10.0  # the window that is compared with it; it ends at the moment that is judged
STEP_S = 1.0
LEFT_SHARE = 0.25  # of the usual share: what shares by weight and half-open tries may still take
BACK_SHARE = 0.5
LEAST_USUAL = 0.02  # of all first attempts: with less there is nothing to leave


class Figures(msgspec.Struct, frozen=True):
    requests: int
    success: float  # 0..1
    cost_usd: Decimal  # of all answers
    cost_per_1000_usd: Decimal  # answers
    ttft_p50_ms: float
    ttft_p95_ms: float
    within_slo: float  # share of all requests that were answered in time
    attempts: float  # per request
    cached: float  # share of all input tokens that was read from caches
    outage: Reaction
    slow_down: Reaction
    limit_use: float  # of what the hidden limit would have let through
    limit_refused: float  # share of the attempts there that got a 429


class Reaction(msgspec.Struct, frozen=True):
    """None where the endpoint got next to nothing before, or was not left within the trouble."""

    left_after_s: float | None
    back_after_s: float | None


def figures_of(log: Log, script: Script) -> Figures:
    times = sorted(one.ttft_ms for one in log.served if one.ttft_ms is not None)
    total, answered = len(log.served), len(times)
    cost_usd = sum((one.cost_usd for one in log.served), Decimal(0))
    in_time = sum(map(script.within_slo, times))
    use, refused = _limit(log, script)
    return Figures(
        requests=total,
        success=answered / total,
        cost_usd=cost_usd,
        cost_per_1000_usd=cost_usd * 1000 / answered,
        ttft_p50_ms=quantile(times, 0.50),
        ttft_p95_ms=quantile(times, 0.95),
        within_slo=in_time / total,
        attempts=len(log.tried) / total,
        cached=_cached(log),
        outage=_reaction(log, script, script.outage),
        slow_down=_reaction(log, script, script.slow_down),
        limit_use=use,
        limit_refused=refused,
    )


def quantile(ordered: Sequence[float], q: float) -> float:
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


def first_tries(log: Log, place: int | None = None) -> list[float]:
    """When first attempts began, at one persona or at all, in order."""
    return sorted(one.started_s for one in log.tried if one.no == 1 and place in (None, one.place))


def place_of(script: Script, slug: str) -> int:
    return next(n for n, one in enumerate(script.personas) if one.slug == slug)


def _cached(log: Log) -> float:
    usages = [one.usage for one in log.served]
    total = sum(usage.input_total or 0 for usage in usages)
    return sum(usage.cache_read or 0 for usage in usages) / total if total else 0.0


def _limit(log: Log, script: Script) -> tuple[float, float]:
    persona = script.limited
    place = place_of(script, persona.slug)
    there = [one for one in log.tried if one.place == place]
    refused = sum(one.failure is FailureClass.CAPACITY for one in there)
    room = script.duration_s * (persona.limit_per_s or 0.0)
    return (len(there) - refused) / room, (refused / len(there) if there else 0.0)


def _reaction(log: Log, script: Script, trouble: Span) -> Reaction:
    share = _Share(log, place_of(script, trouble.slug))
    start, end = trouble.start * script.duration_s, trouble.end * script.duration_s
    usual = share.between(start - BEFORE_S, start)
    if usual < LEAST_USUAL:
        return Reaction(None, None)
    left = share.first_below(usual * LEFT_SHARE, start, end)
    if left is None:
        return Reaction(None, None)
    back = share.first_above(usual * BACK_SHARE, end, script.duration_s)
    return Reaction(left - start, None if back is None else back - end)


class _Share:
    """Of one persona in the first attempts, over time."""

    def __init__(self, log: Log, place: int) -> None:
        self._ours = first_tries(log, place)
        self._all = first_tries(log)

    def between(self, start: float, end: float) -> float:
        total = bisect_right(self._all, end) - bisect_left(self._all, start)
        ours = bisect_right(self._ours, end) - bisect_left(self._ours, start)
        return ours / total if total else 0.0

    def first_below(self, most: float, start: float, end: float) -> float | None:
        """When the share of the last seconds has become small."""
        return next((at for at in _steps(start, end) if self._lately(at) <= most), None)

    def first_above(self, least: float, start: float, end: float) -> float | None:
        return next((at for at in _steps(start, end) if self._lately(at) >= least), None)

    def _lately(self, at: float) -> float:
        return self.between(at - LOOK_S, at)


def _steps(start: float, end: float) -> Iterator[float]:
    at = start + STEP_S
    while at < end:
        yield at
        at += STEP_S
