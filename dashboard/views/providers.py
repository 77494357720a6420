from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from analytics import queries
from analytics.queries.types import BreakdownRow, Measurement
from dashboard import boards, comparison
from dashboard.access import SIGNED_IN, access
from dashboard.forms import FilterForm
from dashboard.people import person_of
from dashboard.views import common
from routing.selectors import pages as catalog
from routing.selectors.pages import ProviderFacts


@dataclass(frozen=True, slots=True)
class ProviderRow:
    provider: ProviderFacts
    models: int
    measured: Measurement | None
    spend: BreakdownRow | None


@access(SIGNED_IN)
@require_safe
def provider_list(request: HttpRequest) -> HttpResponse:
    form = common.period_form(request)
    models = _live_models(catalog.endpoints(common.now()))
    measurements = common.measured(form.span, "provider")
    scope = person_of(request).spend_scope
    spend = {row.id: row for row in queries.breakdown(form.filters(scope), "provider")}
    rows = [
        ProviderRow(row, models[row.id], measurements.get(row.id), spend.get(row.id))
        for row in catalog.providers()
    ]
    return common.page(
        request,
        "pages/providers.html",
        {
            "rows": sorted(rows, key=lambda row: (not row.models, row.provider.name.lower())),
            "form": form,
            "period": form.span,
            "most_ttft_ms": _most(rows, "ttft_p50"),
            "most_speed_tps": _most(rows, "speed_p50"),
            "least_success": comparison.least_success(row.measured for row in rows),
            "is_simulated": any(row.provider.simulated for row in rows),
        },
    )


def _live_models(endpoints: list[catalog.EndpointFacts]) -> Counter[int]:
    pairs = {(row.provider.id, row.model.id) for row in endpoints if row.is_live}
    return Counter(provider_id for provider_id, _ in pairs)


def _most(rows: list[ProviderRow], name: str) -> float:
    found = [getattr(row.measured, name) for row in rows if row.measured]
    ends = [one.high if one.high is not None else one.value for one in found if one is not None]
    return max(ends, default=0.0)


@access(SIGNED_IN)
@require_safe
def provider_page(request: HttpRequest, slug: str) -> HttpResponse:
    provider = catalog.find_provider(slug)
    if provider is None:
        raise Http404(f"There is no provider “{slug}” in this hub's catalog.")
    form, person = common.period_form(request), person_of(request)
    sort = boards.Sort.parse(request.GET.get("sort", ""), boards.SORTS, "model")
    endpoints = catalog.endpoints_of_provider(provider.id, common.now())
    measurements = common.measured(form.span, "endpoint", provider=provider.slug)
    overall = common.measured(form.span, "provider", provider=provider.slug).get(provider.id)
    asked = replace(form.filters(person.spend_scope), provider=provider.slug)
    return common.page(
        request,
        "pages/provider.html",
        {
            "provider": provider,
            "boards": boards.boards_by_kind(endpoints, measurements, sort),
            "sort": sort,
            "form": form,
            "period": form.span,
            "overall": overall,
            "spend": queries.total(asked),
            "rows_url": _rows_url(provider, form) if person.sees_requests else "",
            "models": len({row.model.id for row in endpoints if row.is_live}),
        },
        crumbs=[("Providers", reverse("providers")), (provider.name, "")],
    )


def _rows_url(provider: ProviderFacts, form: FilterForm) -> str:
    return form.address(reverse("requests"), provider=provider.slug)
