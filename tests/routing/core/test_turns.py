"""Breakers of several processes, each with a clock of its own, that tell each other when they turn."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.breaker import PROBE_EVERY_S, Breaker, BreakerState
from routing.core.errors import FailureClass
from routing.core.health import HealthBook
from routing.core.learning import Learning
from routing.core.news import News
from routing.core.turns import Turn, Turns

ROUND_S = 2.0


class Process:
    """Its clock is its own: only how long ago something was is ever told."""

    def __init__(self, number: int) -> None:
        self.ahead_s = 10_000.0 * number
        self.book = HealthBook(Random(number))
        self.turns = Turns(self.book)

    def breaker(self) -> Breaker:
        return self.book.of(1).breaker

    def well(self, at: float, times: int = 1) -> None:
        for _ in range(times):
            self.book.on_start(1, at + self.ahead_s)
            self.book.on_success(1, at + self.ahead_s, 100.0, 50.0)

    def fails(self, at: float, times: int = 1) -> None:
        for _ in range(times):
            self.book.on_failure(1, at + self.ahead_s, FailureClass.TRANSIENT, None)

    def allows(self, at: float) -> bool:
        return self.breaker().allows(at + self.ahead_s)

    def told(self, at: float) -> list[Turn]:
        """As it comes out of the database."""
        told = msgspec.json.encode(self.turns.tell(at + self.ahead_s))
        return msgspec.json.decode(told, type=list[Turn])

    def hears(self, turns: list[Turn], at: float, age_s: float) -> None:
        self.turns.hear(turns, at + self.ahead_s, age_s)

    def state(self) -> BreakerState:
        return self.breaker().state


@pytest.fixture
def ours() -> Process:
    return Process(1)


@pytest.fixture
def theirs() -> Process:
    return Process(2)


def test_what_opened_in_one_process_is_out_in_the_others_for_as_long(
    ours: Process, theirs: Process
) -> None:
    theirs.fails(100.0, 5)
    ours.hears(theirs.told(101.0), 103.0, age_s=2.0)
    assert not ours.allows(103.0)
    assert not ours.allows(114.9)
    assert ours.allows(119.0)  # 15 s after it opened, and up to a fifth later
    assert ours.book.changes == 1
    assert ours.breaker().reason == "failed in another gateway process"


def test_it_is_tried_carefully_by_a_process_that_saw_it_well_just_before(
    ours: Process, theirs: Process
) -> None:
    for at in (90.0, 95.0, 100.0):
        ours.well(at, 10)
        ours.told(at)
    theirs.fails(100.5, 5)
    ours.hears(theirs.told(101.0), 101.0, age_s=0.0)
    assert ours.allows(101.0)
    assert ours.book.on_start(1, 101.0 + ours.ahead_s)
    assert not ours.allows(101.1)  # one at a time
    ours.fails(101.2)
    assert not ours.allows(115.0)  # one failure of its own is enough then


def test_news_older_than_our_own_success_changes_nothing(ours: Process, theirs: Process) -> None:
    theirs.fails(100.0, 5)
    told = theirs.told(100.0)
    ours.told(105.0)
    ours.well(106.0)
    ours.hears(told, 107.0, age_s=7.0)
    assert ours.state() is BreakerState.CLOSED


def test_a_success_that_was_noted_after_trouble_counts_to_the_moment(
    ours: Process, theirs: Process
) -> None:
    theirs.fails(100.0, 5)
    told = theirs.told(100.0)
    ours.fails(99.0)
    ours.well(100.5)
    ours.hears(told, 101.0, age_s=1.0)
    assert ours.state() is BreakerState.CLOSED


def test_a_recovery_lets_the_others_try_at_once_and_one_success_is_enough(
    ours: Process, theirs: Process
) -> None:
    theirs.fails(100.0, 5)
    ours.hears(theirs.told(100.0), 100.0, age_s=0.0)
    for at in (120.0, 121.5):
        theirs.well(at)
    assert theirs.state() is BreakerState.CLOSED
    for at in (100.0, 119.0):
        ours.fails(at)
    news = theirs.told(121.5)
    assert not ours.allows(122.0)
    ours.hears(news, 122.0, age_s=0.5)
    assert ours.allows(122.0)
    assert ours.state() is not BreakerState.CLOSED
    ours.well(122.0)
    assert ours.state() is BreakerState.CLOSED


def test_after_a_recovery_elsewhere_one_success_closes_and_one_failure_opens(
    ours: Process, theirs: Process
) -> None:
    for one in (ours, theirs):
        one.fails(100.0, 5)
        one.told(100.0)
    for at in (120.0, 121.5):
        theirs.well(at)
    news = theirs.told(122.0)
    other = Process(3)
    other.fails(118.0, 5)
    for one in (ours, other):
        one.hears(news, 122.5, age_s=0.5)
        assert one.allows(122.5)
    ours.well(123.0)
    assert ours.state() is BreakerState.CLOSED
    other.book.on_start(1, 123.0 + other.ahead_s)
    other.fails(123.0)
    assert not other.allows(130.0)


def test_a_recovery_before_our_own_last_failure_changes_nothing(
    ours: Process, theirs: Process
) -> None:
    theirs.fails(80.0, 5)
    for at in (100.0, 101.5):
        theirs.well(at)
    ours.fails(103.0, 5)
    ours.hears(theirs.told(104.0), 104.0, age_s=0.0)
    assert not ours.allows(110.0)


def test_what_was_heard_is_not_told_on(ours: Process, theirs: Process) -> None:
    theirs.fails(100.0, 5)
    told = theirs.told(100.0)
    assert theirs.told(102.0) == []
    ours.hears(told, 100.0, age_s=0.0)
    assert ours.told(101.0) == []


def test_news_that_comes_late_or_twice_or_in_another_order_keeps_nobody_out(
    ours: Process, theirs: Process
) -> None:
    theirs.fails(100.0, 5)
    opened = theirs.told(100.0)
    for at in (120.0, 121.5):
        theirs.well(at)
    closed = theirs.told(122.0)
    ours.hears(closed, 123.0, age_s=1.0)
    ours.hears(opened, 123.0, age_s=23.0)
    assert ours.allows(123.0)
    other = Process(3)
    other.hears(opened, 123.0, age_s=23.0)
    other.hears(closed, 123.0, age_s=1.0)
    other.hears(opened, 123.0, age_s=23.0)
    assert other.allows(123.0)


@pytest.mark.parametrize(
    "turn",
    [
        Turn(1, True, -1.0, 10.0, 1),
        Turn(1, True, 1.0, 1e9, 1),
        Turn(1, True, 1e9, 10.0, 1),
        Turn(1, True, 1.0, 10.0, 10**9),
        Turn(1, True, 1.0, -10.0, 1),
    ],
)
def test_news_that_cannot_be_true_is_left_out(ours: Process, turn: Turn) -> None:
    ours.hears([turn], 100.0, age_s=0.0)
    assert ours.state() is BreakerState.CLOSED


def test_it_travels_with_everything_else_that_is_learned() -> None:
    ours, theirs = Learning(HealthBook(Random(1))), Learning(HealthBook(Random(2)))
    for _ in range(5):
        theirs.health.on_failure(1, 50.0, FailureClass.TIMEOUT, None)
    ours.hear(theirs.tell(50.0), 900.0, 0.1)
    assert not ours.health.of(1).breaker.allows(901.0)
    ours.hear(msgspec.json.encode(News()), 900.0, 0.1)  # of a process that knows of no turns


def test_several_processes_take_turns_at_an_endpoint_that_comes_back() -> None:
    processes = [Process(number) for number in range(4)]
    for one in processes:
        one.turns.processes = len(processes)
        one.fails(100.0, 5)
        one.told(100.0)
    tries = []
    for tenth in range(1150, 1750):
        at = tenth / 10
        for one in processes:
            if one.allows(at):
                assert one.book.on_start(1, at + one.ahead_s)
                one.breaker().on_neutral()  # it says nothing on health, so that all go on probing
                tries.append(at)
    assert len(tries) <= (175 - 115) / PROBE_EVERY_S + len(processes)
    assert len(tries) >= 50


EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.booleans(), st.floats(0.05, 4.0)), min_size=1, max_size=60
)


@settings(max_examples=120)
@given(EVENTS, st.floats(0.0, 3.0), st.randoms(use_true_random=False))
def test_whatever_happens_all_come_back_once_it_is_well_again(
    events: list[tuple[int, bool, float]], lag_s: float, shuffle: Random
) -> None:
    processes, now = [Process(number) for number in range(3)], 100.0
    mail: list[tuple[Process, float, list[Turn]]] = []

    def deliver(everything: bool) -> None:
        shuffle.shuffle(mail)
        for news in [one for one in mail if everything or one[1] + lag_s <= now]:
            mail.remove(news)
            for one in processes:
                if one is not news[0]:
                    one.hears(news[2], now, now - news[1])

    def tell() -> None:
        for one in processes:
            turns = one.told(now)
            if turns:
                mail.append((one, now, turns))

    for number, ok, step_s in events:
        now += step_s
        one = processes[number]
        if one.allows(now) and one.book.on_start(1, now + one.ahead_s):
            one.well(now) if ok else one.fails(now)
        tell()
        deliver(everything=False)
    tell()
    deliver(everything=True)
    now = max([now, *(one.breaker().open_until - one.ahead_s for one in processes)])
    assert now < 100.0 + 4.0 * len(events) + 3 * 360.0
    now += 16.0
    for _ in range(3):
        for one in processes:
            assert one.allows(now)
            one.well(now)
        now += PROBE_EVERY_S
    assert {one.state() for one in processes} == {BreakerState.CLOSED}


def test_within_a_round_all_processes_agree_that_it_is_down() -> None:
    processes = [Process(number) for number in range(4)]
    processes[2].fails(100.0, 5)
    news = processes[2].told(100.0 + ROUND_S)
    for one in processes:
        if one is not processes[2]:
            one.hears(news, 100.0 + ROUND_S, age_s=0.05)
    assert not any(one.allows(104.0) for one in processes)


@pytest.mark.parametrize("request_every_s", [0.05, 0.5, 2.0, 5.0])
def test_what_one_process_alone_cannot_reach_is_tried_there_ever_less_and_left_to_the_others(
    request_every_s: float,
) -> None:
    """Each recovery that the others tell is believed once, not once more after it proved wrong."""
    cut_off, well = Process(1), Process(2)
    tries = turned_away = requests = 0
    next_at = 100.0
    for tick in range(2000, 26_000):
        at = tick / 20
        if tick % 10 == 0 and cut_off.allows(at) and cut_off.book.on_start(1, at + cut_off.ahead_s):
            cut_off.fails(at)
            tries += 1
        if at >= next_at:
            next_at += request_every_s
            requests += 1
            if well.allows(at) and well.book.on_start(1, at + well.ahead_s):
                well.book.on_success(1, at + well.ahead_s, 100.0, 50.0)
            else:
                turned_away += 1
        for one, other in ((cut_off, well), (well, cut_off)):
            if one.turns.has_news or tick % 40 == 0:
                other.hears(one.told(at), at, age_s=0.01)
    assert tries < 30  # in twenty minutes
    assert turned_away <= requests * 0.02
    assert well.state() is BreakerState.CLOSED
