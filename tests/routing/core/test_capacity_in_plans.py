"""Caps and announced limits as brakes of a plan, also of a remembered one."""

from __future__ import annotations

from random import Random

import pytest

from routing.core.catalog import Snapshot
from routing.core.decision import Exclusion, Plan
from routing.core.errors import FailureClass
from routing.core.health import HEADERS_EVERY_S, HEADERS_WITHOUT_EVERY_S, HealthBook
from routing.core.memo import PlanMemo
from routing.core.plan import NoEndpointLeft
from tests.routing.factories import endpoint, facts, health, moment, policy, snapshot, stats

CHEAP = endpoint("cheap", 1, ("0.05", "0.20"), stats=stats(900, 40))
DEAR = endpoint("dear", 2, ("0.35", "0.75"), stats=stats(200, 1500))
WORLD = snapshot(CHEAP, DEAR)
WALL = 1_795_435_200.0


class Hub:
    def __init__(self, world: Snapshot = WORLD) -> None:
        self.world = world
        self.book: HealthBook = health()
        self.memo = PlanMemo()
        self.rng = Random(3)
        self.now = 1000.0

    def plan(self, **wanted: object) -> Plan:
        rules = policy(objective="cheapest")
        return self.memo.plan(
            facts(**wanted), rules, self.world, self.book, moment(self.now), self.rng
        )

    def first(self) -> str:
        return self.plan().attempts[0].provider.slug

    def send(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.book.on_start(1, self.now)

    def answer(self, times: int = 1) -> None:
        for _ in range(times):
            self.book.on_success(1, self.now, 500.0, 50.0)

    def refuse(self, retry_after_s: float | None = None) -> None:
        self.book.on_failure(1, self.now, FailureClass.CAPACITY, retry_after_s)

    def per_s(self) -> float:
        capacity = self.book.of(1).capacity
        assert capacity is not None
        assert capacity.learned is not None
        return capacity.learned.per_s

    def let_pass(self, seconds: float, per_s: float) -> None:
        """Traffic that the cheap endpoint answers."""
        for _ in range(int(seconds * per_s)):
            self.now += 1.0 / per_s
            self.plan()
            self.send()
            self.answer()


def capped_hub() -> Hub:
    """Refused at 4 requests a second, and past the cool-down that followed."""
    hub = Hub()
    hub.let_pass(30.0, per_s=4.0)
    hub.refuse()
    hub.now += 6.0
    return hub


def test_the_cap_begins_below_what_was_seen_to_be_too_much() -> None:
    assert 2.0 < capped_hub().per_s() < 4.0


def test_above_its_cap_an_endpoint_is_braked_and_stays_the_last_resort() -> None:
    hub = capped_hub()
    assert hub.first() == "cheap"
    hub.send(8)
    result = hub.plan()
    assert [one.provider.slug for one in result.attempts] == ["dear", "cheap"]
    found = {one.endpoint_id: one for one in result.decision.candidates}
    assert found[1].excluded == Exclusion.CAPACITY_CAP
    assert "requests/s" in found[1].detail


def test_a_remembered_plan_ends_when_the_cap_closes_and_when_it_opens_again() -> None:
    hub = capped_hub()
    assert hub.first() == "cheap"
    hub.send(8)
    assert hub.first() == "dear"
    capacity = hub.book.of(1).capacity
    assert capacity is not None
    hub.now = capacity.closed_until - 0.001
    assert hub.first() == "dear"
    hub.now = capacity.closed_until
    assert hub.first() == "cheap"


def test_where_only_capped_endpoints_are_left_they_are_tried_the_soonest_first() -> None:
    hub = capped_hub()
    hub.send(8)
    alone = hub.plan(pinned_provider="cheap")
    assert [one.provider.slug for one in alone.attempts] == ["cheap"]


def test_a_cap_never_trips_the_breaker_and_counts_in_no_success_rate() -> None:
    hub = capped_hub()
    numbers = hub.book.numbers(CHEAP, hub.now + 2.0)
    assert numbers.success_rate == 1.0
    assert hub.book.of(1).breaker.allows(hub.now)


def test_the_first_429_rests_for_the_usual_time_and_later_ones_shorter() -> None:
    hub = Hub()
    hub.let_pass(30.0, per_s=4.0)
    hub.refuse()
    assert hub.book.of(1).breaker.cooling_until == pytest.approx(hub.now + 5.0)
    hub.now += 10.0
    hub.answer()
    hub.refuse()
    assert hub.book.of(1).breaker.cooling_until == pytest.approx(hub.now + 1.0)
    hub.now += 10.0
    hub.refuse(retry_after_s=17.0)
    assert hub.book.of(1).breaker.cooling_until == pytest.approx(hub.now + 17.0)


def test_a_refusal_before_any_answer_teaches_no_rate() -> None:
    hub = Hub()
    hub.send()
    hub.refuse()
    hub.now += 6.0
    hub.send(20)
    assert hub.first() == "cheap"


def told(remaining: int) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit-limit-requests", b"600"),
        (b"x-ratelimit-remaining-requests", b"%d" % remaining),
        (b"x-ratelimit-reset-requests", b"%ds" % (60 - remaining // 10)),
    ]


def test_a_limit_that_the_headers_announce_is_kept_without_a_429() -> None:
    hub = Hub()
    hub.send()
    hub.book.on_headers(1, hub.now, WALL, told(remaining=8))
    assert hub.first() == "cheap"
    hub.send(4)
    result = hub.plan()
    assert result.attempts[0].provider.slug == "dear"
    found = {one.endpoint_id: one for one in result.decision.candidates}
    assert "of 600 requests left" in found[1].detail
    hub.now += 1.0  # ten a second come back
    assert hub.first() == "cheap"


def test_headers_that_tell_of_plenty_leave_no_trace() -> None:
    hub = Hub()
    hub.send()
    hub.book.on_headers(1, hub.now, WALL, told(remaining=500))
    assert hub.book.of(1).capacity is None


def test_headers_are_read_now_and_then_and_seldom_where_there_are_none() -> None:
    hub = Hub()
    assert not hub.book.wants_headers(1, hub.now)  # never asked, nothing to learn
    hub.send()
    assert hub.book.wants_headers(1, hub.now)
    hub.book.on_headers(1, hub.now, WALL, told(remaining=500))
    assert not hub.book.wants_headers(1, hub.now + HEADERS_EVERY_S / 2)
    assert hub.book.wants_headers(1, hub.now + HEADERS_EVERY_S)
    hub.book.on_headers(1, hub.now, WALL, [(b"content-type", b"application/json")])
    assert not hub.book.wants_headers(1, hub.now + HEADERS_WITHOUT_EVERY_S / 2)


def test_when_all_are_resting_after_a_429_the_client_is_still_told_when() -> None:
    hub = capped_hub()
    hub.refuse(retry_after_s=20.0)
    hub.book.on_failure(2, hub.now, FailureClass.CAPACITY, 30.0)
    with pytest.raises(NoEndpointLeft) as caught:
        hub.plan()
    assert caught.value.status == 429
    assert caught.value.retry_after_s == pytest.approx(20.0)
