"""The log: a list by key of time, and one request's receipt."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from analytics import queries
from analytics.queries.types import RequestRow
from dashboard import model_kinds, receipts, snippets
from dashboard.access import MAY_SEE_REQUESTS, access
from dashboard.forms import FilterChoices, FilterForm
from dashboard.people import Person, person_of
from dashboard.views import common
from routing.selectors import pages as catalog
from routing.selectors.projects import ProjectFacts, keys_seen_in

PAGE_SIZE = 50
NEW_SHOWN = 200  # beyond it the button says "200+"


def filter_choices(projects: Sequence[ProjectFacts]) -> FilterChoices:
    """Three queries."""
    return FilterChoices(
        providers=[(row.slug, row.name) for row in catalog.providers()],
        models=[(name, name) for name in catalog.model_names()],
        projects=[(str(row.id), row.name) for row in projects],
        keys=[(str(key), name) for key, name in keys_seen_in(projects)],
    )


def _form(request: HttpRequest, person: Person) -> FilterForm:
    return FilterForm(request.GET, filter_choices(person.request_projects), common.now())


@access(MAY_SEE_REQUESTS)
@require_safe
def request_list(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    form = _form(request, person)
    filters = form.filters(person.request_scope)
    try:
        found = queries.request_page(filters, cursor=request.GET.get("after", ""), size=PAGE_SIZE)
    except queries.BadCursor:
        raise Http404("That page marker is damaged or from another version.") from None
    return common.plain_page(
        request,
        "pages/requests.html",
        {
            "form": form,
            "period": filters.period,
            "rows": found.rows,
            "next_cursor": found.next_cursor,
            "is_first": "after" not in request.GET,
            "new_query": _new_query(request, found.rows),
            "is_simulated": any(row.simulated for row in found.rows),
        },
    )


def _new_query(request: HttpRequest, rows: Sequence[RequestRow]) -> str:
    """What the button of new rows asks with. Empty where there is nothing to be newer than."""
    if not rows or "after" in request.GET:
        return ""
    asked = request.GET.copy()
    asked["since"] = str(rows[0].request_id)
    return "?" + asked.urlencode()


@access(MAY_SEE_REQUESTS)
@require_safe
def new_requests(request: HttpRequest) -> HttpResponse:
    """How many rows came since the page was made: a button, so that no row moves by itself."""
    person = person_of(request)
    try:
        newest = UUID(request.GET.get("since", ""))
    except ValueError:
        raise Http404("`since` must be the id of the newest request shown.") from None
    found = queries.request_page(
        _form(request, person).filters(person.request_scope), size=NEW_SHOWN
    )
    fresh = sum(row.request_id > newest for row in found.rows)
    asked = request.GET.copy()
    del asked["since"]
    return common.fragment(
        request,
        "parts/new_requests.html",
        {
            "fresh": fresh,
            "most": NEW_SHOWN,
            "list_url": f"{reverse('requests')}?{asked.urlencode()}",
        },
    )


@access(MAY_SEE_REQUESTS)
@require_safe
def receipt(request: HttpRequest, request_id: UUID) -> HttpResponse:
    found = queries.receipt(person_of(request).request_scope, request_id)
    if found is None:
        raise Http404("There is no such request, or it is older than the log is kept.")
    return common.plain_page(
        request,
        "pages/receipt.html",
        {
            "receipt": found,
            "row": found.request,
            "writes_text": found.request.surface in model_kinds.WRITES_TEXT,
            "surface": model_kinds.SURFACES.get(found.request.surface),
            "timeline": receipts.timeline(found),
            "candidates": found.candidates,
            "is_simulated": found.request.simulated,
            "curl": snippets.rest(
                request.build_absolute_uri(reverse("rest:request", args=[request_id]))
            ),
        },
        crumbs=[("Requests", reverse("requests")), (str(request_id), "")],
    )
