"""What routing learns from the rollups: the last day of every endpoint, probes included."""

from __future__ import annotations

import datetime as dt

from analytics.models import AttemptCell
from analytics.queries.measured import measurements
from analytics.queries.types import EVERYTHING, Filters, Measurement, Period, Quantile
from routing.models import Endpoint
from routing.services.stats import StatsRow, write_endpoint_stats

WINDOW_HOURS = 24


def refresh(now: dt.datetime) -> int:
    """Returns how many endpoints have fresh stats."""
    period = Period(now - dt.timedelta(hours=WINDOW_HOURS), now)
    found = measurements(Filters(EVERYTHING, period), "endpoint")
    rows = [_row(endpoint_id, measured) for endpoint_id, measured in found.items()]
    return write_endpoint_stats(rows, updated_at=now)


def refresh_if_first(now: dt.datetime) -> int:
    """As `refresh`, if an endpoint has its first figures: those do not wait for the schedule."""
    never_told = Endpoint.objects.filter(stats=None)
    since = now - dt.timedelta(hours=WINDOW_HOURS)
    news = AttemptCell.objects.filter(bucket_start__gte=since, endpoint_id__in=never_told)
    return refresh(now) if news.exists() else 0


def _row(endpoint_id: int, measured: Measurement) -> StatsRow:
    return StatsRow(
        endpoint_id=endpoint_id,
        n=measured.n,
        ttft_p50_ms=_value(measured.ttft_p50),
        ttft_p95_ms=_value(measured.ttft_p95),
        speed_p50_tps=_value(measured.speed_p50),
        success_rate=measured.success.value if measured.success else None,
        window_hours=WINDOW_HOURS,
    )


def _value(quantile: Quantile | None) -> float | None:
    return None if quantile is None else quantile.value
