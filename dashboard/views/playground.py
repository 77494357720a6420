"""One prompt to two to four endpoints, streamed together."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_POST, require_safe

from dashboard import runtime
from dashboard.access import MAY_SEND, access
from dashboard.forms import PlaygroundForm
from dashboard.people import person_of
from dashboard.views import common
from routing.core.kinds import CHAT
from routing.selectors import pages as catalog
from routing.selectors.pages import EndpointFacts
from routing.selectors.projects import ProjectFacts, project
from routing.services import keys as key_service

FEWEST_COLUMNS, MOST_COLUMNS = 2, 4
KEY_KIND = "playground"
SNAPSHOT_WAIT_S = 5.0  # a project's first run makes its key; gateways learn of it by notification
SNAPSHOT_POLL_S = 0.1


# --- the page ---------------------------------------------------------------------------------------


@access(MAY_SEND)
@require_safe
def playground(request: HttpRequest) -> HttpResponse:
    everything = catalog.endpoints(common.now())
    live = [row for row in everything if row.is_live and row.model.kind == CHAT]
    chosen = _chosen(request.GET.getlist("endpoint"), live)
    return common.plain_page(
        request,
        "pages/playground.html",
        {
            "columns": chosen,
            "slots": [*(row.slug for row in chosen), *[""] * (MOST_COLUMNS - len(chosen))],
            "by_model": _by_model(live),
            "projects": person_of(request).sending_projects,
            "is_simulated": any(row.provider.simulated for row in chosen),
            "form": PlaygroundForm(),
        },
    )


def _chosen(asked: Sequence[str], live: Sequence[EndpointFacts]) -> list[EndpointFacts]:
    by_slug = {row.slug: row for row in live}
    found = [by_slug[slug] for slug in dict.fromkeys(asked) if slug in by_slug][:MOST_COLUMNS]
    return found if len(found) >= FEWEST_COLUMNS else _default(live)


def _default(live: Sequence[EndpointFacts]) -> list[EndpointFacts]:
    """The two cheapest endpoints of the model that most providers serve."""
    by_model: dict[int, list[EndpointFacts]] = defaultdict(list)
    for row in live:
        if row.blended_usd:
            by_model[row.model.id].append(row)
    most_served: list[EndpointFacts] = max(by_model.values(), key=len, default=[])
    return sorted(most_served, key=lambda row: (row.blended_usd, row.slug))[:FEWEST_COLUMNS]


def _by_model(live: Sequence[EndpointFacts]) -> list[tuple[str, list[EndpointFacts]]]:
    found: dict[str, list[EndpointFacts]] = defaultdict(list)
    for row in live:
        found[row.model.name].append(row)
    return sorted(found.items())


# --- one column's stream ---------------------------------------------------------------------------------


@access(MAY_SEND)
@require_POST
async def stream(request: HttpRequest) -> HttpResponseBase:
    """Server-sent events of one endpoint's answer; the last one carries its figures."""
    form = PlaygroundForm(_json_object(request.body))
    if not form.is_valid():
        return _refused(400, form.first_error)
    project = _project(person_of(request).sending_projects, form.cleaned_data["project"])
    if project is None:
        return _refused(404, "There is no such project among yours.")
    await sync_to_async(_make_key)(project.id)
    try:
        chunks = await _started(project.id, form.cleaned_data["endpoint_id"], form.request_body)
    except LookupError:
        return _refused(503, "The gateway has not learned of this project yet. Try again shortly.")
    except RuntimeError:
        return _refused(
            503, "No gateway runs in this process. Start the hub with `./panelboard up`."
        )
    return StreamingHttpResponse(
        chunks,
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _refused(status: int, words: str) -> JsonResponse:
    return JsonResponse({"error": {"message": words}}, status=status)


def _project(projects: Sequence[ProjectFacts], asked: int | None) -> ProjectFacts | None:
    if asked is None:
        return projects[0]
    return next((row for row in projects if row.id == asked), None)


def _make_key(project_id: int) -> None:
    key_service.internal_key(project=project(project_id), kind=KEY_KIND)


async def _started(project_id: int, endpoint_id: int, body: dict[str, Any]) -> AsyncIterator[bytes]:
    """Waits for the gateway's snapshot to hold the project's key. Raises LookupError after a while."""
    tries = int(SNAPSHOT_WAIT_S / SNAPSHOT_POLL_S)
    for _ in range(tries):
        try:
            return runtime.playground_stream(project_id, endpoint_id, body)
        except LookupError:
            await asyncio.sleep(SNAPSHOT_POLL_S)
    return runtime.playground_stream(project_id, endpoint_id, body)
