"""Planning over REST, against a gateway whose providers would answer if they were asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from rest_framework.test import APIClient

from dashboard import runtime
from routing.models import Organization, Project
from routing.services import policies
from routing.services.tokens import create_access_token
from tests.routing.factories import MODEL, policy
from tests.routing.gateway.scripted import Bench

pytestmark = pytest.mark.django_db
URL = "/api/v1/routing/explain"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    runtime.set_gateway(made.gateway)
    yield made
    runtime.set_gateway(None)


@pytest.fixture
def acme(db: None) -> Organization:
    made = Organization.objects.create(slug="acme-routing", name="Acme")
    Project.objects.create(organization=made, slug="main", name="Main")
    return made


def api(organization: Organization, *scopes: str) -> APIClient:
    _, token = create_access_token(
        organization=organization, name="t", scopes=scopes or ["requests:read"]
    )
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def told(response: Any, status: int = 200) -> Any:
    assert response.status_code == status, response.content
    return response.json()


def test_a_plan_names_every_candidate_and_sends_nothing(bench: Bench, acme: Organization) -> None:
    found = told(api(acme).post(URL, BODY, format="json"))
    assert found["refusal"] is None
    assert {one["provider"] for one in found["decision"]["candidates"]} == {"first", "second"}
    assert found["decision"]["runner_up_cost_usd"]
    assert not bench.upstream.requests
    assert not bench.spool.frames


def test_the_projects_own_policy_applies(bench: Bench, acme: Organization) -> None:
    policies.save_policy(name="thrifty", document={"objective": "cheapest"})
    Project.objects.filter(organization=acme).update(
        policy=policies.Policy.objects.get(name="thrifty")
    )
    thrifty = policy("thrifty", objective="cheapest")
    bench.gateway.snapshots.current = msgspec.structs.replace(
        bench.gateway.snapshot, policies={"thrifty": thrifty}
    )
    found = told(api(acme).post(URL, {**BODY, "project": "main"}, format="json"))
    assert (found["decision"]["policy"], found["decision"]["objective"]) == ("thrifty", "cheapest")


def test_what_would_be_refused_says_with_which_error(bench: Bench, acme: Organization) -> None:
    body = {**BODY, "provider": {"max_price": {"completion": 0.01}}}
    found = told(api(acme).post(URL, body, format="json"))
    assert (found["refusal"]["status"], found["refusal"]["code"]) == (404, "no_endpoint")
    assert {one["excluded"] for one in found["decision"]["candidates"]} == {"max_price"}


def test_a_request_in_another_dialect_is_planned_too(bench: Bench, acme: Organization) -> None:
    body = {**BODY, "max_tokens": 7, "surface": "messages"}
    assert told(api(acme).post(URL, body, format="json"))["decision"]["output_tokens"] == 7


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"messages": []}, 400, "model"),
        ({**BODY, "surface": "fax"}, 400, "surface"),
        ({**BODY, "project": 7}, 400, "project"),
        ([1], 400, "request"),
        ({**BODY, "project": "nobody"}, 404, ""),
        ({**BODY, "model": "nobody/none"}, 404, ""),
    ],
)
def test_a_wrong_body_says_what_is_wrong(
    bench: Bench, acme: Organization, body: Any, status: int, field: str
) -> None:
    problem = told(api(acme).post(URL, body, format="json"), status)
    assert problem["detail"]
    assert not field or problem["errors"][0]["field"] == field


def test_another_organizations_project_does_not_exist(bench: Bench, acme: Organization) -> None:
    rival = Organization.objects.create(slug="rival-routing", name="Rival")
    Project.objects.create(organization=rival, slug="secret", name="Secret")
    problem = told(api(acme).post(URL, {**BODY, "project": "secret"}, format="json"), 404)
    assert problem["detail"].endswith("There are: main.")


def test_with_several_projects_one_has_to_be_named(bench: Bench, acme: Organization) -> None:
    Project.objects.create(organization=acme, slug="other", name="Other")
    assert "main, other" in told(api(acme).post(URL, BODY, format="json"), 400)["detail"]
    told(api(acme).post(URL, {**BODY, "project": "other"}, format="json"))


def test_it_needs_the_scope_and_a_gateway(bench: Bench, acme: Organization) -> None:
    assert (
        "requests:read"
        in told(api(acme, "billing:read").post(URL, BODY, format="json"), 403)["detail"]
    )
    told(APIClient().post(URL, BODY, format="json"), 401)
    runtime.set_gateway(None)
    told(api(acme).post(URL, BODY, format="json"), 503)


def test_it_is_described_in_the_schema(acme: Organization) -> None:
    schema = APIClient().get("/api/schema/?format=json").json()
    operation = schema["paths"]["/api/v1/routing/explain/"]["post"]
    assert operation["operationId"] == "routing_explain"
    assert "surface" in operation["description"]
