"""Headline, breakdown, series and the month's bill: all of them `figures.sums`, differently cut."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from analytics.queries.figures import ALL_KINDS, Sums, sums, sums_by_each
from analytics.queries.labels import Label, labels_of, labels_of_each
from analytics.queries.latency import Quantiles, request_ttft
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

Parts = dict[Dimension, list[BreakdownRow]]
OF_A_BILL: tuple[Dimension, ...] = ("provider", "model", "project", "key")


def headline(filters: Filters) -> Headline:
    return headline_and_parts(filters, ())[0]


def headline_and_parts(filters: Filters, dimensions: Sequence[Dimension]) -> tuple[Headline, Parts]:
    """The whole, and what it is made of, at the price of one reading."""
    found = sums_by_each(filters, ["cost_status", *dimensions])
    return _headline(found["cost_status"], request_ttft(filters)), _parts(found, dimensions)


def _headline(by_status: Mapping[str, Sums], ttft: Quantiles) -> Headline:
    whole = _whole(by_status)
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
    found = {key: group for (key,), group in sums(filters, [dimension]).items()}
    return _rows(found, labels_of(dimension, found))


def _parts(found: Mapping[str, Mapping[Any, Sums]], dimensions: Sequence[Dimension]) -> Parts:
    labels = labels_of_each({dimension: found[dimension] for dimension in dimensions})
    return {dimension: _rows(found[dimension], labels[dimension]) for dimension in dimensions}


def _rows(found: Mapping[Any, Sums], labels: Mapping[Any, Label]) -> list[BreakdownRow]:
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
        for key, group in found.items()
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
    found = sums_by_each(filters, ["cost_status", *OF_A_BILL])
    whole, parts = _whole(found["cost_status"]), _parts(found, OF_A_BILL)
    return MonthlyBill(
        month=filters.period.start.date(),
        total_usd=whole.cost_usd,
        by_provider=parts["provider"],
        by_model=parts["model"],
        by_project=parts["project"],
        by_key=parts["key"],
        by_status=_costs(found["cost_status"]),
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
    return {status: group.cost_usd for status, group in by_status.items() if group.attempts}
