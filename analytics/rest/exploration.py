"""What it cost to keep endpoints measured, as a resource."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.queries.explored import exploration
from analytics.queries.types import Period
from analytics.rest.queries import StrictQuery, read
from analytics.rest.serializers import Money
from analytics.rest.views import PROBLEMS, ApiView

MAX_DAYS = 92


class ExplorationQuery(StrictQuery):
    policy = serializers.CharField(
        required=False, default="", help_text="Name of a policy; all by default."
    )
    days = serializers.IntegerField(
        required=False,
        default=7,
        min_value=1,
        max_value=MAX_DAYS,
        help_text="UTC days, today included.",
    )


class ExploredItem(serializers.Serializer[Any]):
    day = serializers.DateField()
    policy = serializers.CharField()
    requests = serializers.IntegerField()
    exploring = serializers.IntegerField(
        help_text="Requests some of which go elsewhere, to keep every endpoint measured."
    )
    explored_share = serializers.FloatField(
        source="share", allow_null=True, help_text="Of the requests, expected to go elsewhere."
    )
    usual_usd = Money(help_text="Expected cost without, of the requests that may explore.")
    extra_usd = Money(help_text="Expected extra cost of that; below zero where it saves money.")


class ExploredList(serializers.Serializer[Any]):
    data = ExploredItem(many=True)  # type: ignore[assignment]


class RoutingExploration(ApiView):
    required_scope = "requests:read"

    @extend_schema(
        operation_id="routing_exploration",
        summary="What it cost to keep endpoints measured",
        tags=["routing"],
        parameters=[ExplorationQuery],
        responses={200: ExploredList, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """The expected cost of exploring endpoints, by policy and UTC day, newest first."""
        found = read(ExplorationQuery, request)
        today = timezone.now().astimezone(dt.UTC).date()
        start = dt.datetime.combine(today - dt.timedelta(days=found["days"] - 1), dt.time(), dt.UTC)
        period = Period(start, start + dt.timedelta(days=found["days"]))
        rows = exploration(self.scope(), period, found["policy"])
        return Response(ExploredList({"data": rows}).data)
