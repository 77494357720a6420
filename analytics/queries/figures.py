"""The one definition of every sum: pages, exports, bills and tests all call `sums`.

Reads rollups only. Requests are counted where they were answered, tokens and money where an
attempt used them, and both by the outcome of the request: so each breakdown adds up to the whole.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from django.db import connection

from analytics.queries.types import Filters

Key = tuple[Any, ...]
ALL_KINDS = "all"
PAGE_KINDS = ("traffic", "playground", "batch")


@dataclass(frozen=True, slots=True)
class Sums:
    requests: int = 0
    ok: int = 0
    deliverable: int = 0  # without user errors, blocked ones and clients that left early
    rescued: int = 0
    simulated_requests: int = 0
    attempts: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    correction_usd: Decimal = Decimal(0)
    simulated_usd: Decimal = Decimal(0)
    probe_usd: Decimal = Decimal(0)
    shadow_usd: Decimal = Decimal(0)

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, name) + getattr(other, name) for name in FIGURES))


FIGURES = tuple(field.name for field in fields(Sums))
_KINDS: dict[str, Callable[[Any], Any]] = {
    name: Decimal if name.endswith("_usd") else int for name in FIGURES
}

# What a figure is, per table. A figure that a table does not have is zero there.
_OF_REQUESTS = {
    "requests": "requests",
    "ok": "CASE WHEN outcome = 'ok' THEN requests ELSE 0 END",
    "deliverable": (
        "CASE WHEN outcome IN ('user_error', 'blocked') THEN 0 ELSE requests - cancelled_early END"
    ),
    "rescued": "rescued",
    "simulated_requests": "CASE WHEN simulated THEN requests ELSE 0 END",
}
_OF_ATTEMPTS = {
    "attempts": "attempts",
    "input_tokens": "input_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "output_tokens": "output_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "cost_usd": "cost_usd",
    "correction_usd": "correction_usd",
    "simulated_usd": "CASE WHEN simulated THEN cost_usd ELSE 0 END",
    "probe_usd": "CASE WHEN kind = 'probe' THEN cost_usd ELSE 0 END",
    "shadow_usd": "CASE WHEN kind = 'shadow' THEN cost_usd ELSE 0 END",
}
_DIMENSIONS = "bucket_start, project_id, key_id, kind, model_id, endpoint_id, outcome, simulated"

# What to group by: an SQL expression over the cells `c` (and their endpoint `e`).
GROUPS = {
    "provider": "CASE WHEN c.endpoint_id = 0 THEN 0 ELSE coalesce(e.provider_id, -1) END",
    "model": "c.model_id",
    "project": "c.project_id",
    "key": "c.key_id",
    "endpoint": "c.endpoint_id",
    "outcome": "c.outcome",
    "cost_status": "c.cost_status",
    "hour": "date_bin('1 hour', c.bucket_start, timestamptz '2000-01-01 00:00+00')",
    "day": "date_bin('1 day', c.bucket_start, timestamptz '2000-01-01 00:00+00')",
}


def total(filters: Filters) -> Sums:
    return next(iter(sums(filters).values()), Sums())


def sums(
    filters: Filters,
    by: Sequence[str] = (),
    *,
    after: Key | None = None,
    limit: int | None = None,
) -> dict[Key, Sums]:
    """Sums per group, ordered by the group's key. `by` takes names of GROUPS.

    `after` and `limit` walk the groups by key, for exports.
    """
    keys = [GROUPS[name] for name in by]
    where, params = conditions(filters)
    columns = [f"{key} AS k{n}" for n, key in enumerate(keys)]
    columns += [f"sum({name}) AS {name}" for name in FIGURES]
    query = (
        f"SELECT {', '.join(columns)} FROM ({_both_tables(where)}) c"  # noqa: S608
        " LEFT JOIN routing_endpoint e ON e.id = c.endpoint_id"
    )
    query, params = _grouped(query, keys, params, after, limit)
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        rows = cursor.fetchall()
    return {row[: len(keys)]: _sums(row[len(keys) :]) for row in rows if row[-1] is not None}


def sums_by_each(filters: Filters, names: Sequence[str]) -> dict[str, dict[Any, Sums]]:
    """What `sums` says by each of these names of GROUPS alone, in one reading of the rollups."""
    where, params = conditions(filters)
    columns = [f"{GROUPS[name]} AS k{n}" for n, name in enumerate(names)]
    keys = [f"k{n}" for n in range(len(names))]
    query = (
        f"SELECT {', '.join(f'grouping({key})' for key in keys)}, {', '.join(keys)},"  # noqa: S608
        f" {', '.join(f'sum({name})' for name in FIGURES)}"
        f" FROM (SELECT {', '.join(columns)}, c.* FROM ({_both_tables(where)}) c"
        " LEFT JOIN routing_endpoint e ON e.id = c.endpoint_id) g"
        f" GROUP BY GROUPING SETS ({', '.join(f'({key})' for key in keys)})"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        rows = cursor.fetchall()
    found: dict[str, dict[Any, Sums]] = {name: {} for name in names}
    for row in rows:
        number = row.index(0)  # what it is grouped by is marked with 0, the other keys with 1
        found[names[number]][row[len(names) + number]] = _sums(row[2 * len(names) :])
    return found


def _both_tables(where: str) -> str:
    inner = (
        f"{_cells('request_cell', _OF_REQUESTS)} UNION ALL {_cells('attempt_cell', _OF_ATTEMPTS)}"
    )
    return inner.format(where=where)


def _cells(table: str, figures: dict[str, str]) -> str:
    status = "cost_status" if table == "attempt_cell" else "''"
    columns = ", ".join(f"({figures.get(name, '0')}) AS {name}" for name in FIGURES)
    return f"SELECT {_DIMENSIONS}, {status} AS cost_status, {columns} FROM {table} WHERE {{where}}"  # noqa: S608


def _grouped(
    query: str, keys: list[str], params: dict[str, Any], after: Key | None, limit: int | None
) -> tuple[str, dict[str, Any]]:
    if not keys:
        return query, params
    names = [f"k{n}" for n in range(len(keys))]
    query += f" GROUP BY {', '.join(names)}"
    if after is not None:
        params |= {f"after_{name}": value for name, value in zip(names, after, strict=True)}
        wanted = ", ".join(f"%(after_{name})s" for name in names)
        query = f"SELECT * FROM ({query}) g WHERE ({', '.join(names)}) > ({wanted})"  # noqa: S608
    query += f" ORDER BY {', '.join(names)}"
    if limit is not None:
        query += " LIMIT %(limit)s"
        params["limit"] = limit
    return query, params


def _sums(values: Sequence[Any]) -> Sums:
    named = zip(FIGURES, values, strict=True)
    return Sums(**{name: _KINDS[name](value) for name, value in named})


def conditions(filters: Filters, *, latency: bool = False) -> tuple[str, dict[str, Any]]:
    """WHERE of a cell table. `latency` is for latency_cell, which knows neither key nor model."""
    period = filters.period.snapped()
    parts = ["bucket_start >= %(start)s", "bucket_start < %(end)s"]
    params: dict[str, Any] = {"start": period.start, "end": period.end}
    for part, name, value in _wanted(filters, latency=latency):
        parts.append(part)
        params[name] = value
    return " AND ".join(parts), params


def _wanted(filters: Filters, *, latency: bool) -> list[tuple[str, str, Any]]:
    by_model = _ENDPOINTS_OF_MODEL if latency else _MODEL
    candidates = [
        ("project_id = ANY(%(scope)s)", "scope", _scope(filters)),
        (_ENDPOINTS_OF_PROVIDER, "provider", filters.provider or None),
        (by_model, "model", filters.model or None),
        ("project_id = %(project)s", "project", filters.project_id),
        ("key_id = %(key)s", "key", filters.key_id),
        ("endpoint_id = %(endpoint)s", "endpoint", filters.endpoint_id),
        ("kind = ANY(%(kinds)s)", "kinds", kinds_of(filters.kind)),
        ("outcome = %(outcome)s", "outcome", filters.outcome or None),
    ]
    return [wanted for wanted in candidates if wanted[2] is not None]


_ENDPOINTS_OF_PROVIDER = (
    "endpoint_id IN (SELECT pe.id FROM routing_endpoint pe"
    " JOIN routing_provider p ON p.id = pe.provider_id WHERE p.slug = %(provider)s)"
)
_MODEL = "model_id IN (SELECT id FROM routing_model WHERE name = %(model)s)"
_ENDPOINTS_OF_MODEL = (
    "endpoint_id IN (SELECT me.id FROM routing_endpoint me"
    " JOIN routing_model m ON m.id = me.model_id WHERE m.name = %(model)s)"
)


def _scope(filters: Filters) -> list[int] | None:
    allowed = filters.scope.project_ids
    return None if allowed is None else sorted(allowed)


def kinds_of(kind: str) -> list[str] | None:
    """None for all kinds."""
    if kind == ALL_KINDS:
        return None
    return [kind] if kind else list(PAGE_KINDS)


def day_of(start: dt.datetime) -> dt.date:
    return start.astimezone(dt.UTC).date()
