"""Mounted at /api/v1/. Every address works with and without a slash at its end."""

from __future__ import annotations

from django.urls import re_path

from analytics.rest import exploration, views

app_name = "rest"

urlpatterns = [
    re_path(r"^billing/usage/?$", views.BillingUsage.as_view(), name="billing-usage"),
    re_path(r"^providers/?$", views.Providers.as_view(), name="providers"),
    re_path(r"^models/?$", views.Models.as_view(), name="models"),
    re_path(r"^requests/?$", views.Requests.as_view(), name="requests"),
    re_path(r"^requests/(?P<request_id>[^/]+)/?$", views.RequestReceipt.as_view(), name="request"),
    re_path(
        r"^routing/exploration/?$",
        exploration.RoutingExploration.as_view(),
        name="routing-exploration",
    ),
    re_path(r"^(?P<path>.*)$", views.NothingHere.as_view(), name="nothing"),
]
