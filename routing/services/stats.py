"""What rollups found out about endpoints, made readable for routing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import msgspec

from routing.models import Endpoint, EndpointStats


class StatsRow(msgspec.Struct, frozen=True):
    endpoint_id: int
    n: int
    ttft_p50_ms: float | None = None
    ttft_p95_ms: float | None = None
    speed_p50_tps: float | None = None
    success_rate: float | None = None  # 0..1
    window_hours: int = 24


_FIELDS = (
    "ttft_p50_ms",
    "ttft_p95_ms",
    "speed_p50_tps",
    "success_rate",
    "n",
    "window_hours",
    "updated_at",
)


def write_endpoint_stats(rows: Iterable[StatsRow], *, updated_at: dt.datetime) -> int:
    """One statement for all rows; endpoints that no longer exist are passed over."""
    existing = set(Endpoint.objects.values_list("pk", flat=True))
    fresh = [
        EndpointStats(
            endpoint_id=row.endpoint_id,
            updated_at=updated_at,
            **{name: getattr(row, name) for name in _FIELDS if name != "updated_at"},
        )
        for row in rows
        if row.endpoint_id in existing
    ]
    EndpointStats.objects.bulk_create(
        fresh, update_conflicts=True, unique_fields=["endpoint"], update_fields=list(_FIELDS)
    )
    return len(fresh)
