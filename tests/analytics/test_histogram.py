from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.histogram import ALPHA, bin_of, of_values, quantile, value_of
from analytics.statistics import quantile_rank

values = st.floats(0.01, 1_200_000, allow_nan=False)


@given(values)
@settings(max_examples=200)
def test_a_bin_tells_its_values_within_one_percent(value: float) -> None:
    assert value_of(bin_of(value)) == pytest.approx(value, rel=ALPHA * 1.0001)


@given(st.lists(st.lists(values, max_size=30), min_size=1, max_size=5))
@settings(max_examples=100)
def test_merging_is_the_same_as_counting_all_at_once(parts: list[list[float]]) -> None:
    merged = sum((of_values(part) for part in parts), start=of_values([]))
    assert merged == of_values(value for part in parts for value in part)


@given(st.lists(values, min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(max_examples=100)
def test_a_quantile_is_the_value_at_its_rank_within_one_percent(
    sample: list[float], q: float
) -> None:
    found = quantile(of_values(sample), q)
    assert found is not None
    exact = sorted(sample)[quantile_rank(len(sample), q) - 1]
    assert found.value == pytest.approx(exact, rel=ALPHA * 1.0001)
    assert found.n == len(sample)


def test_the_interval_is_made_of_values_at_ranks() -> None:
    found = quantile(of_values(range(1, 1001)), 0.95)
    assert found is not None
    assert found.low == pytest.approx(936, rel=0.01)
    assert found.high == pytest.approx(964, rel=0.01)


def test_too_few_values_leave_the_upper_end_open() -> None:
    found = quantile(of_values([100.0] * 71), 0.95)
    assert found is not None
    assert found.high is None


def test_nothing_measured_is_no_number() -> None:
    assert quantile({}, 0.5) is None


def test_zero_counts_as_the_least_value() -> None:
    assert math.isfinite(value_of(bin_of(0.0)))
