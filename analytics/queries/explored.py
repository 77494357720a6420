"""What it cost to keep endpoints measured, by policy and day.

It is expected cost, worked out while planning: the chance that a request goes elsewhere for that
reason, times what it costs more there.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import DecimalField, QuerySet, Sum
from django.db.models.functions import TruncDate

from analytics.models import PolicyCell
from analytics.queries.figures import PAGE_KINDS
from analytics.queries.types import Period, Scope


@dataclass(frozen=True, slots=True)
class Explored:
    day: dt.date  # UTC
    policy: str
    requests: int
    exploring: int  # those of them some of which go elsewhere, to measure
    extra_usd: Decimal  # below zero where it saved money


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
        )
        .order_by("-day", "policy")
    )
    return [
        Explored(row["day"], row["policy"], row["total"], row["some"], row["usd"]) for row in rows
    ]


def _cells(scope: Scope, period: Period, policy: str) -> QuerySet[PolicyCell]:
    whole = period.snapped()
    cells = PolicyCell.objects.filter(
        bucket_start__gte=whole.start, bucket_start__lt=whole.end, kind__in=PAGE_KINDS
    ).exclude(policy="")
    if scope.project_ids is not None:
        cells = cells.filter(project_id__in=scope.project_ids)
    return cells.filter(policy=policy) if policy else cells
