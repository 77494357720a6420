"""Every address of the web side. `/v1/*`, `/livez`, `/readyz` and `/healthz` are answered before it."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from dashboard.access import PUBLIC, access, guarded_elsewhere
from dashboard.rest_routing import RoutingExplain
from dashboard.views import (
    batches,
    compare,
    errors,
    keys,
    models,
    overview,
    playground,
    policies,
    providers,
    requests,
    session,
    spend,
)

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("login/", session.log_in, name="login"),
    path("logout/", session.log_out, name="logout"),
    path("requests/", requests.request_list, name="requests"),
    path("requests/new/", requests.new_requests, name="new-requests"),
    path("requests/<uuid:request_id>/", requests.receipt, name="receipt"),
    path("batches/", batches.batch_list, name="batches"),
    path("batches/<slug:name>/", batches.batch_page, name="batch"),
    path("batches/<slug:name>/cancel/", batches.cancel, name="cancel-batch"),
    path("models/", models.model_list, name="models"),
    path("models/<slug:slug>/", models.model_page, name="model"),
    path("providers/", providers.provider_list, name="providers"),
    path("providers/<slug:slug>/", providers.provider_page, name="provider"),
    path("policies/", policies.policy_list, name="policies"),
    path("policies/<slug:name>/", policies.policy_page, name="policy"),
    path("compare/", compare.compare, name="compare"),
    path("compare/<str:subjects>/", compare.comparison_page, name="comparison"),
    path("spend/", spend.spend, name="spend"),
    path("spend/bill.csv", spend.spend_csv, name="spend-csv"),
    path("playground/", playground.playground, name="playground"),
    path("playground/stream/", playground.stream, name="playground-stream"),
    path("keys/", keys.keys, name="keys"),
    path("keys/<int:key_id>/revoke/", keys.revoke, name="revoke-key"),
    path("api/schema/", access(PUBLIC)(SpectacularAPIView.as_view()), name="schema"),
    path(
        "api/docs/",
        access(PUBLIC)(SpectacularSwaggerSplitView.as_view(template_name="pages/api_docs.html")),
        name="api-docs",
    ),
    guarded_elsewhere(
        re_path(r"^api/v1/routing/explain/?$", RoutingExplain.as_view(), name="routing-explain"),
        "access tokens and their scopes",
    ),
    guarded_elsewhere(
        path("api/v1/", include("analytics.rest.urls")), "access tokens and their scopes"
    ),
    guarded_elsewhere(path("admin/", admin.site.urls), "the admin asks for staff"),
]

handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.server_error
