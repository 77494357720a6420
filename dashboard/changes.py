"""What changed lately, newest first: prices, policies, and providers whose figures truly moved."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.core.cache import cache
from django.urls import reverse

from analytics import queries
from analytics.queries.types import EVERYTHING, Filters, Measurement, Period, floor_to_cell
from dashboard import comparison, formatting, words
from routing.selectors import pages as catalog

PRICE_DAYS = 30
MOST = 8
CACHE_S = 60
_CACHE_KEY = "what-changed"
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Change:
    icon: str
    words: str
    url: str
    at: dt.datetime


def recent(now: dt.datetime) -> list[Change]:
    """The same for everyone, and slow to move: a process works it out once a minute."""
    found: list[Change] | None = cache.get(_CACHE_KEY)
    if found is None:
        found = _read(now)
        cache.set(_CACHE_KEY, found, CACHE_S)
    return found


def _read(now: dt.datetime) -> list[Change]:
    since = now - dt.timedelta(days=PRICE_DAYS)
    found = [
        *(_price(row) for row in catalog.recent_price_changes(now, since, MOST)),
        *(_policy(row) for row in catalog.recent_policy_changes(since, MOST)),
        *_movers(now),
    ]
    return sorted(found, key=lambda change: change.at, reverse=True)[:MOST]


def _price(row: catalog.PriceRow) -> Change:
    before = formatting.unit_price(row.before_usd)
    after = formatting.unit_price(row.unit_price_usd)
    way = "fell" if row.before_usd is None or row.unit_price_usd < row.before_usd else "rose"
    meter = words.word(words.SHORT_METERS, row.meter).lower()
    under = f" ({row.conditions})" if row.conditions else ""
    return Change(
        "spend",
        f"{row.provider} · {row.model}: {meter} price{under} {way} from {before} to {after}",
        reverse("model", args=[row.model_slug]),
        row.effective_from,
    )


def _policy(row: catalog.PolicyChange) -> Change:
    by = f" by {row.changed_by}" if row.changed_by else ""
    return Change(
        "admin",
        f"Policy {row.policy} is now at version {row.version}{by}",
        reverse("policy", args=[row.policy]),
        row.changed_at,
    )


def _movers(now: dt.datetime) -> list[Change]:
    """Providers whose last day lies beyond the day before, intervals and all."""
    end = floor_to_cell(now)
    filters = Filters(scope=EVERYTHING, period=Period(end - 2 * _DAY, end))
    before, today = queries.measured_around(filters, end - _DAY, dimension="provider")
    told = {key: moves(before[key], today[key]) for key in today.keys() & before.keys()}
    if not any(told.values()):
        return []
    return [
        Change("change", f"{row.name}: {move}", reverse("provider", args=[row.slug]), end)
        for row in catalog.providers()
        for move in told.get(row.id, ())
    ]


def moves(before: Measurement, after: Measurement) -> list[str]:
    told = []
    for metric in comparison.METRICS:
        old, new = metric.read(before), metric.read(after)
        if old is None or new is None or (old.low <= new.high and new.low <= old.high):
            continue
        way = "rose" if new.value > old.value else "fell"
        told.append(
            f"{metric.label} {way} from {metric.write(old.value)} to {metric.write(new.value)} "
            "in 24 hours"
        )
    return told
