"""The resources of /api/v1/. Each view reads its parameters, asks a query and names its scope."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from django.http import Http404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics.queries import month_of, receipt, request_page
from analytics.queries.cursors import BadCursor
from analytics.queries.fresh import last_rollup_at
from analytics.queries.types import Period, Receipt, Scope
from analytics.rest import catalog, serializers, usage
from analytics.rest.auth import HasScope, TokenHolder
from analytics.rest.formats import CsvRenderer, Negotiation, add_etag
from analytics.rest.queries import NoQuery, RequestsQuery, UsageQuery, filters_of, read

PROBLEMS = {
    400: OpenApiResponse(serializers.Problem, "Which parameter is wrong, and why."),
    401: OpenApiResponse(serializers.Problem, "No valid access token."),
    403: OpenApiResponse(serializers.Problem, "The token lacks the scope."),
}
_FORMAT = OpenApiParameter("format", OpenApiTypes.STR, enum=["json", "csv"])
_NOT_FOUND = {404: OpenApiResponse(serializers.Problem, "Not there, or not yours.")}


class ApiView(APIView):
    permission_classes: list[type[BasePermission]] = [HasScope]
    renderer_classes: list[type[BaseRenderer]] = [JSONRenderer]
    content_negotiation_class = Negotiation
    required_scope: str

    def scope(self) -> Scope:
        return cast("TokenHolder", self.request.user).scope


class BillingUsage(ApiView):
    """Requests, tokens and cost over all providers, corrections included."""

    required_scope = "billing:read"
    renderer_classes = [JSONRenderer, CsvRenderer]
    csv_text_columns = frozenset(
        {"provider", "provider_name", "model", "project", "project_name", "key_name"}
    )

    @extend_schema(
        operation_id="billing_usage",
        summary="Requests, tokens and cost by day, provider, model, project or key",
        tags=["billing"],
        parameters=[UsageQuery, _FORMAT],
        responses={
            (200, "application/json"): serializers.UsagePage,
            (200, "text/csv"): OpenApiTypes.STR,
            **PROBLEMS,
        },
    )
    def get(self, request: Request) -> Response:
        """The current UTC month by default. In CSV the cursor is in the header x-next-cursor."""
        found = read(UsageQuery, request)
        filters = filters_of(found, self.scope(), month_of(timezone.now().date()).start)
        group_by, after = found["group_by"], None
        if found["cursor"]:
            period, after = usage.unpack_cursor(found["cursor"], group_by)
            _same_period(period, found)
            filters = replace(filters, period=period)
        rows, last = usage.page(filters, group_by, after, found["limit"])
        cursor = None if last is None else usage.pack_cursor(filters.period, group_by, last)
        body = {
            "data": rows,
            "next_cursor": cursor,
            "has_more": cursor is not None,
            "start": filters.period.start,
            "end": filters.period.end,
            "as_of": last_rollup_at(),
            "currency": usage.CURRENCY,
            "group_by": group_by,
        }
        headers = {"x-next-cursor": cursor} if cursor else {}
        return Response(serializers.UsagePage(body).data, headers=headers)

    def csv_columns(self, page: Mapping[str, Any]) -> list[str]:
        keys = [column for name in page["group_by"] for column in usage.COLUMNS_OF[name]]
        return [*keys, *usage.FIGURE_COLUMNS]


class Requests(ApiView):
    """The log, newest first."""

    required_scope = "requests:read"
    renderer_classes = [JSONRenderer, CsvRenderer]
    csv_text_columns = frozenset(
        {
            "project",
            "key_name",
            "kind",
            "surface",
            "requested_model",
            "model",
            "provider",
            "outcome",
            "error_code",
            "policy",
        }
    )

    @extend_schema(
        operation_id="requests_list",
        summary="The log, newest first",
        tags=["requests"],
        parameters=[RequestsQuery, _FORMAT],
        responses={
            (200, "application/json"): serializers.RequestPage,
            (200, "text/csv"): OpenApiTypes.STR,
            **PROBLEMS,
        },
    )
    def get(self, request: Request) -> Response:
        """The last 24 hours by default."""
        found = read(RequestsQuery, request)
        filters = filters_of(found, self.scope(), timezone.now() - dt.timedelta(days=1))
        page = request_page(filters, found["cursor"], found["limit"])
        body = {
            "data": page.rows,
            "next_cursor": page.next_cursor or None,
            "has_more": bool(page.next_cursor),
        }
        headers = {"x-next-cursor": page.next_cursor} if page.next_cursor else {}
        return Response(serializers.RequestPage(body).data, headers=headers)

    def csv_columns(self, page: Mapping[str, Any]) -> list[str]:
        return list(serializers.RequestItem().fields)


class RequestReceipt(ApiView):
    """One request with its attempts, charge lines and the decision."""

    required_scope = "requests:read"

    @extend_schema(
        operation_id="requests_receipt",
        summary="One request with its attempts, charge lines and decision",
        tags=["requests"],
        parameters=[OpenApiParameter("request_id", OpenApiTypes.UUID, OpenApiParameter.PATH)],
        responses={200: serializers.ReceiptItem, **PROBLEMS, **_NOT_FOUND},
    )
    def get(self, request: Request, request_id: str) -> Response:
        read(NoQuery, request)
        found = receipt(self.scope(), _uuid(request_id))
        if found is None:
            raise Http404(f"There is no request {request_id}.")
        return add_etag(request, Response(serializers.ReceiptItem(_flat(found)).data))


class Providers(ApiView):
    required_scope = "catalog:read"

    @extend_schema(
        operation_id="providers_list",
        summary="All providers",
        tags=["catalog"],
        responses={200: serializers.ProviderList, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """All providers, with how many endpoints they serve."""
        read(NoQuery, request)
        body = serializers.ProviderList({"data": catalog.providers()})
        return add_etag(request, Response(body.data))


class Models(ApiView):
    required_scope = "catalog:read"

    @extend_schema(
        operation_id="models_list",
        summary="All models with endpoints, prices and measurements",
        tags=["catalog"],
        responses={200: serializers.ModelList, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """All models with their endpoints, prices in force and measured stats."""
        read(NoQuery, request)
        body = serializers.ModelList({"data": catalog.models(timezone.now())})
        return add_etag(request, Response(body.data))


class NothingHere(APIView):
    """Every other address below /api/v1/: a problem, not a page."""

    permission_classes: list[type[BasePermission]] = []

    @extend_schema(exclude=True)
    def get(self, request: Request, path: str = "") -> Response:
        raise Http404(
            f"There is no resource {path or '/'}: see /api/docs/ for those that there are."
        )

    post = put = patch = delete = get


def _same_period(period: Period, found: Mapping[str, Any]) -> None:
    asked = (found.get("start") or period.start, found.get("end") or period.end)
    if asked != (period.start, period.end):
        raise BadCursor


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Http404(f"There is no request {text}.") from None


def _flat(found: Receipt) -> dict[str, Any]:
    """The request's own fields, and beside them what explains it."""
    row = found.request
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return fields | {
        "overhead_ms": found.overhead_ms,
        "policy_version": found.policy_version,
        "objective": found.objective,
        "rule": found.rule,
        "estimated_input_tokens": found.estimated_input_tokens,
        "estimated_output_tokens": found.estimated_output_tokens,
        "runner_up_cost_usd": found.runner_up_cost_usd,
        "replay_of": found.replay_of,
        "attempts": found.attempts,
        "candidates": found.candidates,
        "corrections": found.corrections,
    }
