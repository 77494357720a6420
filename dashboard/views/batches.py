"""Batches: a list with how far each is, one with its errors and files, and a way to stop it."""

from __future__ import annotations

import datetime as dt
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from dashboard.access import MAY_SEE_REQUESTS, MAY_SEND, access
from dashboard.people import Person, person_of
from dashboard.views import common
from routing.core.batches import BATCH, parsed_id
from routing.selectors import batches
from routing.selectors.batches import BatchFacts
from routing.services import batches as batch_service

PAGE_SIZE = 50
WINDOWS = ((dt.timedelta(hours=24), "24h"), (dt.timedelta(days=7), "7d"))
LONGEST_WINDOW = "30d"


@access(MAY_SEE_REQUESTS)
@never_cache
@require_safe
def batch_list(request: HttpRequest) -> HttpResponse:
    projects = person_of(request).request_scope.project_ids
    found = batches.batches_of(projects, before=_before(request), limit=PAGE_SIZE + 1)
    rows = found[:PAGE_SIZE]
    return common.plain_page(
        request,
        "pages/batches.html",
        {
            "rows": rows,
            "is_simulated": any(row.simulated for row in rows),
            "next_cursor": rows[-1].name if len(found) > PAGE_SIZE else "",
            "is_first": "after" not in request.GET,
            "base_url": request.build_absolute_uri("/v1"),
        },
    )


def _before(request: HttpRequest) -> UUID | None:
    text = request.GET.get("after", "")
    return _id_of(text) if text else None


@access(MAY_SEE_REQUESTS)
@never_cache
@require_safe
def batch_page(request: HttpRequest, name: str) -> HttpResponse:
    person = person_of(request)
    batch = _found(person, name)
    return common.plain_page(
        request,
        "pages/batch.html",
        {
            "batch": batch,
            "is_simulated": batch.simulated,
            "files": batches.files_of(batch),
            "may_cancel": batch.is_cancellable and _may_cancel(person, batch),
            "requests_url": f"{reverse('requests')}?{urlencode(_requests_of(batch))}",
        },
        crumbs=[("Batches", reverse("batches")), (batch.name, "")],
    )


def _requests_of(batch: BatchFacts) -> dict[str, str]:
    """The window of the log that holds all of its requests, with others of the same key."""
    until = (batch.ended_at or common.now()) + dt.timedelta(minutes=15)
    lasted = until - batch.created_at
    period = next((name for length, name in WINDOWS if lasted <= length), LONGEST_WINDOW)
    asked = {"kind": "batch", "key": str(batch.key_id), "period": period}
    if batch.ended_at is not None:
        asked["until"] = f"{until:%Y-%m-%dT%H:%MZ}"
    return asked


@access(MAY_SEND)
@require_POST
def cancel(request: HttpRequest, name: str) -> HttpResponse:
    person = person_of(request)
    batch = _found(person, name)
    if not _may_cancel(person, batch):
        raise Http404("There is no such batch among those you may cancel.")
    if batch_service.cancel(batch_id=batch.id, project_id=batch.project_id):
        messages.success(
            request, "The batch is being cancelled. Lines that run now come to their end."
        )
    else:
        messages.warning(request, "The batch had ended already: there is nothing to cancel.")
    return redirect("batch", name=batch.name)


def _may_cancel(person: Person, batch: BatchFacts) -> bool:
    return any(project.id == batch.project_id for project in person.sending_projects)


def _found(person: Person, name: str) -> BatchFacts:
    found = batches.batch_of(person.request_scope.project_ids, _id_of(name))
    if found is None:
        raise Http404("There is no such batch, or it is another project's.")
    return found


def _id_of(name: str) -> UUID:
    found = parsed_id(BATCH, name)
    if found is None:
        raise Http404(f"A batch has an id such as {BATCH}0123…, and this is none.")
    return found
