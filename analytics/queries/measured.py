"""What was measured of endpoints, providers and models: over attempts, probes included."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.db import connection

from analytics.queries.figures import ALL_KINDS, GROUPS, conditions
from analytics.queries.latency import BY, quantiles_of
from analytics.queries.totals import share
from analytics.queries.types import Filters, MeasuredBy, Measurement

METRICS = ["ttft", "speed", "e2e"]
Measured = dict[int, Measurement]
JUDGED = ("ok", "provider_error", "rate_limited", "timeout")  # what availability is made of


def measurements(filters: Filters, dimension: MeasuredBy = "endpoint") -> dict[int, Measurement]:
    """By id of the endpoint, provider or model. What was never tried is not in it."""
    return _read(filters, dimension, filters.period.start)[1]


def measured_around(
    filters: Filters, moment: dt.datetime, dimension: MeasuredBy = "endpoint"
) -> tuple[Measured, Measured]:
    """Before and from `moment` on, which is the start of a cell: both at the price of one."""
    return _read(filters, dimension, moment)


@dataclass(frozen=True, slots=True)
class _Counts:
    last_at: dt.datetime
    attempts: int
    ok: int
    judged: int
    censored: int
    simulated: int
    formed: int
    sound: int


def _read(filters: Filters, dimension: str, moment: dt.datetime) -> tuple[Measured, Measured]:
    filters = replace(filters, kind=filters.kind or ALL_KINDS)
    where, params = conditions(filters)
    of_latency, _ = conditions(filters, latency=True)
    query = f"""
        SELECT is_late, key, h.metrics, h.bins, h.counts,
            a.last_at, a.n, a.ok, a.judged, a.censored, a.simulated, f.answers, f.sound
        FROM (
            SELECT {_IS_LATE}, {GROUPS[dimension]} AS key, sum(attempts) AS n,
                sum(attempts) FILTER (WHERE attempt_outcome = 'ok') AS ok,
                sum(attempts) FILTER (WHERE attempt_outcome = ANY(%(judged)s)) AS judged,
                sum(censored) AS censored, sum(attempts) FILTER (WHERE simulated) AS simulated,
                max(bucket_start) AS last_at
            FROM attempt_cell c LEFT JOIN routing_endpoint e ON e.id = c.endpoint_id
            WHERE {where.replace("model_id", "c.model_id")} GROUP BY 1, 2
        ) a LEFT JOIN (
            SELECT {_IS_LATE}, {_FORM_GROUPS[dimension]} AS key,
                sum(answers) AS answers, sum(sound) AS sound
            FROM routing_formcell c JOIN routing_endpoint e ON e.id = c.endpoint_id
            WHERE {_of_form(filters)} GROUP BY 1, 2
        ) f USING (is_late, key) LEFT JOIN (
            SELECT is_late, key, array_agg(metric) AS metrics, array_agg(bin) AS bins,
                array_agg(n) AS counts
            FROM (
                SELECT {_IS_LATE}, {BY[dimension]} AS key, c.metric, c.bin, sum(c.n)::bigint AS n
                FROM latency_cell c LEFT JOIN routing_endpoint e ON e.id = c.endpoint_id
                WHERE {of_latency} AND c.metric = ANY(%(metrics)s) GROUP BY 1, 2, 3, 4
            ) bins GROUP BY 1, 2
        ) h USING (is_late, key)
    """  # noqa: S608
    params |= {"moment": moment, "judged": list(JUDGED), "metrics": METRICS}
    found: tuple[Measured, Measured] = {}, {}
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        for is_late, key, metrics, bins, counts, last_at, *sums in cursor.fetchall():
            counted = _Counts(last_at, *(int(one or 0) for one in sums))
            found[is_late][key] = _measurement(counted, _histograms(metrics, bins, counts))
    return found


_IS_LATE = "c.bucket_start >= %(moment)s AS is_late"


def _histograms(
    metrics: list[str] | None, bins: list[int] | None, counts: list[int] | None
) -> dict[str, Counter[int]]:
    """By metric. None of a group without any latency."""
    found: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for metric, number, n in zip(metrics or (), bins or (), counts or (), strict=True):
        found[metric][number] += n
    return found


_FORM_GROUPS = {"endpoint": "c.endpoint_id", "provider": "e.provider_id", "model": "e.model_id"}


def _of_form(filters: Filters) -> str:
    """It is counted over the whole hub and all kinds of requests: of a part nothing is known."""
    parts = (filters.scope.project_ids, filters.project_id, filters.key_id)
    if any(part is not None for part in parts) or filters.outcome or filters.kind != ALL_KINDS:
        return "false"
    return conditions(filters, latency=True)[0]


def _measurement(counts: _Counts, latency: Mapping[str, Counter[int]]) -> Measurement:
    ttft = latency.get("ttft", Counter())
    seen = sum(ttft.values()) + counts.censored
    return Measurement(
        n=counts.attempts,
        ok=counts.ok,
        success=share(counts.ok, counts.judged),
        ttft_p50=quantiles_of(ttft)(0.50),
        ttft_p95=quantiles_of(ttft)(0.95),
        speed_p50=quantiles_of(latency.get("speed", Counter()))(0.50),
        e2e_p50=quantiles_of(latency.get("e2e", Counter()))(0.50),
        censored_share=counts.censored / seen if seen else None,
        simulated=counts.simulated > 0,
        last_at=counts.last_at,
        form=share(counts.sound, counts.formed),
    )
