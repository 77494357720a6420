"""What routing learns from the rollups: the last day of every endpoint, probes included.

An observation counts half as much every two hours, so that this morning's trouble is not this
evening's. What is minutes old gateway processes tell each other themselves.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection

from analytics.histogram import value_of
from analytics.models import AttemptCell
from routing.models import Endpoint
from routing.services.stats import StatsRow, forget_endpoint_stats, write_endpoint_stats

WINDOW_HOURS = 24
HALF_LIFE = dt.timedelta(hours=2)
# A 429 says that there is no room, not that something is broken.
JUDGED = ("ok", "provider_error", "timeout")

_WEIGHT = """
    power(0.5, greatest(extract(epoch FROM %(now)s - bucket_start) - 450, 0)::float8
        / %(half_life_s)s)
"""  # by the age of the middle of a quarter of an hour
_COUNTS = f"""
    SELECT endpoint_id, sum(attempts), sum(attempts * {_WEIGHT}),
        coalesce(sum(attempts * {_WEIGHT}) FILTER (WHERE attempt_outcome = ANY(%(judged)s)), 0),
        coalesce(sum(attempts * {_WEIGHT}) FILTER (WHERE attempt_outcome = 'ok'), 0),
        sum(cache_read_tokens * {_WEIGHT}) / nullif(sum(input_tokens * {_WEIGHT}), 0)
    FROM attempt_cell WHERE bucket_start >= %(since)s AND bucket_start < %(now)s GROUP BY 1
"""  # noqa: S608
_FORM = f"""
    SELECT endpoint_id, sum(answers), sum(answers * {_WEIGHT}), sum(sound * {_WEIGHT})
    FROM routing_formcell
    WHERE bucket_start >= %(since)s AND bucket_start < %(now)s GROUP BY 1
"""  # noqa: S608
_BINS = f"""
    SELECT endpoint_id, metric, bin, sum(n * {_WEIGHT})
    FROM latency_cell
    WHERE bucket_start >= %(since)s AND bucket_start < %(now)s AND metric IN ('ttft', 'speed')
    GROUP BY 1, 2, 3
"""  # noqa: S608

Params = dict[str, Any]
Bins = Mapping[int, float]  # weight by number of the bin


@dataclass(frozen=True, slots=True)
class _Form:
    n: int = 0
    weight: float = 0.0
    sound: float = 0.0


@dataclass(frozen=True, slots=True)
class _Counts:
    n: int
    weight: float
    judged: float
    ok: float
    cached_share: float | None


def refresh(now: dt.datetime) -> int:
    """Returns how many endpoints have stats; those of no day are forgotten."""
    params: Params = {
        "now": now,
        "since": now - dt.timedelta(hours=WINDOW_HOURS),
        "half_life_s": HALF_LIFE.total_seconds(),
        "judged": list(JUDGED),
    }
    counts, bins, forms = _counts(params), _bins(params), _forms(params)
    rows = [
        _row(endpoint_id, found, bins, forms.get(endpoint_id, _Form()))
        for endpoint_id, found in counts.items()
    ]
    forget_endpoint_stats(except_for=counts)
    return write_endpoint_stats(rows, updated_at=now)


def refresh_if_first(now: dt.datetime) -> int:
    """As `refresh`, if an endpoint has its first figures: those do not wait for the schedule."""
    never_told = Endpoint.objects.filter(stats=None)
    since = now - dt.timedelta(hours=WINDOW_HOURS)
    news = AttemptCell.objects.filter(bucket_start__gte=since, endpoint_id__in=never_told)
    return refresh(now) if news.exists() else 0


def weighted_quantile(bins: Bins, q: float) -> float | None:
    """The value that this share of the weight lies at or below; None without any."""
    total, seen = sum(bins.values()), 0.0
    for number in sorted(bins):
        seen += bins[number]
        if seen >= q * total and bins[number] > 0:
            return value_of(number)
    return None


def _counts(params: Params) -> dict[int, _Counts]:
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, params)
        return {
            endpoint_id: _Counts(int(n), float(weight), float(judged), float(ok), cached)
            for endpoint_id, n, weight, judged, ok, cached in cursor.fetchall()
        }


def _forms(params: Params) -> dict[int, _Form]:
    with connection.cursor() as cursor:
        cursor.execute(_FORM, params)
        return {
            endpoint_id: _Form(int(n), float(weight), float(sound))
            for endpoint_id, n, weight, sound in cursor.fetchall()
        }


def _bins(params: Params) -> dict[tuple[int, str], dict[int, float]]:
    found: defaultdict[tuple[int, str], dict[int, float]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(_BINS, params)
        for endpoint_id, metric, number, weight in cursor.fetchall():
            found[endpoint_id, metric][number] = float(weight)
    return found


def _row(
    endpoint_id: int, counts: _Counts, bins: Mapping[tuple[int, str], Bins], form: _Form
) -> StatsRow:
    ttft, speed = bins.get((endpoint_id, "ttft"), {}), bins.get((endpoint_id, "speed"), {})
    return StatsRow(
        endpoint_id=endpoint_id,
        n=counts.n,
        weight=counts.weight,
        ttft_p50_ms=weighted_quantile(ttft, 0.50),
        ttft_p95_ms=weighted_quantile(ttft, 0.95),
        speed_p50_tps=weighted_quantile(speed, 0.50),
        speed_p95_tps=weighted_quantile(speed, 0.05),  # the speed that 95 of 100 reach
        success_rate=counts.ok / counts.judged if counts.judged else None,
        cached_share=counts.cached_share,
        valid_share=form.sound / form.weight if form.weight else None,
        valid_n=form.n,
        valid_weight=form.weight,
        window_hours=WINDOW_HOURS,
    )
