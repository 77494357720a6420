"""What it cost to keep endpoints measured, by policy and day, and at which endpoints.

It is expected cost, worked out while planning: the chance that a request goes elsewhere for that
reason, times what it costs more there.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec
from django.db import connection
from django.db.models import DecimalField, FloatField, QuerySet, Sum
from django.db.models.functions import TruncDate

from analytics.models import PolicyCell
from analytics.queries.figures import PAGE_KINDS
from analytics.queries.types import Period, Scope
from routing.core.decision import Candidate, Decision
from routing.core.pricing import PICO_PER_USD
from routing.models import Endpoint

LATEST_REQUESTS = 5_000  # of all policies: no older decisions are looked at,
LATEST_DECISIONS = 500  # and no more of one policy


@dataclass(frozen=True, slots=True)
class Explored:
    day: dt.date  # UTC
    policy: str
    requests: int
    exploring: int  # those of them some of which go elsewhere, to measure
    extra_usd: Decimal  # below zero where it saved money
    explored: float  # requests that are expected to have gone elsewhere
    usual_usd: Decimal  # expected cost without, of the requests that may explore

    @property
    def share(self) -> float | None:
        return self.explored / self.requests if self.requests else None

    @property
    def added(self) -> float | None:
        """As a share of the expected cost without; None where that is nothing."""
        return float(self.extra_usd / self.usual_usd) if self.usual_usd else None


@dataclass(frozen=True, slots=True)
class ExploredEndpoint:
    endpoint_id: int
    provider: str
    provider_name: str
    model: str
    simulated: bool
    share: float  # of the requests of its model: tried there to keep it measured
    extra_usd: Decimal  # of 1,000 requests


@dataclass(frozen=True, slots=True)
class ExploredSample:
    decisions: int  # looked at
    since: dt.datetime | None
    endpoints: Sequence[ExploredEndpoint]  # where most is explored first


def exploration(scope: Scope, period: Period, policy: str = "") -> list[Explored]:
    """Newest day first. `policy` "" is all of them; requests without a decision are left out."""
    rows = (
        _cells(scope, period, policy)
        .annotate(day=TruncDate("bucket_start", tzinfo=dt.UTC))
        .values("day", "policy")
        .annotate(
            total=Sum("requests"),
            some=Sum("exploring"),
            usd=Sum("exploration_usd", output_field=DecimalField()),
            gone=Sum("explored", output_field=FloatField()),
            usual=Sum("usual_usd", output_field=DecimalField()),
        )
        .order_by("-day", "policy")
    )
    return [
        Explored(
            day=row["day"],
            policy=row["policy"],
            requests=row["total"],
            exploring=row["some"],
            extra_usd=row["usd"],
            explored=row["gone"],
            usual_usd=row["usual"],
        )
        for row in rows
    ]


def _cells(scope: Scope, period: Period, policy: str) -> QuerySet[PolicyCell]:
    whole = period.snapped()
    cells = PolicyCell.objects.filter(
        bucket_start__gte=whole.start, bucket_start__lt=whole.end, kind__in=PAGE_KINDS
    ).exclude(policy="")
    if scope.project_ids is not None:
        cells = cells.filter(project_id__in=scope.project_ids)
    return cells.filter(policy=policy) if policy else cells


# --- by endpoint ------------------------------------------------------------------------------------

_LATEST = """
SELECT received_at, decision::text FROM (
    SELECT received_at, request_id, policy, kind, decision FROM request_log
    WHERE day BETWEEN %(first_day)s AND %(last_day)s
        AND received_at >= %(start)s AND received_at < %(end)s
        AND (%(projects)s::bigint[] IS NULL OR project_id = ANY(%(projects)s))
    ORDER BY received_at DESC, request_id DESC LIMIT %(most_requests)s
) latest
WHERE policy = %(policy)s AND kind = ANY(%(kinds)s) AND decision IS NOT NULL
ORDER BY received_at DESC, request_id DESC LIMIT %(most)s
"""
_read = msgspec.json.Decoder(Decision).decode


def explored_endpoints(scope: Scope, period: Period, policy: str) -> ExploredSample:
    """From the latest decisions themselves: two queries, however long the period is."""
    rows = _latest(scope, period, policy)
    decisions = [_read(text) for _, text in rows]
    return ExploredSample(
        decisions=len(rows),
        since=min((received_at for received_at, _ in rows), default=None),
        endpoints=_named(_summed(decisions)),
    )


def _latest(scope: Scope, period: Period, policy: str) -> list[tuple[dt.datetime, str]]:
    a_day = dt.timedelta(days=1)
    params = {
        "first_day": period.start.date() - a_day,
        "last_day": period.end.date() + a_day,
        "start": period.start,
        "end": period.end,
        "projects": None if scope.project_ids is None else sorted(scope.project_ids),
        "policy": policy,
        "kinds": list(PAGE_KINDS),
        "most_requests": LATEST_REQUESTS,
        "most": LATEST_DECISIONS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_LATEST, params)
        return list(cursor.fetchall())


@dataclass(slots=True)
class _Sum:
    decisions: int = 0
    share: float = 0.0
    extra_pico: float = 0.0


def _summed(decisions: Iterable[Decision]) -> dict[int, _Sum]:
    found: defaultdict[int, _Sum] = defaultdict(_Sum)
    for decision in decisions:
        for candidate in decision.candidates:
            if not candidate.excluded:
                _add(found[candidate.endpoint_id], candidate, decision)
    return found


def _add(total: _Sum, candidate: Candidate, decision: Decision) -> None:
    total.decisions += 1
    total.share += candidate.explored
    total.extra_pico += candidate.explored * (candidate.cost_pico - decision.usual_pico)


def _named(found: dict[int, _Sum]) -> list[ExploredEndpoint]:
    explored = {key: total for key, total in found.items() if total.share > 0}
    endpoints = Endpoint.objects.select_related("provider", "model").in_bulk(list(explored))
    rows = [_row(endpoints[key], total) for key, total in explored.items() if key in endpoints]
    return sorted(rows, key=lambda row: (-row.share, row.provider_name, row.model))


def _row(endpoint: Endpoint, total: _Sum) -> ExploredEndpoint:
    per_request_pico = total.extra_pico / total.decisions
    return ExploredEndpoint(
        endpoint_id=endpoint.pk,
        provider=endpoint.provider.slug,
        provider_name=endpoint.provider.name,
        model=endpoint.model.name,
        simulated=endpoint.provider.is_simulated,
        share=total.share / total.decisions,
        extra_usd=Decimal(round(per_request_pico * 1000)) / PICO_PER_USD,
    )
