from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.charges import Price
from routing.core.pricing import PriceSheet, charge
from routing.core.usage import Meter, Usage
from routing.simulator.prices import DAYS, PriceRow, Tally, cost_usd, plain, rates_at, row_from
from routing.simulator.world import CATALOG_DIR, build_world, read_documents

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)  # a Monday
LONG_AGO = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def test_cache_tokens_have_their_own_price_and_else_the_inputs() -> None:
    tally = Tally(input_total=1000, cache_read=400, cache_write_5m=100, output_total=10)
    rows = (row("input", "3"), row("output", "15"))
    assert cost_usd(tally, rows, NOON) == Decimal("0.00315")
    own = (*rows, row("cache_read", "0.3"), row("cache_write_5m", "3.75"))
    assert cost_usd(tally, own, NOON) == Decimal("0.002145")


def test_a_context_tier_prices_all_tokens_once_reached() -> None:
    rows = (row("input", "1"), row("input", "2", min_input_tokens=100))
    assert cost_usd(Tally(input_total=99), rows, NOON) == Decimal("0.000099")
    assert cost_usd(Tally(input_total=100), rows, NOON) == Decimal("0.0002")


@pytest.mark.parametrize(("hour", "usd"), [(0, "1"), (1, "2"), (3, "2"), (4, "1")])
def test_a_window_is_half_open(hour: int, usd: str) -> None:
    rows = (row("input", "1"), row("input", "2", utc_from="01:00", utc_until="04:00"))
    assert rates_at(rows, NOON.replace(hour=hour))["input"] == Decimal(usd)


def test_a_row_of_the_future_does_not_count_yet() -> None:
    rows = (row("input", "1"), row("input", "9", effective_from="2027-01-01T00:00:00Z"))
    assert rates_at(rows, NOON) == {"input": Decimal(1)}


def test_money_is_written_without_exponent() -> None:
    assert plain(Decimal("1E-9")) == "0.000000001"
    assert plain(Decimal("0.1500")) == "0.15"
    assert plain(Decimal(0)) == "0"


METERS = [
    "input",
    "output",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "reasoning",
    "request",
]
CLOCKS = ["", "00:30", "04:00", "11:59", "12:00", "23:00"]


@st.composite
def rows_of_one_endpoint(draw: st.DrawFn) -> list[PriceRow]:
    def one(number: int) -> PriceRow:
        start = draw(st.sampled_from(CLOCKS))
        return PriceRow(
            meter=draw(st.sampled_from(METERS)),
            usd=draw(st.decimals(0, 100, places=6)),
            effective_from=LONG_AGO + dt.timedelta(hours=number),
            min_input_tokens=draw(st.sampled_from([0, 0, 500])),
            service_tier=draw(st.sampled_from(["", "", "flex"])),
            utc_from=start,
            utc_until=draw(st.sampled_from(CLOCKS[1:])) if start else "",
            weekdays=tuple(draw(st.sets(st.sampled_from(DAYS), max_size=3))),
        )

    return [one(number) for number in range(draw(st.integers(0, 8)))]


@settings(max_examples=150, deadline=None)
@given(
    rows=rows_of_one_endpoint(),
    parts=st.tuples(*[st.integers(0, 900)] * 6),
    minutes=st.integers(0, 90 * 24 * 60),
    tier=st.sampled_from(["", "flex"]),
)
def test_the_hub_works_out_the_same_money_on_its_own(
    rows: list[PriceRow], parts: tuple[int, ...], minutes: int, tier: str
) -> None:
    plain_input, read, write_5m, write_1h, answer, thoughts = parts
    moment = NOON + dt.timedelta(minutes=minutes)
    tally = Tally(plain_input + read + write_5m + write_1h, read, write_5m, write_1h)
    tally.output_total, tally.reasoning = answer + thoughts, thoughts
    usage = Usage(
        input_total=tally.input_total,
        cache_read=read,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        output_total=tally.output_total,
        reasoning=thoughts,
    )
    sheet = PriceSheet(_hub_row(number, r) for number, r in enumerate(rows))
    hub = charge(usage, sheet, moment, tier)
    assert cost_usd(tally, tuple(rows), moment, tier) == hub.amount_usd


def test_both_agree_on_every_shipped_price() -> None:
    tally = Tally(250_000, 1_000, 200, 30, 4_000, 700)
    usage = Usage(250_000, 1_000, 200, 30, 4_000, 700)
    compared = 0
    for provider in build_world(read_documents(CATALOG_DIR)).values():
        for endpoint in provider.endpoints.values():
            rows = endpoint.prices
            sheet = PriceSheet(_hub_row(number, r) for number, r in enumerate(rows))
            for hour in range(0, 168, 5):
                moment = NOON + dt.timedelta(hours=hour)
                assert cost_usd(tally, rows, moment) == charge(usage, sheet, moment).amount_usd
            compared += 1
    assert compared >= 130


def row(meter: str, usd: str, **more: object) -> PriceRow:
    return row_from({"meter": meter, "usd": usd, "effective_from": "2026-01-01T00:00:00Z", **more})


def _hub_row(number: int, r: PriceRow) -> Price:
    return Price(
        id=number,
        meter=Meter(r.meter),
        unit_price_usd=r.usd,
        effective_from=r.effective_from,
        min_input_tokens=r.min_input_tokens,
        service_tier=r.service_tier,
        utc_from_minute=_minute(r.utc_from),
        utc_until_minute=_minute(r.utc_until),
        weekdays=sum(1 << DAYS.index(day) for day in r.weekdays),
    )


def _minute(clock: str) -> int | None:
    return int(clock[:2]) * 60 + int(clock[3:]) if clock else None
