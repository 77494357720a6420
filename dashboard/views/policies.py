"""Routing policies: what they do, and what their exploring costs."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from analytics.queries.explored import exploration, explored_endpoints
from analytics.queries.types import Period, ceil_to_cell
from dashboard import exploring
from dashboard.access import MAY_SEE_SPEND, access
from dashboard.forms import month_start
from dashboard.people import person_of
from dashboard.views import common
from routing.selectors import policies as selectors


@access(MAY_SEE_SPEND)
@require_safe
def policy_list(request: HttpRequest) -> HttpResponse:
    form = common.period_form(request)
    rows = exploration(person_of(request).spend_scope, form.span)
    return common.page(
        request,
        "pages/policies.html",
        {
            "rows": [
                (policy, exploring.spent(row for row in rows if row.policy == policy.name))
                for policy in selectors.all_policies()
            ],
            "form": form,
            "period": form.span,
            "may_edit": request.user.is_staff,
        },
    )


@access(MAY_SEE_SPEND)
@require_safe
def policy_page(request: HttpRequest, name: str) -> HttpResponse:
    policy = selectors.find_policy(name)
    if policy is None:
        raise Http404(f"There is no policy “{name}” in this hub.")
    form, scope = common.period_form(request), person_of(request).spend_scope
    period = form.span
    rows = exploration(scope, period, policy.name)
    sample = explored_endpoints(scope, period, policy.name)
    return common.page(
        request,
        "pages/policy.html",
        {
            "policy": policy,
            "form": form,
            "period": period,
            "spent": exploring.spent(rows),
            "of_month": exploring.spent(exploration(scope, _this_month(), policy.name)),
            "days": rows,
            "sample": sample,
            "is_simulated": any(row.simulated for row in sample.endpoints),
            "may_edit": request.user.is_staff,
            "api_url": f"{reverse('rest:routing-exploration')}?policy={policy.name}",
        },
        crumbs=[("Policies", reverse("policies")), (policy.name, "")],
    )


def _this_month() -> Period:
    now = ceil_to_cell(common.now())
    return Period(month_start(now), now)
