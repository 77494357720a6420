from __future__ import annotations

from decimal import Decimal

import pytest
from django.template import Context, Template
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from analytics.queries.types import Quantile, Share
from analytics.statistics import wilson
from dashboard import formatting, svg
from dashboard.templatetags import hub

THIN = "\N{NARROW NO-BREAK SPACE}"


def share(k: int, n: int) -> str:
    low, high = wilson(k, n)
    return hub.share_words(Share(k, n, low, high))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.00"),
        ("0.000000123", "$0.000000123"),
        ("0.00004567", "$0.0000457"),
        ("0.0123456", "$0.0123"),
        ("0.99999", "$1.0000"),
        ("1", "$1.00"),
        ("1234.565", "$1,234.56"),
        ("-2.5", "\N{MINUS SIGN}$2.50"),
    ],
)
def test_money_keeps_the_digits_that_matter(amount: str, text: str) -> None:
    assert formatting.money(Decimal(amount)) == text


@given(st.decimals(min_value=0, max_value=10**9, places=12))
def test_exact_money_loses_no_digit(amount: Decimal) -> None:
    text = formatting.money_exact(amount).replace(",", "").removeprefix("$")
    assert Decimal(text) == amount
    assert len(text.partition(".")[2]) >= 2


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0.42, f"0.4{THIN}ms"),
        (312.4, f"312{THIN}ms"),
        (999.7, f"1.00{THIN}s"),
        (1240, f"1.24{THIN}s"),
        (61_000, f"1{THIN}min 1{THIN}s"),
    ],
)
def test_durations_change_their_unit(ms: float, text: str) -> None:
    assert formatting.duration(ms) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (12_345, "12.3k"),
        (999_499, "999k"),
        (999_999, "1.00M"),
        (1_234_567, "1.23M"),
    ],
)
def test_token_counts_are_exact_until_they_are_long(n: int, text: str) -> None:
    assert formatting.tokens(n) == text


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_percentage_is_100_or_0_only_when_it_is(k: int, n: int) -> None:
    k = min(k, n)
    text = formatting.percent(k / n)
    assert (text == "100%") == (k == n)
    assert text != "0%"


def test_no_failure_is_not_certainty() -> None:
    assert share(100, 100) == "0 of 100 failed (true rate could be up to 3.7%)"
    assert share(90, 100).startswith("10 of 100 failed; 95% interval ")


def test_a_measured_cell_has_figure_interval_and_n() -> None:
    cell = hub.measured(Quantile(312.0, 290.0, 340.0, 212), "duration", 400.0)
    assert f"312{THIN}ms" in cell
    assert "n 212" in cell
    assert 'class="w-range"' in cell


@pytest.mark.parametrize(("tps", "text"), [(9.876, "9.88"), (416.4, "416"), (1526.2, "1,526")])
def test_a_speed_is_grouped_like_every_other_number(tps: float, text: str) -> None:
    assert formatting.speed(tps) == f"{text}{THIN}tok/s"


@pytest.mark.parametrize(("value", "text"), [(-0.2169, "\N{MINUS SIGN}0.2169"), (12.346, "12.35")])
def test_a_score_below_zero_has_a_real_minus(value: float, text: str) -> None:
    assert hub.score(value) == text


def test_too_few_values_have_no_interval_and_say_so() -> None:
    cell = hub.measured(Quantile(312.0, None, None, 4), "duration", 400.0)
    assert "n 4, no interval" in cell
    assert "w-range" not in cell


def test_nothing_measured_is_said_in_words() -> None:
    assert "not measured" in hub.measured(None, "duration", 1.0)
    assert "not measured" in hub.success(None)


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=40))
def test_a_sparkline_stays_in_its_box(values: list[float | None]) -> None:
    drawn = svg.sparkline(values)
    if sum(value is not None for value in values) < 2:
        assert drawn == ""
        return
    path = drawn.partition('class="s-line" d="')[2].partition('"')[0]
    for pair in path.replace("M", " ").replace("L", " ").split():
        x, _, y = pair.partition(",")
        assert 0 <= float(x) <= svg.SPARK_WIDTH
        assert 0 <= float(y.partition("H")[0]) <= svg.SPARK_HEIGHT


def test_names_are_escaped_in_drawings_and_badges() -> None:
    assert "<script>" not in hub.badge("<script>", "", '"><script>')
    assert "<script>" not in hub.lacking(["<script>"])


def test_chart_data_cannot_close_its_script_element() -> None:
    assert "</script>" not in hub._script_json({"name": "</script><script>alert(1)"})


def test_an_icon_that_is_not_drawn_is_an_error() -> None:
    with pytest.raises(KeyError):
        svg.icon("no-such-icon")


def test_links_keep_the_other_parameters() -> None:
    request = RequestFactory().get("/models/?q=a%26b&sort=price")
    context = Context({"request": request})
    page = Template('{% load hub %}{% link_with sort="-price" period="" %}').render(context)
    assert page == "?q=a%26b&amp;sort=-price"


def test_each_box_of_why_has_an_id_of_its_own() -> None:
    request = RequestFactory().get("/")
    page = Template('{% load hub %}{% why "spend" %}{% why "spend" %}').render(
        Context({"request": request})
    )
    assert page.count('id="why-spend-1"') == 1
    assert page.count('id="why-spend-2"') == 1
