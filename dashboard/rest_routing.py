"""`POST /api/v1/routing/explain`: where a request would go now, and why. Nothing is sent.

It lives up here because it asks the gateway of its own process, with the health that this process
has seen; the other REST resources answer from the database.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from asgiref.sync import async_to_sync
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.parsers import JSONParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics.rest.auth import HasScope, TokenHolder
from analytics.rest.serializers import Money, Problem
from dashboard import runtime
from routing.adapters.base import Headers
from routing.core.catalog import Caller
from routing.core.errors import HubError
from routing.core.explanation import explained
from routing.core.kinds import CHAT, KINDS, TRANSCRIPTION
from routing.core.refusal import NoEndpointLeft
from routing.gateway.dry_run import decide
from routing.gateway.service import Gateway
from routing.models import Project
from routing.surfaces.base import Surface
from routing.surfaces.completions import CompletionsSurface
from routing.surfaces.messages.surface import MessagesSurface
from routing.surfaces.responses import ResponsesSurface

ROUTED_BY = ("x-panelboard-tags", "x-session-id")  # headers that policies look at
DIALECTS: dict[str, type[Surface]] = {
    "messages": MessagesSurface,
    "responses": ResponsesSurface,
    "completions": CompletionsSurface,
}
KIND_OF = {kind.surface: kind.name for kind in KINDS.values() if kind.name != TRANSCRIPTION}
SURFACES = (*KIND_OF, *DIALECTS)


class ExplainedCandidate(serializers.Serializer[Any]):
    endpoint = serializers.CharField()
    endpoint_id = serializers.IntegerField()
    provider = serializers.CharField()
    place = serializers.IntegerField(
        allow_null=True, help_text="1 for the one to be tried first; null when it is not to be."
    )
    estimated_cost_usd = Money()
    ttft_ms = serializers.FloatField(allow_null=True)
    speed_tps = serializers.FloatField(allow_null=True)
    success_rate = serializers.FloatField(allow_null=True)
    samples = serializers.IntegerField()
    valid_rate = serializers.FloatField(
        allow_null=True,
        help_text="Of answers with tool calls or a schema, those of sound form; null where the "
        "request needs none.",
    )
    valid_samples = serializers.IntegerField(allow_null=True)
    score = serializers.FloatField(allow_null=True, help_text="Lower is better.")
    draw_probability = serializers.FloatField(help_text="The chance of being tried first, 0 to 1.")
    exploring_probability = serializers.FloatField(
        help_text="The part of it that is there to keep the endpoint measured."
    )
    excluded = serializers.CharField(allow_null=True, help_text="A stable code.")
    detail = serializers.CharField(allow_null=True)


class ExplainedDecision(serializers.Serializer[Any]):
    policy = serializers.CharField()
    policy_version = serializers.IntegerField()
    rule = serializers.CharField(allow_null=True)
    objective = serializers.CharField()
    model = serializers.CharField()
    input_tokens = serializers.IntegerField(help_text="That the costs are estimated for.")
    output_tokens = serializers.IntegerField()
    order = serializers.ListField(child=serializers.CharField())
    runner_up = serializers.CharField(allow_null=True)
    runner_up_cost_usd = Money(allow_null=True)
    shadow = serializers.CharField(allow_null=True)
    stays_at = serializers.CharField(
        allow_null=True, help_text="Where the conversation is cached, and therefore stays."
    )
    exploration_share = serializers.FloatField(
        help_text="Of such requests, those that go elsewhere to keep endpoints measured, 0 to 1."
    )
    exploration_cost_usd = serializers.CharField(
        help_text="What measuring other endpoints adds to the expected cost; may be below zero."
    )
    snapshot_version = serializers.IntegerField()
    candidates = ExplainedCandidate(many=True)


class ExplainedRefusal(serializers.Serializer[Any]):
    status = serializers.IntegerField()
    code = serializers.CharField()
    message = serializers.CharField()


class Explanation(serializers.Serializer[Any]):
    decision = ExplainedDecision()
    refusal = ExplainedRefusal(
        allow_null=True, help_text="What a client would be told where no endpoint is left."
    )


class NoGateway(APIException):
    status_code = 503
    default_detail = (
        "The gateway of this process has not loaded its configuration yet. Try again in a second."
    )


class Unroutable(APIException):
    """What the gateway itself would answer."""

    def __init__(self, error: HubError) -> None:
        super().__init__(error.message)
        self.status_code = error.status


class Asked(NamedTuple):
    body: dict[str, Any]
    kind: str
    surface: Surface | None
    caller: Caller


class RoutingExplain(APIView):
    permission_classes: list[type[BasePermission]] = [HasScope]
    parser_classes = [JSONParser]
    required_scope = "requests:read"

    @extend_schema(
        operation_id="routing_explain",
        tags=["routing"],
        summary="Plan a request without sending it",
        description=(
            "The body is a request as its client would send it, and may name besides: `surface`, "
            f"one of {', '.join(SURFACES)} (chat, unless said), and `project`, the slug of the "
            "project whose policy applies (needed where the organization has several). The "
            "figures are those of the process that answers. The headers "
            f"{' and '.join(ROUTED_BY)} count as they would on the request itself."
        ),
        request=OpenApiTypes.OBJECT,
        examples=[
            OpenApiExample(
                "a chat request",
                {
                    "model": "openai/gpt-oss-120b:cheapest",
                    "messages": [{"role": "user", "content": "Hello"}],
                    "project": "default",
                },
                request_only=True,
            )
        ],
        responses={
            200: Explanation,
            400: OpenApiResponse(Problem, "Which field is wrong, and why."),
            401: OpenApiResponse(Problem, "No valid access token."),
            403: OpenApiResponse(Problem, "The token lacks the scope requests:read."),
            404: OpenApiResponse(Problem, "No such model, or no such project of yours."),
            503: OpenApiResponse(Problem, "The gateway is not ready yet."),
        },
    )
    def post(self, request: Request) -> Response:
        gateway = runtime.current_gateway()
        if gateway is None or not gateway.snapshot.version:
            raise NoGateway
        asked = _asked(request, gateway)
        try:
            decision, refusal = async_to_sync(decide)(
                gateway,
                asked.caller,
                asked.body,
                _headers(request),
                kind=asked.kind,
                surface=asked.surface,
            )
        except HubError as error:
            raise _as_problem(error) from None
        told = explained(decision, gateway.snapshot.endpoints)
        return Response({"decision": told, "refusal": _refusal(refusal)})


def _asked(request: Request, gateway: Gateway) -> Asked:
    if not isinstance(request.data, dict):
        raise ValidationError({"request": "Send a JSON object: the request to plan."})
    body = dict(request.data)
    surface, slug = body.pop("surface", KINDS[CHAT].surface), body.pop("project", None)
    if surface not in SURFACES:
        raise ValidationError({"surface": f"There are {', '.join(SURFACES)}."})
    dialect = DIALECTS.get(surface)
    return Asked(
        body,
        KIND_OF.get(surface, CHAT),
        None if dialect is None else dialect(),
        _caller(_project(request, slug), gateway),
    )


def _project(request: Request, slug: object) -> Project:
    token = cast("TokenHolder", request.user).token
    rows = Project.objects.filter(organization_id=token.organization_id, archived_at=None)
    known = list(rows.select_related("policy"))
    if slug is None and len(known) == 1:
        return known[0]
    slugs = ", ".join(project.slug for project in known)
    if not isinstance(slug, str):
        raise ValidationError({"project": f"Say whose policy applies, one of: {slugs}."})
    for project in known:
        if project.slug == slug:
            return project
    raise NotFound(f"There is no project {slug[:60]}. There are: {slugs}.")


def _caller(project: Project, gateway: Gateway) -> Caller:
    policy = project.policy
    return Caller(
        key_id=0,
        key_name="",
        project_id=project.pk,
        organization_id=project.organization_id,
        policy=None if policy is None else gateway.snapshot.policies.get(policy.name),
    )


def _headers(request: Request) -> Headers:
    return [
        (name.encode(), request.headers[name].encode("latin-1", "replace"))
        for name in ROUTED_BY
        if name in request.headers
    ]


def _refusal(error: NoEndpointLeft | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"status": error.status, "code": error.code, "message": error.message}


def _as_problem(error: HubError) -> APIException:
    if error.status == 400:
        return ValidationError({error.param or "request": error.message})
    return Unroutable(error)
