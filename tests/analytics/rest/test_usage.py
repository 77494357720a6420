from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from analytics.queries import breakdown, headline, monthly_bill
from analytics.queries.types import Filters, Scope
from analytics.rest.formats import guarded
from tests.analytics.records import NOON
from tests.analytics.rest.conftest import body_of, problem_of
from tests.analytics.stories import DAY
from tests.analytics.world import World

pytestmark = pytest.mark.django_db
USAGE = "/api/v1/billing/usage"
PERIOD = {"start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00Z"}


def scope(world: World) -> Scope:
    return Scope(frozenset({world.project.pk, world.other_project.pk}))


def walk(api: APIClient, **params: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = body_of(
            api.get(USAGE, {**PERIOD, **params, **({"cursor": cursor} if cursor else {})})
        )
        rows += page["data"]
        cursor = page["next_cursor"]
        assert page["has_more"] == bool(cursor)
        if not cursor:
            return rows


@pytest.mark.parametrize(
    "group_by", ["day", "provider", "model", "project", "key", "day,model,key"]
)
def test_the_export_is_the_headline_and_the_bill(
    busy: World, api: APIClient, group_by: str
) -> None:
    rows = walk(api, group_by=group_by, limit=3)
    cost = sum((Decimal(row["cost_usd"]) for row in rows), Decimal(0))
    asked = Filters(scope(busy), DAY, kind="all")
    assert cost == headline(asked).cost_usd
    assert cost == monthly_bill(scope(busy), NOON.date()).total_usd
    assert sum(row["requests"] for row in rows) == headline(asked).requests


def test_the_export_is_the_breakdown(busy: World, api: APIClient) -> None:
    rows = {row["provider"]: row for row in walk(api, group_by="provider")}
    for row in breakdown(Filters(scope(busy), DAY, kind="all"), "provider"):
        assert Decimal(rows[row.slug]["cost_usd"]) == row.cost_usd
        assert rows[row.slug]["requests"] == row.requests


def test_money_is_a_decimal_string_with_its_currency(busy: World, api: APIClient) -> None:
    page = body_of(api.get(USAGE, PERIOD))
    (row,) = page["data"]
    assert isinstance(row["cost_usd"], str)
    assert row["currency"] == page["currency"] == "USD"
    assert row["day"] == "2026-11-20"
    assert page["as_of"] is not None


def test_csv_has_the_same_rows_and_no_formula(busy: World, api: APIClient) -> None:
    response = api.get(USAGE, {**PERIOD, "group_by": "project", "format": "csv"})
    assert response["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert {row["project_name"] for row in rows} == {"Main", "'=Other()"}
    as_json = {row["project"]: row for row in walk(api, group_by="project")}
    assert {row["project"]: row["cost_usd"] for row in rows} == {
        slug: row["cost_usd"] for slug, row in as_json.items()
    }
    assert list(rows[0])[:3] == ["project", "project_name", "requests"]


def test_csv_can_be_asked_for_by_accept_and_walked_by_header(busy: World, api: APIClient) -> None:
    params = {**PERIOD, "group_by": "key", "limit": 1}
    response = api.get(USAGE, params, HTTP_ACCEPT="text/csv")
    following = api.get(
        USAGE, {**params, "cursor": response["x-next-cursor"]}, HTTP_ACCEPT="text/csv"
    )
    assert response.content != following.content
    assert "x-next-cursor" not in following


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_name_that_a_spreadsheet_would_run_is_quoted(text: str) -> None:
    assert guarded(text) == f"'{text}"
    assert guarded("harmless -1") == "harmless -1"


@pytest.mark.parametrize(
    ("params", "field", "says"),
    [
        ({"colour": "red"}, "colour", "Unknown parameter"),
        ({"group_by": "colour"}, "group_by", "colour"),
        ({"group_by": ","}, "group_by", "nothing"),
        ({"start": "yesterday"}, "start", "format"),
        ({"start": "2026-11-20T00:01:00Z"}, "start", "2026-11-20T00:15:00Z"),
        ({"start": "2026-11-21T00:00:00Z", "end": "2026-11-20T00:00:00Z"}, "end", "later"),
        ({"start": "2020-11-21T00:00:00Z", "end": "2026-11-20T00:00:00Z"}, "end", "400 days"),
        ({"limit": "0"}, "limit", "1"),
        ({"limit": "many"}, "limit", "integer"),
        ({"provider": "nobody"}, "provider", "no provider nobody"),
        ({"model": "no/model"}, "model", "no model no/model"),
        ({"project": "nowhere"}, "project", "no project nowhere"),
        ({"key": "999999"}, "key", "no key"),
        ({"kind": "odd"}, "kind", "odd"),
        ({"cursor": "made-up"}, "cursor", "start again"),
    ],
)
def test_a_wrong_parameter_is_named(
    api: APIClient, params: dict[str, str], field: str, says: str
) -> None:
    refused = problem_of(api.get(USAGE, params), 400)
    (error,) = refused["errors"]
    assert error["field"] == field
    assert says in error["message"]


def test_a_cursor_holds_to_its_period_and_grouping(busy: World, api: APIClient) -> None:
    cursor = body_of(api.get(USAGE, {**PERIOD, "group_by": "key", "limit": 1}))["next_cursor"]
    assert body_of(api.get(USAGE, {"group_by": "key", "cursor": cursor}))["end"] == PERIOD["end"]
    problem_of(api.get(USAGE, {"group_by": "model", "cursor": cursor}), 400)
    other = {**PERIOD, "end": "2026-11-20T23:00:00Z", "group_by": "key", "cursor": cursor}
    problem_of(api.get(USAGE, other), 400)


def test_an_unknown_format_is_refused(api: APIClient) -> None:
    assert "json, csv" in problem_of(api.get(USAGE, {"format": "xml"}), 400)["detail"]
    problem_of(api.get(USAGE, HTTP_ACCEPT="application/xml"), 406)


def test_the_month_so_far_is_the_default(api: APIClient) -> None:
    page = body_of(api.get(USAGE))
    assert page["start"].endswith("-01T00:00:00Z")
    assert page["data"] == []
