from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.statistics import (
    failures_text,
    most_that_could_fail,
    quantile_rank,
    quantile_ranks,
    wilson,
)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (1, 1, 20.7, 100),
        (3, 4, 30.1, 95.4),
        (4, 4, 51.0, 100),
        (8, 8, 67.6, 100),
        (0, 5, 0, 43.4),
        (7, 10, 39.7, 89.2),
        (70, 100, 60.4, 78.1),
        (700, 1000, 67.1, 72.8),
    ],
)
def test_the_interval_of_a_share_is_wilsons(k: int, n: int, low: float, high: float) -> None:
    found = wilson(k, n)
    assert found is not None
    assert [round(100 * end, 1) for end in found] == [low, high]


def test_nothing_of_nothing_is_no_share() -> None:
    assert wilson(0, 0) is None


def test_more_than_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(3, 2)


@pytest.mark.parametrize(
    ("n", "q", "ranks"),
    [
        (100, 0.50, (40, 61)),
        (100, 0.95, (90, 100)),
        (200, 0.95, (184, 197)),
        (500, 0.99, (490, 500)),
        (1000, 0.50, (469, 532)),
        (1000, 0.95, (936, 964)),
        (1000, 0.99, (983, 997)),
    ],
)
def test_the_interval_of_a_percentile_is_of_order_statistics(
    n: int, q: float, ranks: tuple[int, int]
) -> None:
    assert quantile_ranks(n, q) == ranks


@pytest.mark.parametrize(("q", "enough"), [(0.50, 6), (0.90, 36), (0.95, 72), (0.99, 368)])
def test_the_upper_end_needs_enough_values(q: float, enough: int) -> None:
    assert quantile_ranks(enough, q)[1] == enough
    assert quantile_ranks(enough - 1, q)[1] is None


def test_large_numbers_take_the_normal_approximation_without_a_step() -> None:
    exact, approximate = quantile_ranks(200_000, 0.95), quantile_ranks(200_001, 0.95)
    assert None not in exact + approximate
    assert all(abs(a - b) <= 2 for a, b in zip(exact, approximate, strict=True))  # type: ignore[operator]


@settings(max_examples=100)
@given(n=st.integers(1, 3000), q=st.sampled_from([0.05, 0.5, 0.9, 0.95, 0.99]))
def test_the_interval_holds_the_percentile(n: int, q: float) -> None:
    low, high = quantile_ranks(n, q)
    assert (low or 1) <= quantile_rank(n, q) <= (high or n)


@pytest.mark.parametrize(("n", "percent"), [(100, 2.95), (1000, 0.30), (10_000, 0.03)])
def test_no_failure_still_leaves_room_for_some(n: int, percent: float) -> None:
    assert round(100 * most_that_could_fail(n), 2) == percent


@pytest.mark.parametrize(
    ("failed", "n", "text"),
    [
        (0, 100, "0 of 100 failed (true rate could be up to 3%)"),
        (0, 10_000, "0 of 10,000 failed (true rate could be up to 0.03%)"),
        (2, 100, "2 of 100 failed"),
        (0, 0, "no data"),
    ],
)
def test_a_hundred_percent_never_stands_alone(failed: int, n: int, text: str) -> None:
    assert failures_text(failed, n) == text
