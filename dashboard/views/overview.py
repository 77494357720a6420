"""The start page: is there something to worry about?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from analytics import queries
from analytics.queries.types import Filters, Period, Scope, ceil_to_cell
from dashboard import changes, snippets
from dashboard.access import SIGNED_IN, access
from dashboard.forms import month_start
from dashboard.people import Person, person_of
from dashboard.views import common
from routing.selectors import pages as catalog
from routing.selectors.projects import has_traffic_key

TREND_DAYS = 14
TOP_ROWS = 5


@dataclass(frozen=True, slots=True)
class Trend:
    """A value per UTC day, oldest first; None where nothing happened."""

    spend: Sequence[float | None]
    requests: Sequence[float | None]
    delivered: Sequence[float | None]
    ttft_p95: Sequence[float | None]


@access(SIGNED_IN)
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    person, now = person_of(request), common.now()
    if not person.sees_spend:
        return common.plain_page(request, "pages/welcome.html", {})
    month = _month_to_date(now)
    filters = Filters(scope=person.spend_scope, period=month)
    headline, parts = queries.headline_and_parts(filters, ["provider", "model"])
    if not headline.requests and not _ever(person.spend_scope, now):
        return _first_run(request, person)
    return common.page(
        request,
        "pages/overview.html",
        {
            "headline": headline,
            "period": month,
            "trend": _trend(person.spend_scope, now),
            "trend_days": TREND_DAYS,
            "changes": changes.recent(now),
            "providers": parts["provider"][:TOP_ROWS],
            "models": parts["model"][:TOP_ROWS],
            "is_simulated": bool(headline.simulated_share),
            "rows_url": f"{reverse('requests')}?period=month" if person.sees_requests else "",
        },
    )


def _month_to_date(now: dt.datetime) -> Period:
    end = ceil_to_cell(now)
    return Period(month_start(end), end)


def _ever(scope: Scope, now: dt.datetime) -> bool:
    """Whether this person's projects asked anything in the last 90 days."""
    period = Period(now - dt.timedelta(days=90), ceil_to_cell(now))
    return queries.headline(Filters(scope=scope, period=period)).requests > 0


def _trend(scope: Scope, now: dt.datetime) -> Trend:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight - dt.timedelta(days=TREND_DAYS - 1)
    days = queries.by_day(Filters(scope=scope, period=Period(start, ceil_to_cell(now))))
    return Trend(
        spend=[float(day.cost_usd) for day in days],
        requests=[day.requests for day in days],
        delivered=[day.delivered.value if day.delivered else None for day in days],
        ttft_p95=[day.ttft_p95.value if day.ttft_p95 else None for day in days],
    )


def _first_run(request: HttpRequest, person: Person) -> HttpResponse:
    providers, models, endpoints = catalog.catalog_counts()
    return common.plain_page(
        request,
        "pages/first_run.html",
        {
            "providers": providers,
            "models": models,
            "endpoints": endpoints,
            "has_key": has_traffic_key(person.spend_projects),
            "curl": snippets.curl(request.build_absolute_uri("/v1"), catalog.some_model()),
            "keys_url": reverse("keys"),
        },
    )
