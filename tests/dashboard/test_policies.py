"""The policies' pages: what a policy does, and what its exploring costs."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec
import pytest
from django.test import Client

from analytics.models import PolicyCell, RequestLog
from dashboard.exploring import added_words
from routing.core.decision import Candidate, Decision
from routing.models import Endpoint, Policy
from routing.services import policies
from tests.dashboard.conftest import NOW, Enter
from tests.dashboard.world import World


def page_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


@pytest.fixture
def explored(world: World) -> World:
    """Two days of exploring, in the rollup and in the latest decisions."""
    policies.save_policy(name="balanced", document={"objective": "balanced"}, is_default=True)
    PolicyCell.objects.filter(policy="balanced").delete()
    for days in (0, 1):
        PolicyCell.objects.create(
            bucket_start=NOW.replace(minute=0) - dt.timedelta(days=days),
            project_id=world.project.pk,
            kind="traffic",
            policy="balanced",
            requests=1000,
            exploring=900,
            exploration_usd=Decimal("0.02"),
            explored=25.0,
            usual_usd=Decimal(2),
        )
    groq = Endpoint.objects.get(provider__slug="groq", model__name="openai/gpt-oss-120b")
    one = Candidate(groq.pk, 3_000_000, 100.0, 80.0, 1.0, 40, 1.0, 0.03, explored=0.03)
    decision = Decision("balanced", 1, "balanced", "m", (one,), (groq.pk,), 1, usual_pico=1_000_000)
    RequestLog.objects.update(decision=msgspec.to_builtins(decision))
    return world


def test_a_policy_s_page_says_what_it_does_and_what_its_exploring_costs(
    explored: World, enter: Enter
) -> None:
    page = page_of(enter(explored.owner), "/policies/balanced/")
    assert policies.explain({"objective": "balanced"}) in page
    assert "2.50%" in page  # 50 of 2,000 requests
    assert "$0.0400" in page  # added
    assert "1.00% more than without ($4.00)" in page
    assert "$0.0200" in page  # per day
    assert "3.00%" in page  # at Groq
    assert "Groq" in page
    assert "$0.00006" in page  # 1,000 x 0.03 x 2 millionths


def test_the_list_has_every_policy_with_its_share_and_cost(explored: World, enter: Enter) -> None:
    policies.save_policy(name="thrifty", document={"objective": "cheapest"})
    page = page_of(enter(explored.owner), "/policies/")
    assert page.index(">balanced</a>") < page.index(">thrifty</a>")
    assert "1.00% more than without" in page


def test_the_list_and_the_page_count_the_same_requests(explored: World, enter: Enter) -> None:
    PolicyCell.objects.create(
        bucket_start=NOW.replace(hour=1, minute=0) - dt.timedelta(days=7),  # before the window
        project_id=explored.project.pk,
        kind="traffic",
        policy="balanced",
        requests=333,
        exploring=0,
        exploration_usd=0,
    )
    owner = enter(explored.owner)
    assert ">2,000</td>" in page_of(owner, "/policies/")
    assert "of 2,000 requests" in page_of(owner, "/policies/balanced/")


def test_days_on_which_nothing_could_be_explored_show_no_cost_of_zero(
    explored: World, enter: Enter
) -> None:
    PolicyCell.objects.update(explored=0, exploration_usd=0, usual_usd=0)
    assert "$0.00</td>" not in page_of(enter(explored.owner), "/policies/balanced/")


def test_what_was_not_used_says_so_instead_of_zero(world: World, enter: Enter) -> None:
    policies.save_policy(name="thrifty", document={"objective": "cheapest"})
    page = page_of(enter(world.owner), "/policies/thrifty/")
    assert "No request of yours was routed by it" in page
    assert "Cost added" not in page


def test_others_see_none_of_it(explored: World, enter: Enter) -> None:
    page = page_of(enter(explored.stranger), "/policies/balanced/")
    assert "No request of yours was routed by it" in page
    assert enter(explored.newcomer).get("/policies/").status_code == 403


def test_a_policy_that_does_not_exist_is_not_found(world: World, enter: Enter) -> None:
    assert enter(world.owner).get("/policies/none-such/").status_code == 404


def test_the_admin_leads_to_the_page(explored: World, enter: Enter) -> None:
    policy = Policy.objects.get(name="balanced")
    assert "/policies/balanced/" in page_of(
        enter(explored.admin), f"/admin/routing/policy/{policy.pk}/change/"
    )


def test_exploring_that_saves_money_is_told_as_such() -> None:
    assert added_words(Decimal("-0.01"), Decimal(1)) == "1.00% less than without"
    assert added_words(Decimal("0.01"), Decimal(0)) == ""
