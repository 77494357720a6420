"""Figures are valid Plotly, say in words what they show, and hold every value in a table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.queries.types import SeriesPoint
from dashboard import charts
from dashboard.charts import PricePoint, SpeedPoint

DAY = dt.date(2026, 11, 1)
MOMENT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def is_valid(chart: charts.Chart) -> bool:
    """Raises ValueError on a property that Plotly does not know."""
    go.Figure(chart.figure)
    return bool(chart.summary) and all(len(row) == len(chart.heads) for row in chart.rows)


def spend_point(label: str, usd: str, day: int = 0) -> SeriesPoint:
    start = MOMENT + dt.timedelta(days=day)
    return SeriesPoint(start, 1, label.lower(), label, Decimal(usd), 3)


names = st.text("abcdefghij", min_size=1, max_size=6)
spend_points = st.lists(
    st.builds(
        spend_point,
        names,
        st.decimals(min_value=0, max_value=1000, places=6).map(str),
        st.integers(0, 9),
    ),
    max_size=40,
)


@given(spend_points)
def test_spend_keeps_every_cent_whatever_the_number_of_series(points: list[SeriesPoint]) -> None:
    chart = charts.spend_by_day(points, DAY, DAY + dt.timedelta(days=9))
    total = sum((point.cost_usd for point in points), Decimal(0))
    if not total:
        assert chart is None
        return
    assert chart is not None
    assert is_valid(chart)
    drawn = chart.figure["data"]
    assert len(drawn) <= charts.SERIES_COLOURS + 1
    assert sum(sum(trace["y"]) for trace in drawn) == pytest.approx(float(total))


def test_the_smallest_series_are_summed_as_other() -> None:
    points = [spend_point(f"provider {n}", str(10 - n)) for n in range(9)]
    chart = charts.spend_by_day(points, DAY, DAY)
    assert chart is not None
    labels = [trace["name"] for trace in reversed(chart.figure["data"])]
    assert labels[-1] == charts.OTHER
    assert labels[0] == "provider 0"


@given(st.lists(names, unique=True, max_size=6))
def test_up_to_six_series_have_colours_of_their_own(picked: list[str]) -> None:
    found = charts.colours(picked)
    assert len(set(found.values())) == len(picked)


def test_a_name_has_the_same_colour_everywhere() -> None:
    assert charts.series_index("Groq") == charts.series_index("Groq")
    assert charts.colours(["Groq"])["Groq"] == charts.series_index("Groq")


def price(series: str, usd: str, day: int) -> PricePoint:
    return PricePoint(series, MOMENT + dt.timedelta(days=day), Decimal(usd))


def test_prices_that_never_changed_are_no_chart() -> None:
    flat = [price("A", "1", 0), price("B", "2", 0)]
    assert charts.price_history(flat, "input", MOMENT + dt.timedelta(days=9)) is None


def test_a_changed_price_is_a_step_and_a_row() -> None:
    points = [price("A", "1", 0), price("A", "0.5", 3), price("B", "2", 0)]
    chart = charts.price_history(points, "output", MOMENT + dt.timedelta(days=9))
    assert chart is not None
    assert is_valid(chart)
    assert chart.figure["data"][0]["name"] == "A"
    assert chart.figure["data"][0]["y"] == [1.0, 0.5, 0.5]
    assert len(chart.rows) == 3
    assert "1 change on record" in chart.summary


def test_a_price_of_tomorrow_is_not_drawn_yet() -> None:
    points = [price("A", "1", 0), price("A", "0.5", 20)]
    assert charts.price_history(points, "input", MOMENT + dt.timedelta(days=9)) is None


def speed(label: str, usd: str, tps: float, half: float = 1.0) -> SpeedPoint:
    return SpeedPoint(label, Decimal(usd), tps, tps - half, tps + half)


speeds = st.lists(
    st.builds(
        speed,
        names,
        st.decimals(min_value="0.01", max_value=50, places=3).map(str),
        st.floats(5, 3000),
        st.floats(0, 4),
    ),
    max_size=12,
    unique_by=lambda point: point.label,
)


@given(speeds)
def test_speed_against_price_is_valid_and_names_nobody_twice(points: Sequence[SpeedPoint]) -> None:
    chart = charts.speed_against_price(points)
    if len(points) < 2:
        assert chart is None
        return
    assert chart is not None
    assert is_valid(chart)
    shown = [text for text in chart.figure["data"][0]["text"] if text]
    assert len(shown) == len(set(shown))


def test_only_what_is_slower_beyond_doubt_and_not_cheaper_is_grey() -> None:
    chart = charts.speed_against_price(
        [speed("cheap", "0.1", 50), speed("near", "0.2", 50.5), speed("fast", "0.2", 100)]
    )
    assert chart is not None
    points = dict(
        zip(
            chart.figure["data"][0]["customdata"],
            chart.figure["data"][0]["marker"]["symbol"],
            strict=True,
        )
    )
    assert points == {"cheap": "circle", "fast": "circle", "near": "circle-open"}


def test_bare_medians_lead_nothing() -> None:
    bare = [
        SpeedPoint(name, Decimal(1), tps, None, None) for name, tps in (("a", 9.0), ("b", 90.0))
    ]
    chart = charts.speed_against_price(bare)
    assert chart is not None
    assert "Too little was measured" in chart.summary
    assert set(chart.figure["data"][0]["marker"]["symbol"]) == {"circle-open"}


@pytest.mark.parametrize(
    ("highest", "ticks"), [("0.0114", ",.3~f"), ("0.5", ",.2~f"), ("3", ",.1~f"), ("1200", ",.0~f")]
)
def test_ticks_of_small_sums_can_be_told_apart(highest: str, ticks: str) -> None:
    day = dt.datetime(2026, 11, 3, tzinfo=dt.UTC)
    parts = [SeriesPoint(day, n, f"p{n}", f"P{n}", Decimal(highest) / 2, 1) for n in (1, 2)]
    chart = charts.spend_by_day(parts, day.date(), day.date())
    assert chart is not None
    assert chart.figure["layout"]["yaxis"]["tickformat"] == ticks
