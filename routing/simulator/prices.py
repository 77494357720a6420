"""What a provider bills, worked out on its own from the catalog's price rows.

The hub computes the same money with `routing.core.pricing`; this module shares no code with it,
so that equal sums mean something.
"""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_CEILING, Decimal
from typing import Any

import msgspec

MILLION = 1_000_000
NANO_PER_USD = 10**9
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# A kind of token without a row of its own is billed as the next kind in line.
BILLED_AS = {
    "input": ("input",),
    "cache_read": ("cache_read", "input"),
    "cache_write_5m": ("cache_write_5m", "input"),
    "cache_write_1h": ("cache_write_1h", "cache_write_5m", "input"),
    "output": ("output",),
}
PER_MILLION = frozenset({"character", "pixel"})  # of what is not tokens; the rest is per piece


class PriceRow(msgspec.Struct, frozen=True):
    meter: str
    usd: Decimal
    effective_from: dt.datetime
    min_input_tokens: int = 0
    service_tier: str = ""
    utc_from: str = ""  # "HH:MM", half-open, may wrap midnight
    utc_until: str = ""
    weekdays: tuple[str, ...] = ()

    def holds(self, moment: dt.datetime, input_tokens: int, service_tier: str) -> bool:
        return (
            self.effective_from <= moment
            and input_tokens >= self.min_input_tokens
            and self.service_tier in {"", service_tier}
            and (not self.weekdays or DAYS[moment.weekday()] in self.weekdays)
            and self._in_window(moment.strftime("%H:%M"))
        )

    def _in_window(self, clock: str) -> bool:
        if not self.utc_from or not self.utc_until:
            return True
        after, before = clock >= self.utc_from, clock < self.utc_until
        return (after and before) if self.utc_from <= self.utc_until else (after or before)

    def precedence(self) -> tuple[bool, int, int, dt.datetime]:
        """The most specific row wins: by service tier, context tier, window, then the newest."""
        windows = bool(self.utc_from) + bool(self.weekdays)
        return bool(self.service_tier), self.min_input_tokens, windows, self.effective_from


class Tally(msgspec.Struct):
    """What one request used; the input total includes cache tokens, the output total reasoning."""

    input_total: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output_total: int = 0
    reasoning: int = 0
    pieces: dict[str, int] = {}  # by meter: what is not tokens


def row_from(data: dict[str, Any]) -> PriceRow:
    return msgspec.convert({**data, "usd": Decimal(str(data["usd"]))}, PriceRow)


def rates_at(
    rows: tuple[PriceRow, ...], moment: dt.datetime, input_tokens: int = 0, service_tier: str = ""
) -> dict[str, Decimal]:
    """USD by meter as in force at `moment`: per million for tokens, per piece for the rest."""
    valid = [row for row in rows if row.holds(moment, input_tokens, service_tier)]
    valid.sort(key=PriceRow.precedence)
    return {row.meter: row.usd for row in valid}


def cost_usd(
    tally: Tally, rows: tuple[PriceRow, ...], moment: dt.datetime, service_tier: str = ""
) -> Decimal:
    """Exact: nothing is rounded."""
    rates = rates_at(rows, moment, tally.input_total, service_tier)
    counts = {
        "input": tally.input_total - tally.cache_read - tally.cache_write_5m - tally.cache_write_1h,
        "cache_read": tally.cache_read,
        "cache_write_5m": tally.cache_write_5m,
        "cache_write_1h": tally.cache_write_1h,
        "output": tally.output_total,
    }
    total = Decimal(0)
    if "reasoning" in rates:
        counts["output"] -= tally.reasoning
        total += tally.reasoning * rates["reasoning"] / MILLION
    for kind, count in counts.items():
        meter = next((m for m in BILLED_AS[kind] if m in rates), None)
        if meter is not None:
            total += count * rates[meter] / MILLION
    for meter, count in tally.pieces.items():
        total += count * rates.get(meter, Decimal(0)) / (MILLION if meter in PER_MILLION else 1)
    return total + rates.get("request", Decimal(0))


def scaled_up(usd: Decimal, scale: int) -> int:
    """`usd` in units of 1/scale USD, fractions rounded up as settlement asks for."""
    return int((usd * scale).to_integral_value(rounding=ROUND_CEILING))


def plain(usd: Decimal) -> str:
    """A decimal string without exponent or trailing zeros."""
    text = format(usd, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
