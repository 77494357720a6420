"""Percentiles from the histograms of the rollups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from django.db import connection

from analytics.histogram import quantile
from analytics.queries.figures import GROUPS, conditions
from analytics.queries.types import Filters, Quantile

Quantiles = Callable[[float], Quantile | None]


def histograms(filters: Filters, by: str, metrics: list[str]) -> dict[Any, dict[str, Counter[int]]]:
    """Per group and metric the counts of bins. `by` is provider, model, endpoint, day or "" for all."""
    where, params = conditions(filters, latency=True)
    key = BY[by]
    query = (
        f"SELECT {key} AS k, c.metric, c.bin, sum(c.n) FROM latency_cell c"  # noqa: S608
        " LEFT JOIN routing_endpoint e ON e.id = c.endpoint_id"
        f" WHERE {where} AND c.metric = ANY(%(metrics)s) GROUP BY 1, 2, 3"
    )
    found: dict[Any, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    with connection.cursor() as cursor:
        cursor.execute(query, {**params, "metrics": metrics})
        for group, metric, number, n in cursor.fetchall():
            found[group][metric][number] += int(n)
    return found


BY = {
    "": "0",
    "provider": GROUPS["provider"],
    "endpoint": GROUPS["endpoint"],
    "model": "coalesce(e.model_id, 0)",
    "day": GROUPS["day"],
}


def request_ttft(filters: Filters) -> Quantiles:
    """Of requests, from the moment they were received. Nothing when asked per key."""
    if filters.key_id is not None:
        return lambda q: None
    return quantiles_of(histograms(filters, "", ["request_ttft"])[0]["request_ttft"])


def quantiles_of(bins: Counter[int]) -> Quantiles:
    def at(q: float) -> Quantile | None:
        found = quantile(bins, q)
        return None if found is None else Quantile(found.value, found.low, found.high, found.n)

    return at
