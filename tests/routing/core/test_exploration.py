"""Requests that go elsewhere to keep endpoints measured: how many, and what they may cost."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.catalog import Policy, Snapshot
from routing.core.decision import Plan
from routing.core.exploration import LEAST_NEED, SEEN_LATELY, mixed, need, spread
from routing.core.health import HealthBook
from routing.core.measures import Numbers
from routing.core.peers import ENOUGH, numbers_among_peers
from routing.core.plan import plan
from routing.core.policies import Exploration, ServiceLevel
from routing.core.request import ProviderPreferences
from tests.routing.factories import endpoint, facts, health, moment, policy, snapshot, stats

LEVEL = ServiceLevel(ttft_p95_ms=2000.0)
CHEAP = endpoint("cheap", 1, ("0.10", "0.40"), stats=stats(400, 90))
MIDDLE = endpoint("middle", 2, ("0.12", "0.45"), stats=stats(420, 95))
DEAR = endpoint("dear", 3, ("4.00", "16.00"), stats=stats(300, 100))
WORLD = snapshot(CHEAP, MIDDLE, DEAR)
BY_LEVEL = policy(objective="slo-cheapest", slo=LEVEL)


def planned(
    rules: Policy = BY_LEVEL,
    world: Snapshot = WORLD,
    book: HealthBook | None = None,
    seed: int = 0,
    **wanted: object,
) -> Plan:
    return plan(facts(**wanted), rules, world, book or health(), moment(), Random(seed))


def shares(result: Plan) -> dict[int, float]:
    return {one.endpoint_id: one.share for one in result.decision.candidates}


def test_a_few_requests_try_another_endpoint_first_and_the_usual_order_after_it() -> None:
    results = [planned(seed=seed) for seed in range(2000)]
    firsts = Counter(result.attempts[0].id for result in results)
    expected = shares(results[0])
    assert expected[2] == pytest.approx(0.01)
    for number, share in expected.items():
        assert firsts[number] / 2000 == pytest.approx(share, abs=0.01)
    orders = {tuple(one.id for one in result.attempts) for result in results}
    assert orders <= {(1, 2, 3), (2, 1, 3), (3, 1, 2)}


def test_a_dear_endpoint_is_tried_so_seldom_that_the_cost_stays_bounded() -> None:
    result = planned()
    costs = {one.endpoint_id: one.cost_pico for one in result.decision.candidates}
    extra = sum(shares(result)[n] * (costs[n] - costs[1]) for n in (2, 3))
    assert 0 < shares(result)[3] < 0.001
    assert result.decision.exploration_pico == pytest.approx(extra, rel=0.01)
    assert result.decision.exploration_pico <= 0.05 * costs[1]


def test_an_endpoint_that_was_seen_lately_needs_hardly_any() -> None:
    book = health()
    for _ in range(20):
        book.on_success(2, moment().monotonic_s, 400.0, 90.0)
    result = planned(book=book)
    assert shares(result)[2] == pytest.approx(0.01 * LEAST_NEED)


@pytest.mark.parametrize("objective", ["cheapest", "fastest", "lowest-latency"])
def test_plain_objectives_explore_only_where_the_policy_says_so(objective: str) -> None:
    assert sorted(shares(planned(policy(objective=objective))).values()) == [0.0, 0.0, 1.0]
    wanted = policy(objective=objective, exploration=Exploration(share=0.03, max_extra_cost=9.0))
    assert sorted(shares(planned(wanted)).values()) == pytest.approx([0.03, 0.03, 0.94])


def test_it_can_be_switched_off() -> None:
    off = Exploration(share=0.0)
    level = planned(policy(objective="slo-cheapest", slo=LEVEL, exploration=off))
    assert shares(level) == {1: 1.0, 2: 0.0, 3: 0.0}
    assert level.decision.exploration_pico == 0
    assert min(shares(planned(policy(exploration=off))).values()) < 0.002  # its own share


@pytest.mark.parametrize(
    "wanted",
    [
        {"objective": "slo-cheapest"},
        {"preferences": ProviderPreferences(order=("middle",))},
        {"preferences": ProviderPreferences(preferred_max_latency=1.0)},
    ],
)
def test_a_request_that_says_what_it_wants_is_not_used_for_exploring(
    wanted: dict[str, object],
) -> None:
    assert planned(**wanted).decision.exploration_pico == 0
    assert {planned(seed=seed, **wanted).attempts[0].id for seed in range(300)} <= {1, 2}
    assert len({planned(seed=seed, **wanted).attempts[0].id for seed in range(300)}) == 1


def test_only_the_model_that_was_asked_for_is_explored() -> None:
    other = endpoint("other", 4, of=planned().attempts[0].model)
    assert planned(world=snapshot(CHEAP, MIDDLE, DEAR, other)).decision.exploration_pico != 0
    alone = planned(world=snapshot(CHEAP))
    assert alone.decision.exploration_pico == 0
    assert shares(alone) == {1: 1.0}


SHARES = st.lists(st.floats(0.01, 1.0), min_size=2, max_size=8)


@settings(max_examples=150, deadline=None)
@given(SHARES, st.data(), st.floats(0.0, 0.5), st.floats(0.0, 2.0))
def test_exploring_never_adds_more_than_it_may(
    weights: list[float], data: st.DataObject, share: float, most: float
) -> None:
    n = len(weights)
    own = [weight / sum(weights) for weight in weights]
    costs = data.draw(st.lists(st.integers(0, 10**10), min_size=n, max_size=n))
    needs = data.draw(st.lists(st.floats(LEAST_NEED, 1.0), min_size=n, max_size=n))
    found = spread(Exploration(share, most), own, costs, needs)
    usual = sum(a * b for a, b in zip(own, costs, strict=True))
    assert found.extra_cost_pico <= most * usual + 1
    assert all(0.0 <= one <= share + 1e-12 for one in found.shares)
    assert found.total <= 1.0 + 1e-9
    assert sum(mixed(own, found)) == pytest.approx(1.0)


def test_the_need_falls_with_what_was_seen_lately() -> None:
    needs = [need(seen) for seen in (0.0, 1.0, SEEN_LATELY, 1e9)]
    assert needs == pytest.approx([1.0, 1.0 - 1.0 / SEEN_LATELY, LEAST_NEED, LEAST_NEED])


# --- peers ---------------------------------------------------------------------------------------


def numbers(ttft_ms: float | None, weight: float, success: float | None = 1.0) -> Numbers:
    return Numbers(ttft_ms, 50.0, success, int(weight), weight=weight)


def test_a_lone_bad_figure_does_not_condemn_an_endpoint() -> None:
    found = numbers_among_peers([numbers(400.0, 30), numbers(500.0, 30), numbers(9000.0, 1, 0.0)])
    assert 400.0 < (found[2].ttft_ms or 0) < 1500.0
    assert 0.7 < (found[2].success_rate or 0) < 1.0


def test_the_more_is_known_of_an_endpoint_the_less_its_peers_say() -> None:
    drawn = [
        numbers_among_peers([numbers(400.0, 50), numbers(4000.0, weight)])[1].ttft_ms
        for weight in (1.0, 3.0, 10.0, ENOUGH)
    ]
    assert drawn == sorted(drawn)  # type: ignore[type-var]
    assert drawn[-1] == 4000.0


def test_what_is_well_known_or_not_known_at_all_stays_as_it_is() -> None:
    known = [numbers(400.0, 30), numbers(None, 0.0, None)]
    assert numbers_among_peers(known) is known
    found = numbers_among_peers([*known, numbers(800.0, 2)])
    assert found[:2] == known


def test_a_plan_reads_the_figures_that_were_drawn_towards_the_peers() -> None:
    """By its single slow answer it would miss the level."""
    rare = endpoint("rare", 4, ("0.05", "0.20"), stats=stats(5000, 80, n=1))
    result = planned(world=snapshot(CHEAP, MIDDLE, rare))
    found = {one.endpoint_id: one for one in result.decision.candidates}
    assert (found[4].ttft_ms or 0) < 1200.0


def test_the_decision_says_which_part_of_a_share_is_exploring_and_what_it_costs_without() -> None:
    cheap = endpoint("cheap", 1, ("0.10", "0.40"), stats=stats(400, 90))
    dear = endpoint("dear", 2, ("0.40", "1.60"), stats=stats(400, 90))
    for objective in ("balanced", "slo-cheapest"):
        rules = policy(objective=objective)
        found = plan(facts(), rules, snapshot(cheap, dear), health(), moment(), Random(1)).decision
        by_id = {one.endpoint_id: one for one in found.candidates}
        assert 0 < by_id[2].explored <= by_id[2].share
        explored = sum(one.explored for one in found.candidates)
        assert found.explored_share == pytest.approx(explored)
        with_exploring = sum(one.share * one.cost_pico for one in found.candidates)
        assert found.usual_pico + found.exploration_pico == pytest.approx(with_exploring, rel=1e-6)
    wished = plan(
        facts(objective="cheapest"), policy(), snapshot(cheap, dear), health(), moment(), Random(1)
    ).decision
    assert (wished.explored_share, wished.usual_pico) == (0.0, 0)
