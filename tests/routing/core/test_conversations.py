"""Conversations stay where their beginning is cached, as long as that is worth it."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec
import pytest

from routing.core.catalog import Endpoint, Policy, Snapshot
from routing.core.conversations import MOST_KEPT, Conversations
from routing.core.decision import Decision, Plan
from routing.core.errors import FailureClass
from routing.core.health import HealthBook
from routing.core.memo import PlanMemo
from routing.core.policies import Canary, ServiceLevel
from routing.core.pricing import PriceSheet
from routing.core.request import ProviderPreferences
from tests.routing.factories import endpoint, facts, health, moment, policy, price, snapshot, stats

LEVEL = ServiceLevel(ttft_p95_ms=2000.0)


def caching(slug: str, number: int, ttft_ms: float = 400.0, **more: object) -> Endpoint:
    """A cache read costs a tenth."""
    one = endpoint(slug, number, stats=stats(ttft_ms, 90), **more)  # type: ignore[arg-type]
    rows = [*one.prices.rows, price("cache_read", "0.015", 100 + number)]
    return msgspec.structs.replace(one, prices=PriceSheet(rows))


ONE, TWO, THREE = caching("one", 1), caching("two", 2), caching("three", 3)
PLAIN = endpoint("plain", 4, stats=stats(400, 90))  # a cache read costs as much as any input
WORLD = snapshot(ONE, TWO, THREE, PLAIN)


class Hub:
    def __init__(self, rules: Policy | None = None, world: Snapshot = WORLD) -> None:
        self.rules = rules or policy()
        self.world = world
        self.book: HealthBook = health()
        self.memo = PlanMemo()
        self.rng = Random(3)
        self.now = 1000.0

    def plan(self, conversation: str = "c", **wanted: object) -> Plan:
        asked = facts(conversation=conversation, key_id=7, **wanted)
        return self.memo.plan(asked, self.rules, self.world, self.book, moment(self.now), self.rng)

    def answer(self, number: int, conversation: str = "c") -> None:
        asked = facts(conversation=conversation, key_id=7)
        self.book.conversations.note(asked, number, self.now)

    def firsts(self, times: int = 60, conversation: str = "c", **wanted: object) -> set[int]:
        found: set[int] = set()
        for _ in range(times):
            self.now += 0.3  # another plan than the remembered one
            found.add(self.plan(conversation, **wanted).attempts[0].id)
        return found


@pytest.mark.parametrize("home", [1, 2, 3])
def test_a_conversation_stays_where_it_was_answered(home: int) -> None:
    hub = Hub()
    hub.answer(home)
    result = hub.plan()
    assert result.decision.home == home
    assert len({one.id for one in result.attempts}) == len(result.attempts)
    assert hub.firsts() == {home}


def test_the_record_says_where_it_stays_and_others_do_not() -> None:
    hub = Hub()
    hub.answer(2)
    stays, new = hub.plan(), hub.plan(conversation="")
    assert msgspec.json.decode(stays.record, type=Decision) == stays.decision
    assert msgspec.json.decode(stays.record, type=Decision).home == 2
    assert new.decision.home == 0


def test_what_comes_after_its_endpoint_is_drawn_as_ever() -> None:
    hub = Hub()
    hub.answer(2)
    seconds = set()
    for _ in range(200):
        seconds.add(hub.plan().attempts[1].id)
    assert seconds == {1, 3, 4}


def test_processes_that_know_nothing_of_a_conversation_choose_alike() -> None:
    one, two = Hub(), Hub()
    two.rng = Random(99)
    for n in range(40):
        assert one.plan(f"c{n}").attempts == two.plan(f"c{n}").attempts
    spread = Counter(one.plan(f"c{n}").attempts[0].id for n in range(400))
    assert set(spread) == {1, 2, 3, 4}


def test_it_is_free_again_after_its_time() -> None:
    hub = Hub(policy(sticky_s=100.0))
    usual = hub.plan().attempts[0].id
    other = next(n for n in (1, 2, 3) if n != usual)
    hub.answer(other)
    hub.now += 100.0
    assert hub.plan().attempts[0].id == other
    hub.now += 0.5
    assert hub.plan().attempts[0].id == usual


def test_it_does_not_stay_where_cached_input_is_no_cheaper() -> None:
    hub = Hub()
    hub.answer(4)
    assert hub.plan().decision.home == 0


def test_it_leaves_an_endpoint_that_is_out() -> None:
    hub = Hub()
    hub.answer(2)
    for _ in range(5):
        hub.book.on_failure(2, hub.now, FailureClass.TRANSIENT, None)
    assert 2 not in hub.firsts(times=10)


def test_it_leaves_an_endpoint_that_draws_have_turned_away_from() -> None:
    slow = caching("slow", 5, ttft_ms=60_000.0)
    hub = Hub(world=snapshot(ONE, TWO, slow))
    hub.answer(5)
    assert hub.plan().decision.home == 0


def test_it_leaves_an_endpoint_that_misses_the_level() -> None:
    rules, slow = policy(objective="slo-cheapest", slo=LEVEL), caching("slow", 5, ttft_ms=3000.0)
    hub = Hub(rules, snapshot(ONE, TWO, slow))
    hub.answer(5)
    assert hub.plan().decision.home == 0
    hub.answer(2)
    assert hub.firsts() == {2}


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        (policy(sticky_s=0.0), {}),
        (policy(objective="cheapest"), {}),
        (policy(), {"objective": "balanced"}),
        (policy(), {"preferences": ProviderPreferences(order=("one",))}),
        (policy(canary=Canary("one", 0.1)), {}),
    ],
)
def test_it_stays_only_where_nobody_says_otherwise(
    rules: Policy, wanted: dict[str, object]
) -> None:
    hub = Hub(rules)
    hub.answer(2)
    assert hub.plan(**wanted).decision.home == 0


def test_conversations_of_other_keys_and_models_are_others() -> None:
    found = Conversations()
    found.note(facts(conversation="c", key_id=1), 5, 100.0)
    assert found.home_of(facts(conversation="c", key_id=1), 101.0, 10.0) == 5
    assert found.home_of(facts(conversation="c", key_id=2), 101.0, 10.0) == 0
    assert found.home_of(facts(conversation="d", key_id=1), 101.0, 10.0) == 0
    assert found.home_of(facts(conversation="c", key_id=1, model="x"), 101.0, 10.0) == 0


def test_memory_is_bounded_and_the_longest_unused_goes_first() -> None:
    found = Conversations()
    for n in range(MOST_KEPT + 10):
        found.note(facts(conversation=str(n)), 1, float(n))
        found.note(facts(conversation="kept"), 2, float(n))
    assert len(found) == MOST_KEPT
    assert found.home_of(facts(conversation="0"), 0.0, 1e9) == 0
    assert found.home_of(facts(conversation="kept"), 0.0, 1e9) == 2
