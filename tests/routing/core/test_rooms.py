"""Processes that tell each other of endpoints without room, each with a clock of its own."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from routing.core.breaker import JITTER_SHARE, LONGEST_COOLDOWN_S
from routing.core.capacity import BURST_REQUESTS, LEAST_PER_S
from routing.core.errors import FailureClass
from routing.core.health import HealthBook
from routing.core.learning import Learning
from routing.core.rooms import LEAST_TOLD_S, Room, Rooms


class Process:
    def __init__(self, number: int) -> None:
        self.ahead_s = 10_000.0 * number
        self.book = HealthBook(Random(number))
        self.rooms = Rooms(self.book)

    def refused(self, at: float, retry_after_s: float | None = None) -> None:
        self.book.on_failure(1, at + self.ahead_s, FailureClass.CAPACITY, retry_after_s)

    def answers(self, at: float, per_s: float, seconds: float = 20.0) -> None:
        """Up to the moment `at`."""
        start = at + self.ahead_s - seconds
        for n in range(int(per_s * seconds)):
            now = start + n / per_s
            self.book.on_start(1, now)
            self.book.on_success(1, now, 100.0, 50.0)
            self.book.of(1).mark_seen(now)

    def told(self, at: float) -> list[Room]:
        """As it comes out of the database."""
        told = msgspec.json.encode(self.rooms.tell(at + self.ahead_s))
        return msgspec.json.decode(told, type=list[Room])

    def hears(self, rooms: list[Room], at: float, age_s: float = 0.0) -> None:
        self.rooms.hear(rooms, at + self.ahead_s, age_s)

    def is_quiet(self, at: float) -> bool:
        return self.book.is_quiet(1, at + self.ahead_s)

    def per_s(self) -> float:
        capacity = self.book.of(1).capacity
        return 0.0 if capacity is None or capacity.learned is None else capacity.learned.per_s


@pytest.fixture
def ours() -> Process:
    return Process(1)


@pytest.fixture
def theirs() -> Process:
    return Process(2)


def test_what_a_provider_asked_one_process_to_wait_all_processes_wait(
    ours: Process, theirs: Process
) -> None:
    theirs.refused(100.0, 30.0)
    ours.hears(theirs.told(101.0), 103.0, age_s=2.0)
    assert ours.book.changes == 1  # plans that were kept are made anew
    assert not ours.is_quiet(103.0)
    assert not ours.is_quiet(129.9)
    assert ours.is_quiet(130.0 + JITTER_SHARE * 29.0)


def test_a_rest_that_is_short_or_over_is_not_heard_of(ours: Process, theirs: Process) -> None:
    theirs.refused(100.0, LEAST_TOLD_S - 0.1)
    assert theirs.told(100.0) == []
    theirs.refused(200.0, 10.0)
    ours.hears(theirs.told(200.0), 220.0, age_s=20.0)
    assert ours.is_quiet(220.0)
    assert ours.book.changes == 0


def test_a_rest_is_told_once_and_not_told_on(ours: Process, theirs: Process) -> None:
    theirs.refused(100.0, 30.0)
    told = theirs.told(100.0)
    assert [one.rest_s for one in told] == [30.0]
    assert theirs.told(101.0) == []
    ours.hears(told, 101.0)
    assert ours.told(102.0) == []


def test_news_shortens_no_rest_of_our_own(ours: Process, theirs: Process) -> None:
    ours.refused(100.0, 40.0)
    theirs.refused(100.0, 5.0)
    ours.hears(theirs.told(100.0), 100.0)
    assert not ours.is_quiet(139.0)


def test_how_long_a_process_rests_that_was_not_told_is_its_own_guess(
    ours: Process, theirs: Process
) -> None:
    for n in range(9):
        theirs.refused(100.0 + n)
    assert not theirs.is_quiet(109.0)
    assert theirs.told(109.0) == []
    theirs.answers(200.0, per_s=8.0)
    theirs.refused(200.0)
    ours.hears(theirs.told(200.0), 200.0)
    assert ours.per_s() > 0.0  # it has a cap then, and no rest
    assert ours.is_quiet(200.0)


def test_a_refused_account_is_no_want_of_room(theirs: Process) -> None:
    for _ in range(3):
        theirs.book.on_failure(1, 100.0 + theirs.ahead_s, FailureClass.CREDENTIAL, 30.0)
    assert theirs.told(100.0) == []


def test_a_process_that_knows_no_cap_begins_with_that_of_another(
    ours: Process, theirs: Process
) -> None:
    theirs.answers(100.0, per_s=8.0)
    theirs.refused(100.0)
    ours.hears(theirs.told(100.0), 101.0)
    assert 0.0 < theirs.per_s() < 8.5
    assert ours.per_s() == pytest.approx(theirs.per_s())
    now = 110.0 + ours.ahead_s
    closed = [ours.book.on_start(1, now) and not ours.is_quiet(110.0) for _ in range(20)]
    assert closed.index(True) == BURST_REQUESTS - 1  # it has not used its room yet


def test_a_process_that_is_answered_more_often_keeps_its_rate(
    ours: Process, theirs: Process
) -> None:
    ours.answers(100.0, per_s=20.0)
    theirs.answers(100.0, per_s=2.0)
    theirs.refused(100.0)
    ours.hears(theirs.told(100.0), 100.0)
    assert ours.per_s() > 15.0


def test_a_cap_of_our_own_is_left_alone(ours: Process, theirs: Process) -> None:
    ours.answers(100.0, per_s=5.0)
    ours.refused(100.0)
    before = ours.per_s()
    theirs.answers(100.0, per_s=50.0)
    theirs.refused(100.0)
    ours.hears(theirs.told(100.0), 100.0)
    assert ours.per_s() == before


@pytest.mark.parametrize(
    "room", [Room(1, -1.0), Room(1, 1e9), Room(1, 5.0, -1.0), Room(1, 5.0, 1e300)]
)
def test_news_that_cannot_be_true_is_left_out(ours: Process, room: Room) -> None:
    ours.hears([room], 100.0)
    assert ours.is_quiet(100.0)
    assert ours.per_s() == 0.0


def test_what_others_write_rests_an_endpoint_no_longer_than_a_minute_and_a_fifth(
    ours: Process,
) -> None:
    ours.hears([Room(1, LONGEST_COOLDOWN_S, 1e-300), Room(9, 5.0)], 100.0, age_s=-1e9)
    assert ours.is_quiet(100.0 + LONGEST_COOLDOWN_S * (1 + JITTER_SHARE))
    assert ours.per_s() == LEAST_PER_S
    ours.book.forget_missing(frozenset({1}))
    ours.hears([Room(9, 5.0)], 100.0)
    assert [number for number, _ in ours.book.books()] == [1]


def test_it_travels_with_everything_else_that_is_learned() -> None:
    ours, theirs = Learning(HealthBook(Random(1))), Learning(HealthBook(Random(2)))
    theirs.health.on_failure(1, 50.0, FailureClass.CAPACITY, 20.0)
    assert not theirs.is_urgent
    ours.hear(theirs.tell(50.0), 900.0, 0.1)
    assert ours.health.of(1).breaker.is_cooling(919.0)
    assert theirs.tell(51.0) == b""
