"""What rollups found out about endpoints, made readable for routing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable

import msgspec

from routing.models import Endpoint, EndpointStats

NOTICEABLE = 0.02  # relative: a smaller change is not worth a new snapshot in every gateway
NOTICEABLE_WEIGHT = 0.1
ENOUGH_WEIGHT = 100.0  # above it a weight changes nothing (see core.health)
AT_LEAST_EVERY = dt.timedelta(minutes=10)


class StatsRow(msgspec.Struct, frozen=True):
    """`weight` is how many observations it rests on, each decayed by its age; None: all `n`."""

    endpoint_id: int
    n: int
    ttft_p50_ms: float | None = None
    ttft_p95_ms: float | None = None
    speed_p50_tps: float | None = None
    success_rate: float | None = None  # 0..1
    window_hours: int = 24
    weight: float | None = None
    speed_p95_tps: float | None = None
    cached_share: float | None = None  # of the input tokens, 0..1
    valid_share: float | None = None  # of answers with tool calls or a schema, 0..1
    valid_n: int = 0  # such answers
    valid_weight: float = 0.0  # the same, each decayed by its age


_FIGURES = (
    "ttft_p50_ms",
    "ttft_p95_ms",
    "speed_p50_tps",
    "speed_p95_tps",
    "success_rate",
    "cached_share",
    "valid_share",
)
_FIELDS = (*_FIGURES, "n", "weight", "valid_n", "valid_weight", "window_hours", "updated_at")


def write_endpoint_stats(rows: Iterable[StatsRow], *, updated_at: dt.datetime) -> int:
    """One statement for all rows that have news, so that gateways reload their snapshot once.

    Endpoints that no longer exist are passed over. Returns how many there were.
    """
    existing = set(Endpoint.objects.values_list("pk", flat=True))
    written = {row.endpoint_id: row for row in EndpointStats.objects.all()}
    fresh = [_stats(row, updated_at) for row in rows if row.endpoint_id in existing]
    news = [row for row in fresh if _is_news(row, written.get(row.endpoint_id))]
    if news:
        EndpointStats.objects.bulk_create(
            news, update_conflicts=True, unique_fields=["endpoint"], update_fields=list(_FIELDS)
        )
    return len(fresh)


def forget_endpoint_stats(*, except_for: Collection[int]) -> int:
    """Of endpoints that nothing was measured of for as long as stats reach back."""
    gone = EndpointStats.objects.exclude(endpoint__in=list(except_for))
    return gone.delete()[0] if gone.exists() else 0


def _stats(row: StatsRow, updated_at: dt.datetime) -> EndpointStats:
    figures = {name: getattr(row, name) for name in _FIGURES}
    weight = float(row.n) if row.weight is None else row.weight
    return EndpointStats(
        endpoint_id=row.endpoint_id,
        n=row.n,
        weight=weight,
        valid_n=row.valid_n,
        valid_weight=row.valid_weight,
        window_hours=row.window_hours,
        updated_at=updated_at,
        **figures,
    )


def _is_news(row: EndpointStats, before: EndpointStats | None) -> bool:
    if before is None or row.updated_at - before.updated_at >= AT_LEAST_EVERY:
        return True
    if _differs(_capped(row), _capped(before), NOTICEABLE_WEIGHT):
        return True
    pairs = (row.n, before.n), (row.valid_n, before.valid_n)
    if any(min(pair) < ENOUGH_WEIGHT and pair[0] != pair[1] for pair in pairs):
        return True
    return any(_differs(getattr(row, name), getattr(before, name), NOTICEABLE) for name in _FIGURES)


def _capped(row: EndpointStats) -> float:
    return min(row.weight, ENOUGH_WEIGHT)


def _differs(new: float | None, old: float | None, by: float) -> bool:
    if new is None or old is None:
        return new is not old
    return abs(new - old) > by * max(abs(new), abs(old))
