from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

import pytest

from routing.core.announced import LONGEST_WAIT_S, AnnouncedRoom
from routing.core.capacity import (
    FALL,
    FALL_WHILE_SEARCHING,
    LEAST_PER_S,
    LONGEST_REST_S,
    PLATEAU_REQUESTS,
    Capacity,
    LearnedCap,
)
from routing.core.rate_headers import REQUESTS, TOKENS, Allowance


@dataclass
class Provider:
    """Takes so many requests per second on average, and a burst at once."""

    per_s: float
    burst: float
    level: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.burst

    def take(self, now: float) -> bool:
        self.level = min(self.level + (now - self.at) * self.per_s, self.burst)
        self.at = now
        if self.level < 1.0:
            return False
        self.level -= 1.0
        return True


@dataclass
class Tally:
    taken: int = 0
    refused: int = 0

    @property
    def refused_share(self) -> float:
        return self.refused / (self.taken + self.refused)


def traffic(
    provider: Provider,
    caps: list[Capacity],
    per_s: float,
    start: float,
    end: float,
    seed: int = 1,
) -> Tally:
    """Requests at random; those that no cap lets through go elsewhere."""
    rng, tally = Random(seed), Tally()
    resting = [0.0] * len(caps)
    started: list[list[float]] = [[] for _ in caps]
    ends: list[tuple[float, int, bool]] = []
    now = start
    while (now := now + rng.expovariate(per_s)) < end:
        while ends and ends[0][0] <= now:
            at, n, ok = heappop(ends)
            if ok:
                caps[n].on_success()
                continue
            seen = [one for one in started[n] if one > at - 15.0]
            rest_s = caps[n].on_refusal(at, len(seen) / min(max(at - start, 1.0), 15.0))
            resting[n] = at + (5.0 if rest_s is None else rest_s)
        n = rng.randrange(len(caps))
        if now < resting[n] or not caps[n].is_open(now):
            continue
        started[n].append(now)
        caps[n].take(now)
        ok = provider.take(now)
        tally.taken += ok
        tally.refused += not ok
        heappush(ends, (now + 0.05, n, ok))
    return tally


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize(("per_s", "burst"), [(2.0, 10.0), (2.0, 60.0), (20.0, 60.0)])
def test_a_hidden_limit_is_used_by_95_percent_with_less_than_1_percent_of_429s(
    per_s: float, burst: float, processes: int
) -> None:
    provider, caps = Provider(per_s, burst), [Capacity() for _ in range(processes)]
    length_s = 7200.0 / per_s
    traffic(provider, caps, 2 * per_s, 0.0, length_s / 6, seed=2)  # it is found meanwhile
    tally = traffic(provider, caps, 2 * per_s, length_s / 6, length_s)
    assert tally.taken >= 0.95 * per_s * length_s * 5 / 6
    assert tally.refused_share < 0.01


def test_a_limit_that_is_raised_is_used_soon_and_one_that_is_lowered_is_kept_at_once() -> None:
    provider, caps = Provider(4.0, 10.0), [Capacity()]
    traffic(provider, caps, 12.0, 0.0, 1200.0)
    provider.per_s = 8.0
    traffic(provider, caps, 12.0, 1200.0, 2000.0)
    raised = traffic(provider, caps, 12.0, 2000.0, 2600.0)
    assert raised.taken >= 0.9 * 8.0 * 600.0
    provider.per_s = 4.0
    traffic(provider, caps, 12.0, 2600.0, 2700.0)
    lowered = traffic(provider, caps, 12.0, 2700.0, 3300.0)
    assert lowered.taken >= 0.9 * 4.0 * 600.0
    assert lowered.refused_share < 0.015


def test_the_cap_falls_once_for_refusals_of_the_same_moment() -> None:
    cap = LearnedCap(10.0, 100.0)
    for at in (100.0, 100.1, 100.5):
        cap.on_refusal(at)
    assert cap.per_s == pytest.approx(10.0 * FALL_WHILE_SEARCHING)


def test_it_falls_less_where_it_has_proved_right() -> None:
    cap = proved(LearnedCap(10.0, 0.0))
    before = cap.per_s
    cap.on_refusal(1000.0)
    assert cap.per_s == pytest.approx(before * FALL)


def proved(cap: LearnedCap) -> LearnedCap:
    now = 0.0
    cap.on_refusal(now)
    cap.on_success()
    for _ in range(60):
        now = max(now, cap.closed_until)
        cap.take(now)
    return cap


def test_a_quota_that_is_used_up_rests_the_endpoint_longer_and_longer_and_keeps_the_cap() -> None:
    cap, now, rests = LearnedCap(4.0, 0.0), 0.0, []
    for _ in range(9):
        rests.append(cap.on_refusal(now))
        now += rests[-1] + 1.0
    assert rests == [1, 2, 4, 8, 16, 32, *[LONGEST_REST_S] * 3]
    assert cap.per_s == pytest.approx(4.0 * FALL_WHILE_SEARCHING)
    cap.on_success()
    assert cap.on_refusal(now) == 1.0


def test_a_cap_that_is_not_felt_does_not_rise() -> None:
    cap = LearnedCap(10.0, 0.0)
    cap.on_refusal(0.0)
    fallen = cap.per_s
    for n in range(1, int(2 * PLATEAU_REQUESTS)):
        cap.take(n * 10.0)
    assert cap.per_s <= fallen / FALL_WHILE_SEARCHING


def test_nothing_makes_the_cap_zero() -> None:
    cap = LearnedCap(0.0, 0.0)
    for n in range(100):
        cap.on_success()
        cap.on_refusal(n * 100.0)
    assert cap.per_s == LEAST_PER_S


def test_what_is_announced_keeps_requests_away_before_the_first_429() -> None:
    """100 requests a minute, of which 3 are left: the next but two waits for the bucket."""
    room = AnnouncedRoom()
    assert not room.tell([Allowance(REQUESTS, "r", 100.0, 6.0, 56.4)], 10.0)
    for n in range(3):
        assert not room.take(10.0 + n / 1000)
    assert room.take(10.01)
    assert 10.0 < room.closed_until < 12.0
    assert "of 100 requests left" in room.why


def test_a_limit_in_tokens_counts_what_requests_were_seen_to_use() -> None:
    room, left = AnnouncedRoom(), 60_000.0
    room.tell([Allowance(TOKENS, "t", 60_000.0, left, 0.0)], 0.0)
    for n in range(1, 20):
        room.take(n / 10)
        left -= 3000.0
        if room.tell([Allowance(TOKENS, "t", 60_000.0, left, 60.0 - left / 1000.0)], n / 10 + 0.05):
            break
    assert 0 < left <= 6000.0  # room for one or two more, not for the next dozen
    assert room.closed_until > 1.0


def test_nothing_left_and_no_word_of_when_is_tried_again_after_a_minute() -> None:
    room = AnnouncedRoom()
    assert room.tell([Allowance(REQUESTS, "r", 10.0, 0.0, None)], 5.0)
    assert room.closed_until == 5.0 + LONGEST_WAIT_S


def test_plenty_of_room_is_forgotten_about() -> None:
    capacity = Capacity()
    assert capacity.tell([Allowance(REQUESTS, "r", 10.0, 0.0, 30.0)], 5.0)
    assert not capacity.is_open(6.0)
    assert "announced" in capacity.words(6.0)
    assert capacity.tell([], 6.0)
    assert capacity.is_open(6.0)
    assert not capacity.take(6.0)


def test_a_quota_that_is_used_up_for_a_day_goes_on_resting_the_endpoint() -> None:
    cap = LearnedCap(4.0, 0.0)
    rests = [cap.on_refusal(n * 1.5) for n in range(60_000)]
    assert rests[-1] == LONGEST_REST_S


def test_limits_that_are_told_of_no_more_close_nothing() -> None:
    room = AnnouncedRoom()
    used_up = Allowance(REQUESTS, "day", 100.0, 0.0, 3600.0)
    assert room.tell([used_up], 5.0)
    assert room.tell([Allowance(TOKENS, "minute", 60_000.0, 15_000.0, 45.0)], 6.0)
    assert room.closed_until == 0.0
    for n in range(1000):
        room.tell([Allowance(REQUESTS, f"made-up-{n}", 100.0, 20.0, 60.0)], 7.0)
    assert len(room._limits) == 1
