"""The line before a gateway that is full, on a virtual clock."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.waiting import (
    HALF_LIFE_S,
    LEAST_RETRY_S,
    MOST_RETRY_S,
    Line,
    Pace,
    Urgency,
    Waiter,
    urgency_of,
)

WHOLE, STREAM, BACKGROUND = Urgency


def line(most: int, *urgencies: Urgency) -> tuple[Line[Waiter], list[Waiter]]:
    """A line that these have entered, a second apart."""
    made: Line[Waiter] = Line(most)
    waiters = [Waiter(urgency, until=float(at + 10)) for at, urgency in enumerate(urgencies)]
    assert [made.enter(waiter) for waiter in waiters] == [None] * len(waiters)
    return made, waiters


def served(made: Line[Waiter]) -> list[Waiter]:
    found = []
    while (waiter := made.serve()) is not None:
        found.append(waiter)
    return found


def test_more_urgent_ones_come_first_and_among_equals_who_came_first() -> None:
    made, (a, b, c, d, e) = line(20, STREAM, BACKGROUND, WHOLE, STREAM, WHOLE)
    assert served(made) == [c, e, a, d, b]


def test_a_line_that_is_more_than_half_full_serves_the_newest_of_the_most_urgent() -> None:
    made, (a, b, c, d) = line(4, WHOLE, STREAM, WHOLE, STREAM)
    assert made.serves_newest
    assert made.serve() is c
    assert made.serve() is a  # three of four: still more than half
    assert served(made) == [b, d]  # and now who came first


def test_where_there_is_no_room_the_oldest_of_the_least_urgent_has_to_go() -> None:
    made, (_, old, young) = line(3, WHOLE, STREAM, STREAM)
    assert made.enter(Waiter(WHOLE, 20.0)) is old
    assert made.enter(Waiter(STREAM, 20.0)) is young
    least = Waiter(BACKGROUND, 20.0)
    assert made.enter(least) is least
    assert len(made) == 3


def test_those_who_waited_long_enough_are_taken_out_once() -> None:
    made, (a, b, c) = line(9, WHOLE, BACKGROUND, WHOLE)
    assert made.take_late(9.9) == []
    assert made.take_late(11.0) == [a, b]
    assert made.take_late(11.0) == []
    assert served(made) == [c]


@pytest.mark.parametrize(
    ("kind", "raw", "urgency"),
    [
        ("traffic", b'{"model":"m"}', WHOLE),
        ("traffic", b'{"stream": true}', STREAM),
        ("traffic", b'{"stream":\ttrue,"n":1}', STREAM),
        ("traffic", b'{"stream":false}', WHOLE),
        ("traffic", b'{"content":"say \\"stream\\": true"}', WHOLE),
        ("playground", b"{}", WHOLE),
        ("batch", b"{}", BACKGROUND),
        ("probe", b'{"stream":true}', BACKGROUND),
        ("shadow", b"{}", BACKGROUND),
    ],
)
def test_urgency_is_told_without_parsing(kind: str, raw: bytes, urgency: Urgency) -> None:
    assert urgency_of(kind, raw) is urgency


STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "serve", "leave", "late"]), st.sampled_from(list(Urgency))),
    max_size=80,
)


@settings(max_examples=150)
@given(st.integers(1, 6), STEPS, st.integers(0, 10**6))
def test_the_line_keeps_its_bound_and_its_order_and_loses_nobody(
    most: int, steps: list[tuple[str, Urgency]], seed: int
) -> None:
    made: Line[Waiter] = Line(most)
    rng, waiting, now = Random(seed), set[Waiter](), 0.0
    for what, urgency in steps:
        now += rng.random()
        if what == "enter":
            waiter = Waiter(urgency, now + 1.0)
            waiting.add(waiter)
            gone = made.enter(waiter)
            if gone is not None:
                assert gone.urgency == max(one.urgency for one in waiting)
                waiting.remove(gone)
        elif what == "serve":
            best = min((one.urgency for one in waiting), default=None)
            called = made.serve()
            assert (None if called is None else called.urgency) == best
            waiting.discard(called)  # type: ignore[arg-type]
        elif what == "leave" and waiting:
            left = rng.choice(sorted(waiting, key=lambda one: one.until))
            made.leave(left)
            waiting.remove(left)
        elif what == "late":
            late = made.take_late(now)
            assert set(late) == {one for one in waiting if one.until <= now}
            waiting -= set(late)
        assert set(made) == waiting
        assert len(made) <= most


def watched(pace: Pace, seconds: int, freed_per_s: int, now: float = 0.0) -> float:
    pace.begin(now)
    for _ in range(seconds * 10):
        now += 0.1
        pace.note(freed_per_s // 10, now)
    return now


def test_the_pace_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    assert not pace.is_known
    now = watched(pace, 10, 100)
    assert pace.per_s == pytest.approx(100, rel=0.02)
    watched(pace, 30, 20, now)
    assert pace.per_s == pytest.approx(20, rel=0.1)


def test_who_is_turned_away_is_told_when_those_before_will_be_through() -> None:
    pace = Pace()
    watched(pace, 10, 100)
    assert pace.retry_after_s(499, 0.0) == pytest.approx(5.0, rel=0.02)
    assert pace.retry_after_s(499, 1.0) == pytest.approx(6.0, rel=0.02)
    assert pace.retry_after_s(0, 0.0) == LEAST_RETRY_S
    assert pace.retry_after_s(10_000, 1.0) == MOST_RETRY_S


def test_a_pace_that_was_not_watched_for_long_is_unknown_again() -> None:
    pace = Pace()
    now = watched(pace, 10, 100)
    pace.begin(now + 1.0)
    assert pace.is_known
    pace.begin(now + 6 * HALF_LIFE_S)
    assert not pace.is_known
    assert pace.retry_after_s(400, 0.0) == LEAST_RETRY_S


def test_nothing_free_for_long_is_a_slow_pace_and_not_an_endless_wait() -> None:
    pace = Pace()
    watched(pace, 20, 0)
    assert 0 < pace.per_s < 0.1
    assert pace.retry_after_s(5, 0.0) == MOST_RETRY_S


def test_the_word_over_and_over_is_no_sign_of_haste_and_not_counted_to_its_end() -> None:
    often = b'["stream",' + b'"stream",' * 200_000 + b"0]"
    assert urgency_of("traffic", often) is STREAM
    assert urgency_of("traffic", b'["stream","stream",0]') is WHOLE
