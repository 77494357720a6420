"""What it cost to keep endpoints measured: from the decisions to the resource."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec
import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from analytics.models import PolicyCell
from analytics.queries import explored
from analytics.queries.explored import exploration, explored_endpoints
from analytics.queries.types import EVERYTHING, Period, Scope
from analytics.rollups import fill
from routing.core.decision import Candidate, Decision, to_json
from tests.analytics.conftest import Log
from tests.analytics.records import Told, decision
from tests.analytics.rest.conftest import ClientOf, body_of, problem_of
from tests.analytics.world import World

pytestmark = pytest.mark.django_db


def decided(pico: int, policy: str = "balanced") -> bytes:
    plain = msgspec.json.decode(decision(), type=Decision)
    more = {"explored_share": 0.25 if pico else 0.0, "usual_pico": 100_000_000}
    return to_json(msgspec.structs.replace(plain, policy=policy, exploration_pico=pico, **more))


def asked(world: World, at: dt.datetime, pico: int | None, **who: object) -> list[object]:
    told = Told(at, project_id=world.project.pk, key_id=world.key.pk, **who)
    record = b"" if pico is None else decided(pico, str(who.get("policy", "balanced")))
    return [told.done(decision=record)]


def test_the_expected_extra_cost_is_summed_by_day_and_policy(world: World, log: Log) -> None:
    today = timezone.now().replace(hour=0, minute=30)
    yesterday = today - dt.timedelta(days=1)
    for at, pico, more in (
        (yesterday, 3_000_000, {}),
        (yesterday, 0, {}),
        (yesterday, -500_000, {}),
        (yesterday, 2_000_000, {"policy": "thrifty"}),
        (today, 1_000_000, {}),
        (today, None, {}),  # refused before anything was decided
    ):
        log(asked(world, at, pico, **more))
    fill.roll_up(today + dt.timedelta(hours=1))
    period = Period(yesterday - dt.timedelta(days=1), today + dt.timedelta(days=1))
    found = [
        (one.day, one.policy, one.requests, one.exploring, one.extra_usd)
        for one in exploration(EVERYTHING, period)
    ]
    assert found == [
        (today.date(), "balanced", 2, 1, Decimal("0.000001")),
        (yesterday.date(), "balanced", 3, 2, Decimal("0.0000025")),
        (yesterday.date(), "thrifty", 1, 1, Decimal("0.000002")),
    ]
    assert [one.policy for one in exploration(EVERYTHING, period, "thrifty")] == ["thrifty"]


def test_exploring_at_the_same_price_is_exploring_too(world: World, log: Log) -> None:
    now = timezone.now()
    told = Told(now, project_id=world.project.pk, key_id=world.key.pk)
    log([told.done(decision=exploring(world, exploration_pico=0))])
    fill.roll_up(now)
    cell = PolicyCell.objects.get()
    assert (cell.exploring, cell.exploration_usd) == (1, 0)


def test_decisions_of_an_older_version_explored_nothing(world: World, log: Log) -> None:
    now = timezone.now()
    old = msgspec.json.encode(msgspec.json.decode(decision())[:7])
    told = Told(now, project_id=world.project.pk, key_id=world.key.pk)
    log([told.done(decision=old)])
    fill.roll_up(now)
    cell = PolicyCell.objects.get()
    assert (cell.requests, cell.exploring, cell.exploration_usd) == (1, 0, 0)


def test_it_is_a_resource_of_the_organization_s_own_projects(
    world: World, log: Log, api: APIClient, client_of: ClientOf
) -> None:
    now = timezone.now()
    log(asked(world, now, 4_000_000))
    fill.roll_up(now)
    body = body_of(api.get("/api/v1/routing/exploration"))
    assert body == {
        "data": [
            {
                "day": now.date().isoformat(),
                "policy": "balanced",
                "requests": 1,
                "exploring": 1,
                "explored_share": 0.25,
                "usual_usd": "0.000100000000",
                "extra_usd": "0.000004000000",
            }
        ]
    }
    rival = client_of(world.rival)
    assert body_of(rival.get("/api/v1/routing/exploration"))["data"] == []
    assert body_of(api.get("/api/v1/routing/exploration?policy=other"))["data"] == []
    assert exploration(Scope(frozenset()), Period(now, now + dt.timedelta(hours=1))) == []


@pytest.mark.parametrize("query", ["days=0", "days=1000", "days=x", "dayz=3"])
def test_a_wrong_parameter_is_named(api: APIClient, query: str) -> None:
    problem = problem_of(api.get(f"/api/v1/routing/exploration?{query}"), 400)
    assert problem["errors"][0]["field"] in ("days", "dayz")


def test_it_needs_the_scope(world: World, client_of: ClientOf) -> None:
    problem_of(client_of(world.acme, "catalog:read").get("/api/v1/routing/exploration"), 403)


def candidate(endpoint_id: int, cost_pico: int, share: float, chance: float) -> Candidate:
    return Candidate(endpoint_id, cost_pico, 100.0, 80.0, 0.99, 40, 1.0, share, explored=chance)


def exploring(world: World, **changes: object) -> bytes:
    """1 in 50 goes to the dear endpoint first; usually the cheap one is asked alone."""
    cheap, dear = world.at_swift.pk, world.at_steady.pk
    candidates = (candidate(cheap, 1_000_000, 0.98, 0.0), candidate(dear, 3_000_000, 0.02, 0.02))
    fields = {
        "candidates": candidates,
        "order": (cheap,),
        "exploration_pico": 40_000,
        "explored_share": 0.02,
        "usual_pico": 1_000_000,
        **changes,
    }
    plain = msgspec.json.decode(decision(), type=Decision)
    return to_json(msgspec.structs.replace(plain, **fields))


def test_shares_and_costs_say_what_exploring_adds_to_what(world: World, log: Log) -> None:
    now = timezone.now()
    for _ in range(50):
        told = Told(now, project_id=world.project.pk)
        log([told.done(decision=exploring(world))])
    fill.roll_up(now)
    day = dt.timedelta(days=1)
    (found,) = exploration(EVERYTHING, Period(now - day, now + day))
    assert found.explored == pytest.approx(1.0)
    assert found.share == pytest.approx(0.02)
    assert (found.extra_usd, found.usual_usd) == (Decimal("0.000002"), Decimal("0.00005"))
    assert found.added == pytest.approx(0.04)


def test_the_latest_decisions_say_where_it_explores(
    world: World, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explored, "LATEST_DECISIONS", 10)
    now = timezone.now()
    old = now - dt.timedelta(hours=2)
    records = [(old, decision())] * 5 + [(now, exploring(world))] * 10
    for at, record in records:
        log([Told(at, project_id=world.project.pk).done(decision=record)])
    day = dt.timedelta(days=1)
    period = Period(now - day, now + day)
    found = explored_endpoints(EVERYTHING, period, "balanced")
    assert found.decisions == 10
    (row,) = found.endpoints  # the other one is not explored
    assert (row.endpoint_id, row.provider) == (world.at_steady.pk, "steady")
    assert row.share == pytest.approx(0.02)
    assert row.extra_usd == Decimal("0.00004")  # 1,000 x 0.02 x 2 millionths
    for scope, policy in ((Scope(frozenset()), "balanced"), (EVERYTHING, "thrifty")):
        assert explored_endpoints(scope, period, policy).decisions == 0
