"""Health that processes share: what one tells, another adds to its own."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from routing.core.errors import FailureClass
from routing.core.health import HALF_LIFE_S, REBASE_S, HealthBook
from routing.core.learning import Learning
from routing.core.news import News
from routing.core.sightings import Sighting, Sums
from routing.core.turns import Turn
from tests.routing.factories import endpoint, health, stats

NEW = endpoint("new", 1)
KNOWN = endpoint("known", 1, stats=stats(400, 100))


def seen(book: HealthBook, now: float, times: int = 40, ttft_ms: float = 800.0) -> None:
    for _ in range(times):
        book.on_success(1, now, ttft_ms, 50.0)


def passed_on(book: HealthBook, now: float) -> list[Sighting]:
    """As it comes out of the database."""
    news: News = msgspec.json.decode(msgspec.json.encode(News(book.tell(now))), type=News)
    return news.endpoints


def test_what_one_process_saw_the_other_knows() -> None:
    ours, theirs = health(), health()
    seen(theirs, 100.0)
    ours.hear(passed_on(theirs, 102.0), 5000.0, age_s=1.0)
    numbers = ours.numbers(NEW, 5000.0)
    assert numbers.ttft_ms == pytest.approx(800.0)
    assert numbers.speed_tps == pytest.approx(50.0)
    assert numbers.success_rate == 1.0
    assert numbers.samples == 39  # decayed a little before it was told


def test_nothing_is_told_twice_and_nothing_that_was_heard_is_told_on() -> None:
    ours, theirs = health(), health()
    seen(theirs, 100.0)
    told = passed_on(theirs, 100.0)
    assert passed_on(theirs, 101.0) == []
    ours.hear(told, 5000.0, age_s=0.0)
    assert passed_on(ours, 5001.0) == []
    seen(ours, 5002.0, times=3, ttft_ms=200.0)
    (own,) = passed_on(ours, 5002.0)
    success, log_ttft = own.sums[:2]
    assert success.weight == pytest.approx(3.0)
    assert log_ttft.total / log_ttft.weight == pytest.approx(5.2983, abs=1e-3)


def test_two_that_share_know_what_one_that_saw_all_would_know() -> None:
    first, second, alone = health(), health(), health()
    now = 100.0
    for n in range(200):
        now += 1.7
        book = first if n % 3 else second
        for one in (book, alone):
            if n % 17 == 0:
                one.on_failure(1, now, FailureClass.TIMEOUT, None)
            else:
                one.on_success(1, now, 300.0 + n, 80.0 + n % 7)
        if n % 5 == 0:
            second.hear(first.tell(now), now, 0.0)
            first.hear(second.tell(now), now, 0.0)
    second.hear(first.tell(now), now, 0.0)
    first.hear(second.tell(now), now, 0.0)
    expected = alone.numbers(KNOWN, now)
    for one in (first, second):
        got = one.numbers(KNOWN, now)
        for name in ("ttft_ms", "speed_tps", "success_rate", "ttft_spread", "speed_spread"):
            assert getattr(got, name) == pytest.approx(getattr(expected, name), rel=1e-6), name


def test_old_news_weighs_less() -> None:
    ours, theirs = health(), health()
    seen(ours, 5000.0, ttft_ms=200.0)
    seen(theirs, 100.0, ttft_ms=800.0)
    ours.hear(theirs.tell(100.0), 5000.0, age_s=20 * HALF_LIFE_S)
    assert ours.numbers(NEW, 5000.0).ttft_ms == pytest.approx(200.0, rel=0.01)


def test_the_figures_of_others_alone_do_not_trip_the_breaker_here() -> None:
    ours, theirs = health(), health()
    for _ in range(10):
        theirs.on_failure(1, 100.0, FailureClass.TRANSIENT, None)
    ours.hear(theirs.tell(100.0), 5000.0, age_s=0.0)
    assert ours.numbers(NEW, 5000.0).success_rate == 0.0
    assert ours.is_quiet(1, 5000.0)


def test_weights_stay_in_range_over_weeks() -> None:
    ours, theirs = health(), health()
    now = 0.0
    for _ in range(30):
        now += REBASE_S * 0.9
        seen(theirs, now, times=10)
        ours.hear(theirs.tell(now), now, age_s=0.0)
    assert ours.numbers(NEW, now).ttft_ms == pytest.approx(800.0)
    assert theirs.tell(now) == ours.tell(now) == []


@pytest.mark.parametrize(
    "text",
    [b"[]", b'{"endpoints": 3}', b'{"endpoints": [[1]]}', b'{"lengths": [["x"]]}', b"nonsense"],
)
def test_what_is_no_news_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        Learning(health()).hear(text, 0.0, 0.0)


def test_sums_that_nobody_can_have_seen_are_left_out() -> None:
    wild = Sighting(1, (Sums(1e300, 1.0, 1.0),))
    below = Sighting(2, (Sums(-5.0, 1.0, 1.0),))
    sound = Sighting(3, (Sums(1.0, 1.0, 1.0),))
    ours = Learning(health())
    ours.hear(msgspec.json.encode(News([wild, below, sound])), 100.0, 0.0)
    seen_of = {n: ours.health.of(n).success.weight for n in (1, 2, 3)}
    assert seen_of == {1: 0.0, 2: 0.0, 3: pytest.approx(1.0)}


def test_a_process_of_another_version_is_understood_as_far_as_both_know() -> None:
    more, fewer = tuple([Sums(2.0, 2.0, 2.0)] * 9), (Sums(2.0, 1.0, 1.0),)
    ours = Learning(health())
    ours.hear(msgspec.json.encode(News([Sighting(1, more), Sighting(2, fewer)])), 100.0, 0.0)
    assert ours.health.of(1).success.weight == pytest.approx(2.0)
    assert ours.health.of(2).log_ttft.weight == 0.0
    assert ours.health.numbers(endpoint("b", 2), 100.0).success_rate == pytest.approx(0.5)


ANY_FLOAT = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [1e300, -1e300, 5e8, 0.0, 1e-300, -1.0]
)


@settings(max_examples=200)
@example([Sums(), Sums(1.0, 4e8, 1.0)], 0.0)
@example([Sums(1.0, -50.0, 1.0)], 0.0)
@example([Sums(), Sums(1.0, 6.0, 1e300)], 0.0)
@given(st.lists(st.builds(Sums, ANY_FLOAT, ANY_FLOAT, ANY_FLOAT), max_size=7), ANY_FLOAT)
def test_whatever_others_write_figures_stay_figures(sums: list[Sums], age_s: float) -> None:
    """A row that makes a mean of nonsense would fail every plan of the model."""
    ours = Learning(health())
    seen(ours.health, 100.0, times=3)
    ours.hear(msgspec.json.encode(News([Sighting(1, tuple(sums))])), 101.0, age_s)
    numbers = ours.health.numbers(NEW, 101.0)
    assert 0.0 <= (numbers.success_rate or 0.0) <= 1.001
    assert 0.0 <= numbers.cached_share <= 1.001
    assert numbers.ttft_ms is not None
    assert 0.0 < numbers.ttft_ms < 1e25
    late = numbers.ttft_ms_at(99.9)
    assert late is not None
    assert late > 0.0


def test_nothing_is_taken_in_of_endpoints_that_do_not_exist() -> None:
    ours = Learning(health())
    ours.health.forget_missing(frozenset({1}))
    sound = (Sums(1.0, 1.0, 1.0),)
    news = News(
        [Sighting(n, sound) for n in range(50)], [], [Turn(n, True, 0.0) for n in range(50)]
    )
    ours.hear(msgspec.json.encode(news), 100.0, 0.0)
    assert [number for number, _ in ours.health.books()] == [1]
