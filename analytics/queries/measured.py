"""What was measured of endpoints, providers and models: over attempts, probes included."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection

from analytics.queries.figures import ALL_KINDS, GROUPS, conditions
from analytics.queries.latency import histograms, quantiles_of
from analytics.queries.totals import share
from analytics.queries.types import Filters, MeasuredBy, Measurement

METRICS = ["ttft", "speed", "e2e"]
JUDGED = ("ok", "provider_error", "rate_limited", "timeout")  # what availability is made of


def measurements(filters: Filters, dimension: MeasuredBy = "endpoint") -> dict[int, Measurement]:
    """By id of the endpoint, provider or model. What was never tried is not in it."""
    filters = replace(filters, kind=filters.kind or ALL_KINDS)
    counts = _counts(filters, dimension)
    latencies = histograms(filters, dimension, METRICS)
    return {key: _measurement(found, latencies.get(key, {})) for key, found in counts.items()}


@dataclass(frozen=True, slots=True)
class _Counts:
    attempts: int
    ok: int
    judged: int
    censored: int
    simulated: int
    last_at: dt.datetime


def _counts(filters: Filters, dimension: str) -> dict[Any, _Counts]:
    where, params = conditions(filters)
    query = f"""
        SELECT {GROUPS[dimension]}, sum(attempts),
            coalesce(sum(attempts) FILTER (WHERE attempt_outcome = 'ok'), 0),
            coalesce(sum(attempts) FILTER (WHERE attempt_outcome = ANY(%(judged)s)), 0),
            sum(censored), coalesce(sum(attempts) FILTER (WHERE simulated), 0),
            max(bucket_start)
        FROM attempt_cell c LEFT JOIN routing_endpoint e ON e.id = c.endpoint_id
        WHERE {where.replace("model_id", "c.model_id")} GROUP BY 1
    """  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(query, {**params, "judged": list(JUDGED)})
        return {
            key: _Counts(int(attempts), int(ok), int(judged), int(censored), int(simulated), last)
            for key, attempts, ok, judged, censored, simulated, last in cursor.fetchall()
        }


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
    )
