"""What most pages share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from analytics import queries
from analytics.queries.types import EVERYTHING, Filters, Measurement, Period
from dashboard.forms import FilterChoices, FilterForm

Crumb = tuple[str, str]  # label and address; no address for the page itself


def page(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    *,
    crumbs: Sequence[Crumb] = (),
) -> HttpResponse:
    """A page of figures: its foot says how fresh they are, for two queries."""
    fresh = {"freshness": queries.freshness()}
    return plain_page(request, template, {**fresh, **context}, crumbs=crumbs)


def plain_page(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    *,
    crumbs: Sequence[Crumb] = (),
    status: int = 200,
) -> HttpResponse:
    return render(request, template, {"crumbs": crumbs, **context}, status=status)


def now() -> dt.datetime:
    return timezone.now()


def period_form(request: HttpRequest) -> FilterForm:
    """A bar with nothing but a window: for pages about the hub's own measurements."""
    form = FilterForm(request.GET, FilterChoices(), now())
    for name in ("outcome", "kind", "surface", "endpoint"):
        form.fields.pop(name, None)
    return form


def measured(period: Period, dimension: Any, **narrower: Any) -> dict[int, Measurement]:
    """How endpoints do is measured over the whole hub: it says nothing of who asked what."""
    return queries.measurements(
        Filters(scope=EVERYTHING, period=period, **narrower), dimension=dimension
    )


def fragment(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """A part of a page, fetched by it."""
    response = render(request, template, context)
    response["Cache-Control"] = "no-store"
    return response
