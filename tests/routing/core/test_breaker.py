from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.breaker import (
    FORGIVE_AFTER_S,
    MOST_EJECTIONS,
    PROBE_EVERY_S,
    Breaker,
    BreakerState,
)
from routing.core.errors import FailureClass
from routing.core.health import HALF_LIFE_S, HealthBook
from tests.routing.factories import endpoint, stats


def failed(times: int, now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        breaker.on_failure(now, 0.0)
    return breaker


def test_five_failures_in_a_row_open_it_and_four_do_not() -> None:
    assert failed(4).allows(0.0)
    assert not failed(5).allows(0.0)


def test_half_of_twenty_recent_outcomes_failing_opens_it() -> None:
    breaker = Breaker()
    for i in range(20):
        if i % 2:
            breaker.on_failure(float(i) / 10, 0.0)
        else:
            breaker.on_success(float(i) / 10)
    breaker.on_failure(2.0, 0.0)
    assert breaker.state is BreakerState.OPEN


def test_after_its_time_one_try_goes_through_and_two_successes_close_it() -> None:
    breaker = failed(5)
    assert not breaker.allows(14.9)
    assert breaker.allows(15.0)
    breaker.on_start(15.0)
    assert not breaker.allows(15.1)
    breaker.on_success(15.5)
    assert not breaker.allows(15.9)  # one a second
    assert breaker.allows(16.0)
    breaker.on_start(16.0)
    breaker.on_success(16.4)
    assert breaker.state is BreakerState.CLOSED


def test_a_failing_probe_opens_it_for_longer() -> None:
    breaker = failed(5)
    breaker.on_start(15.0)
    breaker.on_failure(15.0, 0.0)
    assert not breaker.allows(44.9)
    assert breaker.allows(45.0)


def test_a_probe_that_never_ended_does_not_block_for_ever() -> None:
    breaker = failed(5)
    breaker.on_start(15.0)
    assert not breaker.allows(20.0)
    assert breaker.allows(31.0)


def test_a_rate_limit_cools_down_without_opening_and_only_moves_forward() -> None:
    breaker = Breaker()
    breaker.on_capacity(0.0, 40.0)
    breaker.on_capacity(1.0, 2.0)
    assert breaker.is_cooling(39.0)
    assert not breaker.is_cooling(40.0)
    assert breaker.state is BreakerState.CLOSED
    breaker.on_capacity(50.0, 1e9)
    assert not breaker.is_cooling(110.1)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 20.0)), max_size=80))
def test_it_always_comes_back(history: list[tuple[bool, float]]) -> None:
    breaker, now = Breaker(), 0.0
    for ok, step_s in history:
        now += step_s
        if breaker.allows(now):
            breaker.on_start(now)
            breaker.on_success(now) if ok else breaker.on_failure(now, 1.0)
    now = max(now, breaker.open_until) + 16.0
    for _ in range(2):
        assert breaker.allows(now)
        breaker.on_start(now)
        breaker.on_success(now)
        now += PROBE_EVERY_S
    assert breaker.state is BreakerState.CLOSED


def test_client_errors_never_count_against_an_endpoint() -> None:
    book = HealthBook(Random(1))
    for _ in range(50):
        book.on_failure(1, 5.0, FailureClass.CLIENT, None)
    assert book.of(1).breaker.allows(5.0)
    assert book.may_retry(1)


def test_retries_stop_when_failures_outrun_successes() -> None:
    book = HealthBook(Random(1))
    for _ in range(5):
        book.on_failure(1, 5.0, FailureClass.TRANSIENT, None)
    assert not book.may_retry(1)
    for _ in range(20):
        book.on_success(1, 6.0, 100.0, 50.0)
    assert book.may_retry(1)


def test_live_traffic_outweighs_what_the_rollups_said() -> None:
    book = HealthBook(Random(1))
    one = endpoint("a", 1, stats=stats(1000, 50))
    assert book.numbers(one, 0.0).ttft_ms is not None
    assert round(book.numbers(one, 0.0).ttft_ms or 0) == 1000
    for i in range(200):
        book.on_success(1, float(i) / 10, 100.0, 400.0)
    after = book.numbers(one, 25.0)
    assert (after.ttft_ms or 0) < 150
    assert (after.speed_tps or 0) > 300


def test_an_unmeasured_endpoint_has_no_numbers() -> None:
    numbers = HealthBook(Random(1)).numbers(endpoint("a", 1), 0.0)
    assert numbers.ttft_ms is None
    assert numbers.speed_tps is None
    assert numbers.success_rate is None


OBSERVATIONS = st.lists(
    st.tuples(st.floats(1.0, 5000.0), st.sampled_from([0.0, 0.5, 40.0, 4000.0, 40_000.0])),
    min_size=1,
    max_size=30,
)


@settings(max_examples=100)
@given(OBSERVATIONS, st.floats(0.0, 2000.0), st.floats(0.0, 1e6))
def test_a_mean_weighs_each_observation_by_its_age(
    observed: list[tuple[float, float]], idle_s: float, began_s: float
) -> None:
    book, now = HealthBook(Random(1)), began_s
    seen: list[tuple[float, float]] = []
    for ttft_ms, step_s in observed:
        now += step_s
        book.on_success(1, now, ttft_ms, None)
        seen.append((now, ttft_ms))
    now += idle_s
    weights = [0.5 ** ((now - at) / HALF_LIFE_S) for at, _ in seen]
    logs = [math.log(ttft_ms) for _, ttft_ms in seen]
    expected = math.exp(sum(w * x for w, x in zip(weights, logs, strict=True)) / sum(weights))
    assert book.numbers(endpoint("a", 1), now).ttft_ms == pytest.approx(expected)


def test_a_process_that_slept_for_a_year_starts_from_what_it_sees_then() -> None:
    book = HealthBook(Random(1))
    book.on_success(1, 0.0, 100.0, 50.0)
    year_s = 365 * 86400.0
    assert book.numbers(endpoint("a", 1), year_s).ttft_ms is None
    book.on_success(1, year_s, 900.0, 50.0)
    assert book.numbers(endpoint("a", 1), year_s + 2).ttft_ms == pytest.approx(900.0)


def test_a_busy_window_stays_small() -> None:
    breaker = failed(1)
    for i in range(20_000):
        breaker.on_success(i / 500)
    assert len(breaker._window) <= 32


def test_an_event_that_changes_no_brake_leaves_the_count_of_changes() -> None:
    book = HealthBook(Random(1))
    book.on_start(1, 5.0)
    book.on_success(1, 5.0, 100.0, 50.0)
    book.on_failure(1, 5.0, FailureClass.CLIENT, None)
    book.on_failure(1, 5.0, FailureClass.TRANSIENT, None)
    assert book.changes == 0
    book.on_failure(1, 5.0, FailureClass.CAPACITY, 3.0)
    assert book.changes == 1


def test_a_few_failures_among_many_successes_open_nothing() -> None:
    book, one, now = HealthBook(Random(1)), endpoint("a", 1), 1000.0
    for _ in range(400):  # 40 s of ten a second, all well
        now += 0.1
        book.numbers(one, now)
        book.on_success(1, now, 100.0, 50.0)
    for i in range(24):  # then every second one of some fails, among many others
        now += 0.1
        if i % 2:
            book.on_failure(1, now, FailureClass.TRANSIENT, None)
        else:
            book.on_success(1, now, 100.0, 50.0)
    assert book.is_quiet(1, now)


def test_a_breaker_without_failures_in_its_window_is_calm_again() -> None:
    breaker = failed(3)
    breaker.on_success(29.0)
    assert not breaker.is_calm
    breaker.on_success(31.0)
    assert breaker.is_calm


@pytest.mark.parametrize(("clean_s", "next_s"), [(59.0, 45.0), (61.0, 30.0), (1000.0, 15.0)])
def test_one_ejection_is_forgiven_for_every_clean_minute(clean_s: float, next_s: float) -> None:
    breaker = failed(5)
    breaker.on_start(15.0)
    breaker.on_failure(15.0, 0.0)  # out for the second time
    for now in (45.0, 46.0):
        breaker.on_start(now)
        breaker.on_success(now)
    assert breaker.state is BreakerState.CLOSED
    now = 46.0 + clean_s
    for _ in range(5):
        breaker.on_failure(now, 0.0)
    assert breaker.open_until == now + next_s


def test_no_ejection_is_longer_than_five_minutes_and_a_fifth() -> None:
    breaker, now = failed(5), 0.0
    for _ in range(40):
        now = breaker.open_until
        breaker.on_start(now)
        breaker.on_failure(now, 1.0)
    assert breaker.open_until - now == pytest.approx(360.0)


def test_what_was_begun_before_it_opened_does_not_close_it() -> None:
    breaker = failed(5)
    for now in (1.0, 2.0, 3.0):
        breaker.on_success(now)
    assert breaker.state is BreakerState.OPEN
    assert not breaker.allows(14.0)


def test_processes_that_take_turns_probe_less_often_each() -> None:
    breaker = failed(5)
    breaker.probe_every_s = 4.0
    breaker.on_start(15.0)
    breaker.on_success(15.2)
    assert not breaker.allows(18.9)
    assert breaker.next_release(15.2) == 19.0
    assert breaker.allows(19.0)


def test_after_a_day_of_failures_it_is_forgiven_within_minutes() -> None:
    """Ejections are counted as far as they make it longer, so that a long outage leaves no grudge."""
    breaker, now = failed(5), 0.0
    while now < 86_400.0:
        now = breaker.open_until
        assert breaker.on_start(now)
        breaker.on_failure(now, 0.0)
    assert breaker.ejections == MOST_EJECTIONS
    now = breaker.open_until
    for _ in range(2):
        assert breaker.on_start(now)
        breaker.on_success(now)
        now += PROBE_EVERY_S
    breaker.on_success(now + (MOST_EJECTIONS + 1) * FORGIVE_AFTER_S)
    assert breaker.ejections == 0
