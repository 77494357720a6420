from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from analytics.models import RequestLog
from routing.models import AccessToken
from routing.services.tokens import create_access_token, revoke_access_token
from tests.analytics.rest.conftest import ClientOf, body_of, problem_of
from tests.analytics.world import World

pytestmark = pytest.mark.django_db
RESOURCES = ["billing/usage", "providers", "models", "requests", "requests/x"]
NEEDED = {
    "billing/usage": "billing:read",
    "providers": "catalog:read",
    "models": "catalog:read",
    "requests": "requests:read",
}
PERIOD = {"start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00Z"}


@pytest.mark.parametrize("resource", RESOURCES)
def test_nobody_gets_in_without_a_token(db: None, resource: str) -> None:
    response = APIClient().get(f"/api/v1/{resource}")
    problem = problem_of(response, 401)
    assert problem["code"] == "not_authenticated"
    assert "Authorization: Bearer pb_rest_" in problem["detail"]
    assert response["www-authenticate"].startswith("Bearer")


def test_a_wrong_method_is_told_the_right_one(api: APIClient) -> None:
    assert problem_of(api.delete("/api/v1/models"), 405)["detail"] == "It takes GET and HEAD."


@pytest.mark.parametrize(
    "header", ["Bearer nonsense", "Bearer", "Basic dXNlcjpwYXNz", "Bearer pb_live_12345678"]
)
def test_a_wrong_token_is_told_what_to_do(db: None, header: str) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=header)
    assert "access token" in problem_of(client.get("/api/v1/providers"), 401)["detail"]


def test_a_revoked_and_an_expired_token_are_refused(world: World) -> None:
    for end in ("revoke", "expire"):
        token, plaintext = create_access_token(
            organization=world.acme, name="t", scopes=["catalog:read"]
        )
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {plaintext}")
        body_of(client.get("/api/v1/providers"))
        if end == "revoke":
            revoke_access_token(token=token)
        else:
            past = timezone.now() - dt.timedelta(seconds=1)
            AccessToken.objects.filter(pk=token.pk).update(expires_at=past)
        problem_of(client.get("/api/v1/providers"), 401)


@pytest.mark.parametrize("resource", NEEDED)
def test_each_resource_needs_its_own_scope(
    world: World, client_of: ClientOf, resource: str
) -> None:
    needed = NEEDED[resource]
    body_of(client_of(world.acme, needed).get(f"/api/v1/{resource}"))
    others = sorted(set(NEEDED.values()) - {needed})
    refused = problem_of(client_of(world.acme, *others).get(f"/api/v1/{resource}"), 403)
    assert needed in refused["detail"]


def test_an_organization_sees_its_own_alone(busy: World, client_of: ClientOf) -> None:
    ours = body_of(client_of(busy.acme).get("/api/v1/requests", {**PERIOD, "limit": 500}))
    theirs = body_of(client_of(busy.rival).get("/api/v1/requests", {**PERIOD, "limit": 500}))
    assert {row["project"] for row in ours["data"]} == {"Main", "=Other()"}
    assert {row["project"] for row in theirs["data"]} == {"Rival main"}
    assert len(ours["data"]) + len(theirs["data"]) == RequestLog.objects.count()


def test_a_foreign_receipt_is_not_found_like_one_that_never_was(
    busy: World,
    client_of: ClientOf,
) -> None:
    foreign = RequestLog.objects.filter(project_id=busy.rival_project.pk).first()
    assert foreign is not None
    path = f"/api/v1/requests/{foreign.request_id}"
    body_of(client_of(busy.rival).get(path))
    refused = problem_of(client_of(busy.acme).get(path), 404)
    never = str(foreign.request_id)[:-4] + "ffff"
    missing = problem_of(client_of(busy.acme).get(f"/api/v1/requests/{never}"), 404)
    assert refused["detail"].replace(str(foreign.request_id), "") == missing["detail"].replace(
        never, ""
    )


def test_a_foreign_project_or_key_cannot_be_asked_for(busy: World, client_of: ClientOf) -> None:
    client = client_of(busy.rival)
    problem_of(client.get("/api/v1/billing/usage", {"project": "other"}), 400)
    problem_of(client.get("/api/v1/billing/usage", {"key": busy.key.pk}), 400)
    total = body_of(client.get("/api/v1/billing/usage", {**PERIOD, "group_by": "project"}))
    assert [row["project_name"] for row in total["data"]] == ["Rival main"]
