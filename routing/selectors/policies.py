"""What the pages read of routing policies, in words. Each function is one query."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.db.models import QuerySet

from routing.models import Policy
from routing.services import policies


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    name: str
    description: str
    sentence: str  # what it does
    objective: str
    version: int
    changed_at: dt.datetime
    is_default: bool
    is_archived: bool


def all_policies() -> list[PolicyFacts]:
    """Those in use first, the hub's default before them."""
    found = [_facts(row) for row in _rows()]
    return sorted(found, key=lambda one: (one.is_archived, not one.is_default, one.name))


def find_policy(name: str) -> PolicyFacts | None:
    row = _rows().filter(name=name).first()
    return None if row is None else _facts(row)


def _rows() -> QuerySet[Policy]:
    return Policy.objects.exclude(current=None).select_related("current")


def _facts(row: Policy) -> PolicyFacts:
    current = row.current
    assert current is not None
    return PolicyFacts(
        name=row.name,
        description=row.description,
        sentence=policies.explain(current.document),
        objective=str(current.document.get("objective", "")),
        version=current.version,
        changed_at=current.created_at,
        is_default=row.is_default,
        is_archived=row.archived_at is not None,
    )
