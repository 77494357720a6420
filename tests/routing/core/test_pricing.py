from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.pricing import PriceSheet, charge, charge_with, quantities
from routing.core.usage import Meter, Usage
from tests.routing.factories import LONG_AGO, NOON, price, sheet

TOKENS = st.integers(min_value=0, max_value=2_000_000)
USD = st.decimals(min_value=0, max_value=500, places=6, allow_nan=False, allow_infinity=False)


def test_a_cached_prompt_is_priced_by_its_parts() -> None:
    """The worked example of the price library: 1,000 in, 600 of them cached, 200 out."""
    rows = PriceSheet(
        [price("input", "0.15", 1), price("cache_read", "0.075", 2), price("output", "0.60", 3)]
    )
    bill = charge(Usage(input_total=1000, cache_read=600, output_total=200), rows, NOON)
    assert bill.amount_usd == Decimal("0.000225")
    assert {line.meter: line.price_id for line in bill.lines} == {
        "input": 1,
        "cache_read": 2,
        "output": 3,
    }


def test_anthropic_cache_writes_and_reads_are_priced_apart() -> None:
    rows = PriceSheet(
        [
            price("input", "3", 1),
            price("cache_read", "0.30", 2),
            price("cache_write_5m", "3.75", 3),
            price("output", "15", 4),
        ]
    )
    usage = Usage(input_total=3012, cache_read=2000, cache_write_5m=1000, output_total=30)
    assert charge(usage, rows, NOON).amount_usd == Decimal("0.004836")


def test_a_cache_read_without_a_price_of_its_own_costs_what_input_costs() -> None:
    bill = charge(Usage(input_total=1000, cache_read=400, output_total=0), sheet("1", "2"), NOON)
    assert bill.amount_usd == Decimal("0.001")
    assert not bill.unpriced


def test_a_meter_without_any_price_is_named_and_not_free() -> None:
    bill = charge(Usage(input_total=10, output_total=5), PriceSheet([price("input", "1")]), NOON)
    assert bill.unpriced == (Meter.OUTPUT,)


def test_reasoning_is_inside_output_unless_it_has_its_own_price() -> None:
    usage = Usage(input_total=0, output_total=100, reasoning=80)
    assert charge(usage, sheet("1", "10"), NOON).amount_usd == Decimal("0.001")
    apart = PriceSheet([price("output", "10", 1), price("reasoning", "5", 2)])
    assert charge(usage, apart, NOON).amount_usd == Decimal("0.0006")


def test_the_latest_row_in_force_wins_and_a_future_row_waits() -> None:
    tomorrow = NOON + dt.timedelta(days=1)
    rows = PriceSheet(
        [
            price("input", "1", 1, effective_from=LONG_AGO),
            price("input", "2", 2, effective_from=NOON),
            price("input", "3", 3, effective_from=tomorrow),
        ]
    )
    assert rows.at(NOON - dt.timedelta(seconds=1))[Meter.INPUT].id == 1
    assert rows.at(NOON)[Meter.INPUT].id == 2
    assert rows.at(tomorrow)[Meter.INPUT].id == 3


@pytest.mark.parametrize(
    ("hour", "weekday_offset", "expected"),
    [(2, 0, 2), (3, 0, 2), (4, 0, 1), (12, 0, 1), (2, 5, 1)],
)
def test_a_time_window_holds_only_inside_its_hours_and_weekdays(
    hour: int, weekday_offset: int, expected: int
) -> None:
    monday_to_friday = 0b11111
    rows = PriceSheet(
        [
            price("input", "1", 1),
            price(
                "input", "2", 2, utc_from_minute=60, utc_until_minute=240, weekdays=monday_to_friday
            ),
        ]
    )
    monday = dt.datetime(2026, 11, 23, hour, tzinfo=dt.UTC)
    assert rows.at(monday + dt.timedelta(days=weekday_offset))[Meter.INPUT].id == expected


def test_a_window_may_wrap_midnight() -> None:
    rows = PriceSheet(
        [price("input", "1", 1), price("input", "2", 2, utc_from_minute=1380, utc_until_minute=60)]
    )
    at = [dt.datetime(2026, 11, 23, h, 30, tzinfo=dt.UTC) for h in (23, 0, 1)]
    assert [rows.at(moment)[Meter.INPUT].id for moment in at] == [2, 2, 1]


def test_a_context_tier_prices_all_tokens_once_it_is_reached() -> None:
    rows = PriceSheet([price("input", "1", 1), price("input", "2", 2, min_input_tokens=200_000)])
    below = charge(Usage(input_total=199_999, output_total=0), rows, NOON)
    above = charge(Usage(input_total=200_000, output_total=0), rows, NOON)
    assert below.amount_usd == Decimal("0.199999")
    assert above.amount_usd == Decimal("0.4")


@given(TOKENS, TOKENS, TOKENS, USD, USD, USD)
def test_a_charge_is_exact_and_the_sum_of_its_lines(
    uncached: int, cached: int, output: int, p_in: Decimal, p_cache: Decimal, p_out: Decimal
) -> None:
    rows = PriceSheet(
        [
            price("input", str(p_in), 1),
            price("cache_read", str(p_cache), 2),
            price("output", str(p_out), 3),
        ]
    )
    usage = Usage(input_total=uncached + cached, cache_read=cached, output_total=output)
    bill = charge(usage, rows, NOON)
    assert bill.amount_usd == sum((line.amount_usd for line in bill.lines), Decimal(0))
    micro = (
        uncached * int(p_in * 10**6) + cached * int(p_cache * 10**6) + output * int(p_out * 10**6)
    )
    assert bill.amount_usd * 10**12 == micro
    assert bill.amount_usd == bill.amount_usd.quantize(Decimal("1e-12"))


@given(TOKENS, TOKENS, TOKENS, TOKENS)
def test_the_parts_of_the_input_never_exceed_their_total(a: int, b: int, c: int, d: int) -> None:
    parts = quantities(
        Usage(input_total=a + b + c + d, cache_read=b, cache_write_5m=c, cache_write_1h=d)
    )
    assert sum(parts.values()) == a + b + c + d


QUANTITY = st.one_of(st.none(), st.integers(0, 3_000_000))
UNIT_USD = st.decimals(min_value=0, max_value=2000, places=6, allow_nan=False).flatmap(
    lambda usd: st.sampled_from([usd, usd.normalize()])
)
COUNTED = [name for name in Usage.__struct_fields__ if name not in ("provider_cost_usd", "source")]


@settings(max_examples=200)
@given(
    st.dictionaries(st.sampled_from(list(Meter)), UNIT_USD, max_size=6),
    st.dictionaries(st.sampled_from(COUNTED), QUANTITY),
)
def test_the_quick_way_to_a_charge_says_what_the_rule_in_full_says_to_the_digit(
    units: dict[Meter, Decimal], counts: dict[str, int | None]
) -> None:
    plain = {Meter.INPUT: Decimal("0.15"), Meter.OUTPUT: Decimal("0.6")}
    for prices in (units, {**plain, **units}):
        rows = PriceSheet(
            [price(meter, str(usd), i) for i, (meter, usd) in enumerate(prices.items(), 1)]
        )
        for usage in (Usage(**counts), Usage(**{**counts, "input_total": 900})):
            quick, full = charge(usage, rows, NOON), charge_with(rows.at(NOON), usage)
            assert repr(quick) == repr(full)


def test_a_settled_sheet_answers_by_tier_and_size_and_shares_the_answer() -> None:
    rows = PriceSheet(
        [
            price("input", "1", 1),
            price("input", "2", 2, service_tier="flex"),
            price("input", "3", 3, min_input_tokens=1000),
        ]
    )
    asked = [(999, ""), (1000, ""), (10, "flex"), (5000, "flex"), (10, "unheard-of")]
    assert [rows.at(NOON, *one)[Meter.INPUT].id for one in asked] == [1, 3, 2, 2, 1]
    assert rows.tariff(NOON, 5, "x") is rows.tariff(NOON, 6, "y")
    assert rows.is_steady(NOON, 1, 999)
    assert not rows.is_steady(NOON, 999, 1000)
    assert not rows.is_steady(LONG_AGO.replace(year=2020), 1, 2)
