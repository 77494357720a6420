"""Mounted at /api/v1/."""

from __future__ import annotations

from django.urls import path, re_path

from analytics.rest import views

app_name = "rest"

urlpatterns = [
    path("billing/usage", views.BillingUsage.as_view(), name="billing-usage"),
    path("providers", views.Providers.as_view(), name="providers"),
    path("models", views.Models.as_view(), name="models"),
    path("requests", views.Requests.as_view(), name="requests"),
    path("requests/<str:request_id>", views.RequestReceipt.as_view(), name="request"),
    re_path(r"^(?P<path>.*)$", views.NothingHere.as_view(), name="nothing"),
]
