"""Headline, breakdown, series and the month's bill: all of them `figures.sums`, differently cut."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from analytics.queries.figures import ALL_KINDS, Sums, sums
from analytics.queries.labels import labels_of
from analytics.queries.latency import request_ttft
from analytics.queries.types import (
    BreakdownRow,
    Bucket,
    Dimension,
    Filters,
    Headline,
    MonthlyBill,
    Period,
    Scope,
    SeriesPoint,
    Share,
)
from analytics.statistics import wilson


def headline(filters: Filters) -> Headline:
    by_status = sums(filters, ["cost_status"])
    whole = _whole(by_status)
    ttft = request_ttft(filters)
    return Headline(
        requests=whole.requests,
        ok=whole.ok,
        attempts=whole.attempts,
        delivered=share(whole.ok, whole.deliverable),
        cost_usd=whole.cost_usd,
        cost_by_status=_costs(by_status),
        input_tokens=whole.input_tokens,
        cache_read_tokens=whole.cache_read_tokens,
        output_tokens=whole.output_tokens,
        rescued=whole.rescued,
        simulated_share=whole.simulated_requests / whole.requests if whole.requests else None,
        ttft_p50=ttft(0.50),
        ttft_p95=ttft(0.95),
    )


def breakdown(filters: Filters, dimension: Dimension) -> list[BreakdownRow]:
    """Dearest first; rows of equal cost by requests, then by name."""
    found = sums(filters, [dimension])
    labels = labels_of(dimension, (key for (key,) in found))
    rows = [
        BreakdownRow(
            id=labels[key].id,
            label=labels[key].label,
            slug=labels[key].slug,
            requests=group.requests,
            ok=group.ok,
            input_tokens=group.input_tokens,
            output_tokens=group.output_tokens,
            cost_usd=group.cost_usd,
        )
        for (key,), group in found.items()
    ]
    return sorted(rows, key=lambda row: (-row.cost_usd, -row.requests, row.label))


def cost_series(
    filters: Filters, dimension: Dimension, bucket: Bucket = "day"
) -> list[SeriesPoint]:
    """Ordered by time, then name. Buckets without anything are left out."""
    found = sums(filters, [bucket, dimension])
    labels = labels_of(dimension, (key for _, key in found))
    points = [
        SeriesPoint(
            start=start,
            id=labels[key].id,
            slug=labels[key].slug,
            label=labels[key].label,
            cost_usd=group.cost_usd,
            requests=group.requests,
        )
        for (start, key), group in found.items()
    ]
    return sorted(points, key=lambda point: (point.start, point.label))


def monthly_bill(scope: Scope, month: dt.date) -> MonthlyBill:
    """All kinds, probes included: what the providers will charge for the UTC month of `month`."""
    filters = Filters(scope=scope, period=month_of(month), kind=ALL_KINDS)
    by_status = sums(filters, ["cost_status"])
    whole = _whole(by_status)
    return MonthlyBill(
        month=filters.period.start.date(),
        total_usd=whole.cost_usd,
        by_provider=breakdown(filters, "provider"),
        by_model=breakdown(filters, "model"),
        by_project=breakdown(filters, "project"),
        by_key=breakdown(filters, "key"),
        by_status=_costs(by_status),
        simulated_usd=whole.simulated_usd,
        corrections_usd=whole.correction_usd,
        requests=whole.requests,
        probe_usd=whole.probe_usd,
        shadow_usd=whole.shadow_usd,
    )


def month_of(day: dt.date) -> Period:
    start = dt.datetime(day.year, day.month, 1, tzinfo=dt.UTC)
    following = (start + dt.timedelta(days=32)).replace(day=1)
    return Period(start, following)


def share(k: int, n: int) -> Share | None:
    interval = wilson(k, n)
    return None if interval is None else Share(k, n, *interval)


def _whole(groups: Mapping[Any, Sums]) -> Sums:
    return sum(groups.values(), Sums())


def _costs(by_status: Mapping[Any, Sums]) -> dict[str, Decimal]:
    return {status: group.cost_usd for (status,), group in by_status.items() if group.attempts}
