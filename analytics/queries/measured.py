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
    last_at: dt.datetime
    attempts: int
    ok: int
    judged: int
    censored: int
    simulated: int
    formed: int
    sound: int


def _counts(filters: Filters, dimension: str) -> dict[Any, _Counts]:
    where, params = conditions(filters)
    query = f"""
        SELECT a.key, a.last_at, a.n, a.ok, a.judged, a.censored, a.simulated, f.answers, f.sound
        FROM (
            SELECT {GROUPS[dimension]} AS key, sum(attempts) AS n,
                sum(attempts) FILTER (WHERE attempt_outcome = 'ok') AS ok,
                sum(attempts) FILTER (WHERE attempt_outcome = ANY(%(judged)s)) AS judged,
                sum(censored) AS censored, sum(attempts) FILTER (WHERE simulated) AS simulated,
                max(bucket_start) AS last_at
            FROM attempt_cell c LEFT JOIN routing_endpoint e ON e.id = c.endpoint_id
            WHERE {where.replace("model_id", "c.model_id")} GROUP BY 1
        ) a LEFT JOIN (
            SELECT {_FORM_GROUPS[dimension]} AS key, sum(answers) AS answers, sum(sound) AS sound
            FROM routing_formcell c JOIN routing_endpoint e ON e.id = c.endpoint_id
            WHERE {_of_form(filters)} GROUP BY 1
        ) f ON f.key = a.key
    """  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(query, {**params, "judged": list(JUDGED)})
        return {
            key: _Counts(last_at, *(int(count or 0) for count in counts))
            for key, last_at, *counts in cursor.fetchall()
        }


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
