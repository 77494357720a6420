"""Limits hold over all processes together, whoever dies and whichever message is lost."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.limit_pool import LEASE_S, RETURN_S
from routing.core.limits import (
    REQUESTS,
    RUNNING,
    TOKENS,
    WINDOW_S,
    Denied,
    Grant,
    Limit,
    Limits,
    RateLimited,
    Standing,
    Standings,
    anthropic_headers,
    limits_of,
    openai_headers,
)
from tests.routing.core.limit_world import Process, World, key_limit, most_in_a_window, only

pytestmark = pytest.mark.filterwarnings("error")

SLOT_S = 1.0  # uses are counted by the second, so a wait is at most so much longer than it need be


def granted(verdict: Grant | Denied) -> Grant:
    assert isinstance(verdict, Grant), verdict
    return verdict


def denied(verdict: Grant | Denied) -> Denied:
    assert isinstance(verdict, Denied), verdict
    return verdict


def wait_of(verdict: Grant | Denied) -> float:
    seconds = denied(verdict).retry_after_s
    assert seconds is not None
    return seconds


# --- any order of events --------------------------------------------------------------------------


class Story:
    """Random arrivals, talks, losses and deaths; the clock moves between any two of them."""

    def __init__(self, limits: Limits, seed: int, processes: int, pace_s: float) -> None:
        self.world = World(seed)
        self.random = self.world.random
        self.limits = limits
        self.pace_s = pace_s
        self.most_running = 0
        for _ in range(processes):
            self.world.start()

    def play(self, steps: int) -> None:
        for _ in range(steps):
            self.world.now += self.random.expovariate(1 / self.pace_s)
            process = self.random.choice(self.world.processes)
            self.random.choices(
                (self.arrive, self.end, self.talk, self.lose, self.die), (60, 25, 20, 4, 1)
            )[0](process)
            for other in self.world.processes:
                # The keeper renews in time; here only one that is "stalled" does not.
                if self.random.random() < 0.3:
                    other.talk(tick=True)
            self.most_running = max(self.most_running, self.world.running())

    def arrive(self, process: Process) -> None:
        for _ in range(self.random.choice((1, 1, 1, 5, 30))):
            tokens = self.random.choice((0, 10, 500, 3000))
            grant = process.book.take(self.limits, tokens, process.now)
            if grant is not None:
                process.note(grant)
            elif process.unheard:
                process.book.ask(self.limits, tokens, process.now)
            else:
                process.ask(self.limits, tokens)

    def end(self, process: Process) -> None:
        for grant in list(process.running):
            if self.random.random() < 0.5:
                process.settle(grant, int(grant.tokens * self.random.choice((0, 0.3, 1, 1.4))))

    def talk(self, process: Process) -> None:
        """In two halves, with others in between."""
        process.hear()
        process.send(tick=self.random.random() < 0.5)

    def lose(self, process: Process) -> None:
        if self.random.random() < 0.5:
            process.lose_answers()
        else:
            process.send(tick=True, arrives=False)

    def die(self, process: Process) -> None:
        self.world.kill(process)
        self.world.start()


@given(
    seed=st.integers(0, 10**9),
    processes=st.integers(1, 6),
    requests=st.sampled_from((1, 3, 20, 200)),
    tokens=st.sampled_from((None, 3000, 50_000)),
    pace_s=st.sampled_from((0.02, 0.3, 2.0, 9.0)),
)
@settings(max_examples=80, deadline=None)
def test_no_window_of_a_minute_ever_holds_more_than_the_limit(
    seed: int, processes: int, requests: int, tokens: int | None, pace_s: float
) -> None:
    limits = only(key_limit(requests_per_minute=requests, tokens_per_minute=tokens))
    story = Story(limits, seed, processes, pace_s)
    story.play(150)
    assert story.world.most_requests_in_a_window() <= requests
    if tokens is not None:
        world = story.world
        assert world.most_tokens_in_a_window() <= tokens
        assert world.most_tokens_in_a_window(with_excess=True) <= tokens + world.most_excess()


@given(
    seed=st.integers(0, 10**9), processes=st.integers(1, 5), places=st.sampled_from((1, 2, 7, 40))
)
@settings(max_examples=50, deadline=None)
def test_no_more_requests_run_at_once_than_allowed(seed: int, processes: int, places: int) -> None:
    """Talks come in time here: a lease that nobody can renew is another test's."""
    limits = only(key_limit(concurrent_requests=places))
    story = Story(limits, seed, processes, 0.05)
    story.play(200)
    assert 0 < story.most_running <= places


@given(seed=st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_the_limit_of_the_key_and_that_of_its_project_both_hold(seed: int) -> None:
    project = Limit("project", 3, "shop", requests_per_minute=25)
    keys = [Limit("key", number, f"app{number}", requests_per_minute=20) for number in (1, 2)]
    callers = [limits_of(limit.subject_id, limit, project) for limit in keys]
    world, random = World(seed), Random(seed)
    processes = [world.start() for _ in range(3)]
    counts: dict[int, list[list[float]]] = {1: [], 2: []}
    for _ in range(200):
        world.now += random.expovariate(2.0)
        process, caller = random.choice(processes), random.choice(callers)
        assert caller is not None
        if isinstance(process.ask(caller), Grant):
            counts[caller.key_id].append([world.now, 1])
        random.choice(processes).talk(tick=True)
    assert world.most_requests_in_a_window() <= 25
    assert all(most_in_a_window(uses) <= 20 for uses in counts.values())


# --- the whole limit can be used ------------------------------------------------------------------


def test_one_process_with_all_the_traffic_uses_the_whole_limit() -> None:
    world = World()
    busy, *_ = [world.start() for _ in range(4)]
    limits = only(key_limit(requests_per_minute=100))
    verdicts = [busy.ask(limits) for _ in range(101)]
    assert [isinstance(verdict, Grant) for verdict in verdicts] == [True] * 100 + [False]


def test_a_steady_stream_uses_the_whole_limit_minute_after_minute() -> None:
    world = World()
    processes = [world.start() for _ in range(3)]
    limits = only(key_limit(requests_per_minute=120))
    passed = 0
    for step in range(5 * 60 * 4):  # twice as many as allowed, for five minutes
        world.now += 0.25
        verdict = processes[step % 3].ask(limits)
        passed += isinstance(verdict, Grant)
        if step % 2:
            for process in processes:
                process.talk(tick=True)
    assert 0.95 * 5 * 120 <= passed <= 5 * 120 + 120
    assert world.most_requests_in_a_window() <= 120


def test_a_busy_process_asks_the_pool_rarely() -> None:
    """What is leased ahead follows the pace, so most requests are decided here."""
    world = World()
    busy = world.start()
    limits = only(key_limit(requests_per_minute=60_000))
    asked = 0
    for step in range(2000):
        world.now += 0.01
        if busy.book.take(limits, 0, busy.now) is None:
            asked += 1
            granted(busy.ask(limits))
        if step % 50 == 0 or busy.book.is_hungry:
            busy.talk(tick=step % 50 == 0)
    assert asked < 20


def test_what_an_idle_process_holds_comes_back_soon() -> None:
    world = World()
    idle, busy = world.start(), world.start()
    limits = only(key_limit(requests_per_minute=100))
    for _ in range(10):
        granted(idle.ask(limits))
    idle.talk(tick=True)
    world.now += 0.1
    granted(idle.ask(limits))
    idle.talk(tick=True)
    until = world.now + RETURN_S
    while world.now < until:
        world.now += 0.5
        idle.talk(tick=True)
    passed = sum(isinstance(busy.ask(limits), Grant) for _ in range(100))
    assert passed == 89


def test_a_killed_process_keeps_its_places_until_its_lease_ends() -> None:
    world = World()
    killed, other = world.start(), world.start()
    limits = only(key_limit(concurrent_requests=2))
    granted(killed.ask(limits))
    granted(killed.ask(limits))
    killed.talk(tick=True)
    world.kill(killed)
    denied(other.ask(limits))
    world.now += LEASE_S - 0.1
    denied(other.ask(limits))
    world.now += 0.2
    granted(other.ask(limits))
    granted(other.ask(limits))
    denied(other.ask(limits))


def test_what_a_killed_process_may_have_used_counts_for_a_minute() -> None:
    world = World()
    killed, other = world.start(), world.start()
    limits = only(key_limit(requests_per_minute=40))
    for _ in range(10):
        killed.ask(limits)
    world.now += 1.1
    killed.talk(tick=True)
    ahead = world.pools["key:7"].leases["p1"].requests
    assert ahead > 0  # told all its uses, and holds some units beyond
    world.kill(killed)
    world.now += LEASE_S + 1
    assert sum(isinstance(other.ask(limits), Grant) for _ in range(40)) == 30 - ahead
    world.now += WINDOW_S + SLOT_S
    assert sum(isinstance(other.ask(limits), Grant) for _ in range(50)) == 40


def test_a_lost_answer_neither_loses_nor_doubles_units() -> None:
    world = World()
    process = world.start()
    limits = only(key_limit(requests_per_minute=10))
    granted(process.ask(limits))
    world.now += 1.1
    process.send(tick=True)
    process.lose_answers()
    world.now += 1.1
    process.talk(tick=True)
    process.talk(tick=True)
    assert sum(slot.requests for slot in world.pools["key:7"].slots) == 1
    assert sum(isinstance(process.ask(limits), Grant) for _ in range(20)) == 9


# --- tokens ---------------------------------------------------------------------------------------


def test_tokens_reserved_too_much_come_back_at_the_end() -> None:
    world = World()
    process, other = world.start(), world.start()
    limits = only(key_limit(tokens_per_minute=1000))
    grant = granted(process.ask(limits, 900))
    denied(other.ask(limits, 500))
    world.now += 5
    process.settle(grant, 100)
    process.talk(tick=True)
    world.now += 1
    process.talk(tick=True)
    granted(other.ask(limits, 900))
    denied(other.ask(limits, 1))


def test_a_long_answer_is_made_up_for_by_those_that_follow() -> None:
    world = World()
    process = world.start()
    limits = only(key_limit(tokens_per_minute=1000))
    process.settle(granted(process.ask(limits, 100)), 950)
    assert denied(process.ask(limits, 100)).meter == TOKENS
    granted(process.ask(limits, 50))


def test_a_request_that_never_reached_a_provider_counts_nowhere() -> None:
    world = World()
    process = world.start()
    limits = only(key_limit(requests_per_minute=1, tokens_per_minute=100, concurrent_requests=1))
    for _ in range(5):
        grant = granted(process.ask(limits, 100))
        process.book.release(grant, process.now)
        process.talk(tick=True)
        world.now += 1
    granted(process.ask(limits, 100))


def test_ending_twice_changes_nothing() -> None:
    world = World()
    process = world.start()
    limits = only(key_limit(concurrent_requests=1))
    grant = granted(process.ask(limits))
    for _ in range(3):
        process.book.settle(grant, 0, process.now)
        process.book.release(grant, process.now)
    granted(process.ask(limits))
    denied(process.ask(limits))


# --- when to come back ----------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**9),
    limit=st.sampled_from((1, 4, 30)),
    gap_s=st.sampled_from((0.1, 1.0, 2.5)),
)
@settings(max_examples=50, deadline=None)
def test_a_retry_after_exactly_the_told_time_passes_and_hardly_any_earlier_one_does(
    seed: int, limit: int, gap_s: float
) -> None:
    limits = only(key_limit(requests_per_minute=limit))

    def until_denied() -> tuple[World, Process]:
        world = World(seed)
        processes = [world.start() for _ in range(3)]
        for _ in range(limit * 3):
            process = world.random.choice(processes)
            verdict = process.ask(limits)
            for other in processes:
                other.talk(tick=True)
            if isinstance(verdict, Denied):
                return world, process
            world.now += world.random.random() * gap_s
        raise AssertionError("never denied")

    def come_back(after_s: float) -> Grant | Denied:
        world, process = until_denied()
        told = world.now + after_s
        while world.now + 0.5 < told:  # the keepers of the others go on meanwhile
            world.now += 0.5
            for other in world.processes:
                other.talk(tick=True)
        world.now = told
        return process.ask(limits)

    _, process = until_denied()
    wait_s = wait_of(process.ask(limits))
    granted(come_back(wait_s))
    if wait_s > RETURN_S + SLOT_S:
        denied(come_back(wait_s - SLOT_S - 0.01))


def test_the_wait_for_tokens_is_until_enough_of_them_are_free() -> None:
    world = World()
    world.now = float(int(world.now))
    process = world.start()
    limits = only(key_limit(tokens_per_minute=1000))
    for tokens in (300, 300, 400):
        granted(process.ask(limits, tokens))
        world.now += 10
    process.talk(tick=True)
    first, both = wait_of(process.ask(limits, 200)), wait_of(process.ask(limits, 500))
    assert 30 <= first <= 30 + SLOT_S
    assert 40 <= both <= 40 + SLOT_S


def test_the_limit_named_is_the_one_to_be_waited_for_longest() -> None:
    world = World()
    process = world.start()
    own = key_limit(requests_per_minute=1)
    project = Limit("project", 3, "shop", tokens_per_minute=100)
    limits = limits_of(7, own, project)
    assert limits is not None
    granted(process.ask(only(project), 100))
    world.now += 20
    granted(process.ask(only(own), 0))
    refusal = denied(process.ask(limits, 50))
    assert (refusal.limit, refusal.meter) == (own, REQUESTS)


def test_a_refusal_is_not_asked_for_again_at_once() -> None:
    world = World()
    process = world.start()
    limits = only(key_limit(requests_per_minute=1))
    granted(process.ask(limits))
    denied(process.ask(limits))
    assert process.book.known_refusal(limits, 0, process.now) is not None
    world.now += 0.3
    assert process.book.known_refusal(limits, 0, process.now) is None


def test_a_larger_request_is_asked_for_though_a_smaller_one_just_passed() -> None:
    """The pool was not short then, so it said nothing of when more comes free."""
    world = World()
    process, other = world.start(), world.start()
    limits = only(key_limit(tokens_per_minute=1000))
    grant = granted(other.ask(limits, 300))
    granted(process.ask(limits, 100))
    other.settle(grant, 0)
    other.talk(tick=True)
    other.talk(tick=True)
    assert process.book.known_refusal(limits, 900, process.now) is None
    granted(process.ask(limits, 900))


# --- changes and outages --------------------------------------------------------------------------


def test_a_changed_limit_holds_at_once() -> None:
    world = World()
    process = world.start()
    for _ in range(10):
        granted(process.ask(only(key_limit(requests_per_minute=100))))
    process.talk(tick=True)
    denied(process.ask(only(key_limit(requests_per_minute=10))))
    granted(process.ask(only(key_limit(requests_per_minute=11))))


def test_the_same_limit_loaded_anew_keeps_its_lease() -> None:
    world = World()
    process = world.start()
    for _ in range(20):
        granted(process.ask(only(key_limit(requests_per_minute=1000))))
    process.talk(tick=True)
    again = only(key_limit(requests_per_minute=1000))
    assert process.book.take(again, 0, process.now) is not None


def test_leases_outlast_the_loss_of_the_pool_and_then_end() -> None:
    world = World()
    process = world.start()
    limits = only(key_limit(requests_per_minute=1000))
    for _ in range(20):
        granted(process.ask(limits))
    process.talk(tick=True)
    world.now += LEASE_S - 0.1
    assert process.book.take(limits, 0, process.now) is not None
    world.now += 0.2
    assert process.book.take(limits, 0, process.now) is None


def test_without_the_pool_each_process_goes_on_with_its_part_and_no_burst() -> None:
    world = World()
    processes = [world.start() for _ in range(4)]
    limits = only(key_limit(requests_per_minute=120))
    for _ in range(30):
        for process in processes:
            granted(process.ask(limits))
            process.talk(tick=True)
            process.talk(tick=True)
        world.now += 2
    lost_at = world.now
    minutes = [0, 0, 0]
    while world.now < lost_at + 180:
        world.now += 0.1
        for process in processes:
            since = process.now - world.now + lost_at
            verdict = process.book.take_degraded(limits, 0, process.now, 4, since)
            if isinstance(verdict, Grant):
                process.note(verdict)
                minutes[min(2, int((world.now - lost_at) // 60))] += 1
    assert world.most_requests_in_a_window() <= 120 + 4
    assert all(100 <= count <= 124 for count in minutes)


def test_the_wait_without_the_pool_is_right_too() -> None:
    world = World()
    process = world.start()
    limits = only(key_limit(requests_per_minute=6))
    since = process.now
    first = process.book.take_degraded(limits, 0, process.now, 2, since)
    wait_s = wait_of(first)
    assert wait_s == pytest.approx(20)
    world.now += wait_s - 0.1
    denied(process.book.take_degraded(limits, 0, process.now, 2, since))
    world.now += 0.11
    granted(process.book.take_degraded(limits, 0, process.now, 2, since))


def test_what_was_used_without_the_pool_is_told_to_it_later() -> None:
    world = World()
    process, other = world.start(), world.start()
    limits = only(key_limit(requests_per_minute=10))
    since = process.now - WINDOW_S
    for _ in range(5):
        granted(process.book.take_degraded(limits, 0, process.now, 2, since))
    denied(process.book.take_degraded(limits, 0, process.now, 2, since))
    process.talk(tick=True)
    process.talk(tick=True)
    assert sum(isinstance(other.ask(limits), Grant) for _ in range(10)) == 5


def test_a_database_clock_that_was_set_back_locks_nobody_out() -> None:
    world = World()
    process = world.start()
    limits = only(key_limit(requests_per_minute=5, concurrent_requests=5))
    for _ in range(5):
        process.settle(granted(process.ask(limits)), 0)
    process.talk(tick=True)
    real, shift = process._clock_s, 7200
    world.now -= shift
    process._clock_s = real + shift
    denied(process.ask(limits))
    world.now += WINDOW_S + 2 * SLOT_S
    granted(process.ask(limits))


# --- what the client is told ----------------------------------------------------------------------


def test_nothing_is_asked_of_those_without_limits() -> None:
    assert limits_of(7, None, None) is None
    assert limits_of(7, key_limit(), None) is None


def test_the_error_names_the_limit_the_key_and_the_time() -> None:
    refused = Denied(key_limit(requests_per_minute=1200), REQUESTS, 3.21)
    error = RateLimited(refused)
    assert (error.status, error.code, error.should_retry) == (429, "rate_limit_exceeded", True)
    assert error.message == (
        'The key "app" is limited to 1,200 requests per minute. Try again in 3.3 s'
    )
    tokens = RateLimited(Denied(key_limit(tokens_per_minute=5000), TOKENS, 31.2, 900, 100))
    assert "needs about 900 and 100 are left. Try again in 32 s" in tokens.message
    places = RateLimited(Denied(key_limit(concurrent_requests=4), RUNNING, 0.5))
    assert "4 requests at a time" in places.message


def test_a_request_larger_than_the_limit_is_told_not_to_come_back() -> None:
    error = RateLimited(Denied(key_limit(tokens_per_minute=5000), TOKENS, None, 9000))
    assert error.should_retry is False
    assert error.retry_after_s is None
    assert "Shorten the prompt" in error.message


STANDINGS = Standings(Standing(60, 59, 60.4), Standing(10_000, 0, 0.25))


def test_openais_clients_find_their_headers() -> None:
    assert dict(openai_headers(STANDINGS, 12.2)) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1m1s",
        b"x-ratelimit-limit-tokens": b"10000",
        b"x-ratelimit-remaining-tokens": b"0",
        b"x-ratelimit-reset-tokens": b"250ms",
        b"retry-after": b"13",
        b"retry-after-ms": b"12200",
    }


def test_anthropics_clients_find_theirs() -> None:
    headers = dict(anthropic_headers(STANDINGS, 1_795_442_400.0, 12.2))
    assert headers[b"anthropic-ratelimit-requests-limit"] == b"60"
    assert headers[b"anthropic-ratelimit-requests-remaining"] == b"59"
    assert headers[b"anthropic-ratelimit-requests-reset"] == b"2026-11-23T14:01:01Z"
    assert headers[b"anthropic-ratelimit-tokens-reset"] == b"2026-11-23T14:00:01Z"
    assert headers[b"retry-after"] == b"13"


def test_headers_speak_of_limited_meters_alone() -> None:
    assert openai_headers(Standings()) == []
    assert anthropic_headers(Standings(), 0.0) == []


def test_headers_tell_what_is_left_over_all_processes() -> None:
    world = World()
    process, other = world.start(), world.start()
    limits = only(key_limit(requests_per_minute=50, tokens_per_minute=1000))
    for _ in range(10):
        process.settle(granted(process.ask(limits, 10)), 10)
    for _ in range(2):
        process.talk(tick=True)
    grant = granted(other.ask(limits, 100))
    standings = other.book.standings(grant.shares, other.now)
    assert standings.requests is not None
    assert standings.tokens is not None
    assert (standings.requests.limit, standings.requests.remaining) == (50, 39)
    assert (standings.tokens.limit, standings.tokens.remaining) == (1000, 800)
    assert WINDOW_S <= standings.requests.reset_s <= WINDOW_S + SLOT_S
