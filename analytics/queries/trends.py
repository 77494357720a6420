"""The same figures day by day, for the small lines beside a headline."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from analytics.queries.figures import Sums, sums
from analytics.queries.latency import histograms, quantiles_of
from analytics.queries.totals import share
from analytics.queries.types import Filters, Quantile, Share


@dataclass(frozen=True, slots=True)
class DayFigures:
    day: dt.date
    requests: int
    cost_usd: Decimal
    delivered: Share | None
    ttft_p95: Quantile | None


def by_day(filters: Filters) -> list[DayFigures]:
    """One for each UTC day of the period, oldest first, days without anything included."""
    found = {key.date(): group for (key,), group in sums(filters, ["day"]).items()}
    latencies = histograms(filters, "day", ["request_ttft"])
    bins = {key.date(): metrics["request_ttft"] for key, metrics in latencies.items()}
    return [
        _figures(
            day, found.get(day, Sums()), quantiles_of(bins[day])(0.95) if day in bins else None
        )
        for day in _days(filters)
    ]


def _days(filters: Filters) -> list[dt.date]:
    first = filters.period.start.astimezone(dt.UTC).date()
    last = (filters.period.end - dt.timedelta(microseconds=1)).astimezone(dt.UTC).date()
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]


def _figures(day: dt.date, group: Sums, ttft_p95: Quantile | None) -> DayFigures:
    return DayFigures(
        day, group.requests, group.cost_usd, share(group.ok, group.deliverable), ttft_p95
    )
