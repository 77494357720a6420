from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from analytics.models import ChargeCorrection
from tests.analytics.conftest import Log
from tests.analytics.records import NOON, Told
from tests.analytics.rest.conftest import body_of, problem_of
from tests.analytics.world import World

pytestmark = pytest.mark.django_db
PERIOD = {"start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00Z"}


def test_models_come_with_endpoints_prices_and_stats(world: World, api: APIClient) -> None:
    models = {row["id"]: row for row in body_of(api.get("/api/v1/models"))["data"]}
    endpoints = {row["provider"]: row for row in models["acme/one"]["endpoints"]}
    prices = {row["meter"]: row for row in endpoints["swift"]["prices"]}
    assert Decimal(prices["output"]["unit_price_usd"]) == Decimal("0.60")
    assert prices["output"]["per"] == 1_000_000
    assert endpoints["swift"]["stats"] is None


def test_providers_tell_how_many_endpoints_they_serve(world: World, api: APIClient) -> None:
    rows = {row["slug"]: row for row in body_of(api.get("/api/v1/providers"))["data"]}
    assert (rows["steady"]["endpoints"], rows["swift"]["endpoints"]) == (2, 1)


@pytest.mark.parametrize("path", ["/api/v1/models", "/api/v1/providers"])
def test_what_has_not_changed_is_not_sent_again(world: World, api: APIClient, path: str) -> None:
    first = api.get(path)
    again = api.get(path, HTTP_IF_NONE_MATCH=first["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert api.get(path, HTTP_IF_NONE_MATCH='"other"').status_code == 200


def test_the_log_is_walked_without_loss(busy: World, api: APIClient) -> None:
    seen: list[str] = []
    params: dict[str, Any] = {**PERIOD, "limit": 7}
    while True:
        page = body_of(api.get("/api/v1/requests", params))
        seen += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        params["cursor"] = page["next_cursor"]
    everything = body_of(api.get("/api/v1/requests", {**PERIOD, "limit": 500}))["data"]
    assert seen == [row["id"] for row in everything]
    assert len(seen) > 7


def test_the_log_comes_as_csv_too(busy: World, api: APIClient) -> None:
    response = api.get("/api/v1/requests", {**PERIOD, "format": "csv"})
    header = response.content.decode().splitlines()[0].split(",")
    assert header[:2] == ["id", "received_at"]
    assert "'=Other()" in response.content.decode()


def test_a_receipt_is_whole(world: World, api: APIClient, log: Log) -> None:
    told = Told(NOON, project_id=world.project.pk, key_id=world.key.pk)
    log([told.intent(endpoint_id=world.at_swift.pk), told.finish(), told.done()])
    found = body_of(api.get(f"/api/v1/requests/{told.id}"))
    assert found["id"] == str(told.id)
    assert Decimal(found["cost_usd"]) == Decimal("0.00042")
    (attempt,) = found["attempts"]
    assert sum(Decimal(line["amount_usd"]) for line in attempt["lines"]) == Decimal(
        attempt["cost_usd"]
    )
    assert attempt["provider"] == "swift"
    assert len(found["candidates"]) == 2


def test_a_correction_stands_beside_what_was_recorded(
    world: World, api: APIClient, log: Log
) -> None:
    told = Told(NOON, project_id=world.project.pk)
    log([told.intent(), told.finish(), told.done()])
    ChargeCorrection.objects.create(
        day=NOON.date(),
        request_id=told.id,
        attempt_no=1,
        source="settlement",
        delta_usd=Decimal("-0.00002"),
        cost_status="metered",
    )
    found = body_of(api.get(f"/api/v1/requests/{told.id}/"))
    (attempt,), (correction,) = found["attempts"], found["corrections"]
    recorded, delta = Decimal(attempt["cost_usd"]), Decimal(correction["delta_usd"])
    assert recorded + delta == Decimal(attempt["settled_usd"]) == Decimal(found["cost_usd"])


@pytest.mark.parametrize("name", ["nonsense", "01a2086a", "00000000-0000-0000-0000-000000000000"])
def test_a_receipt_that_is_not_there_is_a_problem(api: APIClient, name: str) -> None:
    problem_of(api.get(f"/api/v1/requests/{name}"), 404)


@pytest.mark.parametrize("path", ["", "nothing", "billing/", "requests/1/2"])
def test_any_other_address_is_a_problem_too(api: APIClient, path: str) -> None:
    problem_of(api.get(f"/api/v1/{path}"), 404)


@pytest.mark.parametrize("path", ["providers", "models", "requests", "billing/usage"])
def test_a_slash_at_the_end_makes_no_difference(api: APIClient, path: str) -> None:
    assert body_of(api.get(f"/api/v1/{path}")).keys() == body_of(api.get(f"/api/v1/{path}/")).keys()


def test_only_reading_is_offered(api: APIClient) -> None:
    problem_of(api.post("/api/v1/requests"), 405)


@pytest.mark.parametrize("path", ["/api/v1/models", "/api/v1/providers", "/api/v1/requests"])
def test_unknown_parameters_are_refused_everywhere(api: APIClient, path: str) -> None:
    problem_of(api.get(path, {"colour": "red"}), 400)


def test_the_schema_is_made_without_a_warning(db: None) -> None:
    GENERATOR_STATS._warn_cache.clear()
    GENERATOR_STATS._error_cache.clear()
    schema = SchemaGenerator().get_schema(request=None, public=True)
    assert not GENERATOR_STATS._warn_cache
    assert not GENERATOR_STATS._error_cache
    paths = {path for path in schema["paths"] if path.startswith("/api/v1/")}
    assert paths == {
        "/api/v1/billing/usage/",
        "/api/v1/models/",
        "/api/v1/providers/",
        "/api/v1/requests/",
        "/api/v1/requests/{request_id}/",
        "/api/v1/routing/explain/",
        "/api/v1/routing/exploration/",
    }
    assert "accessToken" in schema["components"]["securitySchemes"]


def test_the_resources_have_names_to_link_by() -> None:
    assert reverse("rest:billing-usage") == "/api/v1/billing/usage"
    assert reverse("rest:request", args=["x"]) == "/api/v1/requests/x"
