"""The list of requests: raw rows by keyset page, newest first, never by offset."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from analytics.queries import cursors
from analytics.queries.figures import PAGE_KINDS, kinds_of
from analytics.queries.labels import Label, labels_of_each
from analytics.queries.types import Filters, Page, RequestRow
from routing.core import replay
from routing.core.ids import utc_day_of
from routing.models import Endpoint

MAX_PAGE = 500
_PURPOSE = "requests"
_DAY = dt.timedelta(days=1)

# From the most to the least certain: a request's cost is as certain as its least certain attempt.
CERTAINTY = ("reconciled", "provider_reported", "metered", "estimated", "unpriced", "disputed")

PIECES = ("images", "pixels", "audio_seconds", "characters", "searches")

_COLUMNS = (
    "request_id, received_at, project_id, key_id, kind, surface, requested_model, model_id,"
    " endpoint_id, outcome, http_status, error_code, attempts, stream, ttft_ms, e2e_ms, simulated,"
    " policy"
)


def request_page(filters: Filters, cursor: str = "", size: int = 50) -> Page:
    """Ties of the clock are broken by the id, so no row is shown twice or left out.

    Raises `cursors.BadCursor`.
    """
    size = min(max(size, 1), MAX_PAGE)
    where, params = _conditions(filters)
    if cursor:
        where.append("(received_at, request_id) < (%(before)s, %(before_id)s)")
        params |= _position(cursor)
    query = (
        f"SELECT {_COLUMNS} FROM request_log WHERE {' AND '.join(where)}"  # noqa: S608
        " ORDER BY received_at DESC, request_id DESC LIMIT %(limit)s"
    )
    with connection.cursor() as db:
        db.execute(query, {**params, "limit": size + 1})
        found = [_Found(*row) for row in db.fetchall()]
    rows = describe(found[:size])
    return Page(rows, _cursor_after(rows[-1]) if len(found) > size else "")


def find_request(request_id: UUID, day: dt.date) -> RequestRow | None:
    with connection.cursor() as db:
        db.execute(
            f"SELECT {_COLUMNS} FROM request_log WHERE day = %s AND request_id = %s",  # noqa: S608
            [day, request_id],
        )
        return next(iter(describe([_Found(*row) for row in db.fetchall()])), None)


@dataclass(frozen=True, slots=True)
class _Found:
    request_id: UUID
    received_at: dt.datetime
    project_id: int
    key_id: int
    kind: str
    surface: str
    requested_model: str
    model_id: int | None
    endpoint_id: int | None
    outcome: str
    http_status: int | None
    error_code: str
    attempts: int
    stream: bool
    ttft_ms: float | None
    e2e_ms: float | None
    simulated: bool
    policy: str


def _conditions(filters: Filters) -> tuple[list[str], dict[str, Any]]:
    start, end = filters.period.start, filters.period.end
    params: dict[str, Any] = {
        "start": start,
        "end": end,
        "first_day": start.date() - _DAY,
        "last_day": end.date() + _DAY,
    }
    where = [
        "day BETWEEN %(first_day)s AND %(last_day)s",
        "received_at >= %(start)s AND received_at < %(end)s",
    ]
    for part, name, value in _wanted(filters):
        if value is not None:
            where.append(part)
            params[name] = value
    return where, params


def _wanted(filters: Filters) -> list[tuple[str, str, Any]]:
    allowed = filters.scope.project_ids
    return [
        (
            "project_id = ANY(%(scope)s)",
            "scope",
            None if allowed is None else sorted(allowed),
        ),
        ("endpoint_id = ANY(%(endpoints)s)", "endpoints", _endpoints_of(filters.provider)),
        (
            "model_id = (SELECT id FROM routing_model WHERE name = %(model)s)",
            "model",
            filters.model or None,
        ),
        ("project_id = %(project)s", "project", filters.project_id),
        ("key_id = %(key)s", "key", filters.key_id),
        ("endpoint_id = %(endpoint)s", "endpoint", filters.endpoint_id),
        ("kind = ANY(%(kinds)s)", "kinds", _kinds_listed(filters.kind)),
        ("outcome = %(outcome)s", "outcome", filters.outcome or None),
        ("surface = %(surface)s", "surface", filters.surface or None),
    ]


def _kinds_listed(kind: str) -> list[str] | None:
    """A list shows replayed answers too, which no sum counts."""
    return kinds_of(kind) if kind else [*PAGE_KINDS, replay.KIND]


def _endpoints_of(provider: str) -> list[int] | None:
    if not provider:
        return None
    return list(Endpoint.objects.filter(provider__slug=provider).values_list("id", flat=True))


def _position(cursor: str) -> dict[str, Any]:
    try:
        instant, request_id = cursors.unpack(_PURPOSE, cursor)
        return {
            "before": dt.datetime.fromisoformat(instant),
            "before_id": UUID(request_id),
        }
    except (TypeError, ValueError):
        raise cursors.BadCursor from None


def _cursor_after(row: RequestRow) -> str:
    return cursors.pack(_PURPOSE, [row.received_at.isoformat(), str(row.request_id)])


# --- what the log has only ids of, and what the attempts add up to --------------------------------


@dataclass(frozen=True, slots=True)
class _Spent:
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal = Decimal(0)
    cost_status: str = ""
    pieces: tuple[int | None, ...] = (None,) * len(PIECES)


_NOTHING = _Spent()

_SPENT = f"""
SELECT a.request_id, sum(a.input_total + coalesce(c.input_delta, 0)),
    sum(a.output_total + coalesce(c.output_delta, 0)),
    sum(a.cost_usd + coalesce(c.delta_usd, 0)),
    array_agg(coalesce(c.cost_status, a.cost_status)),
    {", ".join(f"sum(a.{name})" for name in PIECES)}
FROM attempt a
LEFT JOIN LATERAL (
    SELECT sum(delta_usd) AS delta_usd, sum(input_delta) AS input_delta,
        sum(output_delta) AS output_delta,
        (array_agg(cost_status ORDER BY id DESC))[1] AS cost_status
    FROM charge_correction x
    WHERE x.request_id = a.request_id AND x.attempt_no = a.attempt_no
) c ON true
WHERE a.day = ANY(%s) AND a.request_id = ANY(%s)
GROUP BY a.request_id
"""  # noqa: S608


def describe(found: Sequence[_Found]) -> list[RequestRow]:
    """Three queries for a page, however long."""
    spent = _spent_of([row.request_id for row in found])
    names = labels_of_each(
        {
            "project": (row.project_id for row in found),
            "key": (row.key_id for row in found),
            "model": (row.model_id or 0 for row in found),
        }
    )
    providers = _providers_of({row.endpoint_id for row in found if row.endpoint_id})
    nobody = Label(0, "", "")
    rows: list[RequestRow] = []
    for row in found:
        sums = spent.get(row.request_id, _NOTHING)
        provider = providers.get(row.endpoint_id or 0, nobody)
        rows.append(
            RequestRow(
                request_id=row.request_id,
                received_at=row.received_at,
                project_id=row.project_id,
                project=names["project"][row.project_id].label,
                key_id=row.key_id,
                key=names["key"][row.key_id].label,
                kind=row.kind,
                surface=row.surface,
                requested_model=row.requested_model,
                model=names["model"][row.model_id].label if row.model_id else "",
                provider=provider.slug,
                provider_name=provider.label,
                endpoint_id=row.endpoint_id,
                outcome=row.outcome,
                http_status=row.http_status,
                error_code=row.error_code,
                attempts=row.attempts,
                stream=row.stream,
                ttft_ms=row.ttft_ms,
                e2e_ms=row.e2e_ms,
                input_tokens=sums.input_tokens,
                output_tokens=sums.output_tokens,
                cost_usd=sums.cost_usd,
                cost_status=sums.cost_status,
                simulated=row.simulated,
                policy=row.policy,
                **dict(zip(PIECES, sums.pieces, strict=True)),
            )
        )
    return rows


def _spent_of(request_ids: list[UUID]) -> dict[UUID, _Spent]:
    if not request_ids:
        return {}
    days = sorted({utc_day_of(request_id) for request_id in request_ids})
    with connection.cursor() as db:
        db.execute(_SPENT, [days, request_ids])
        return {
            request_id: _Spent(
                _int(tokens_in),
                _int(tokens_out),
                cost,
                least_certain(statuses),
                tuple(map(_int, pieces)),
            )
            for request_id, tokens_in, tokens_out, cost, statuses, *pieces in db.fetchall()
        }


def least_certain(statuses: Iterable[str]) -> str:
    return max(statuses, key=CERTAINTY.index, default="")


def _providers_of(endpoint_ids: set[int]) -> dict[int, Label]:
    rows = Endpoint.objects.filter(id__in=endpoint_ids).values_list(
        "id", "provider_id", "provider__slug", "provider__name"
    )
    return {endpoint: Label(id_, slug, name) for endpoint, id_, slug, name in rows}


def _int(value: Any) -> int | None:
    return None if value is None else int(value)
