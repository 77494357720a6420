"""Dated prices and the one function that turns usage into money.

Amounts are `Decimal` US dollars. A price is at most 6 decimals per 1,000,000 tokens, so
tokens x price is exact in NUMERIC(24,12): nothing is rounded per request.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter

from routing.core.charges import Charge, ChargeLine, Price
from routing.core.usage import MILLION_METERS, Meter, Usage

PICO_PER_USD = 10**12
TOKENS_PER_PRICE_UNIT = 1_000_000
MINUTES_PER_DAY = 24 * 60
_EVER = dt.datetime.min.replace(tzinfo=dt.UTC)


ZERO_USD = Decimal(0)
NO_CHARGE = Charge(amount_usd=Decimal(0), lines=())


class PriceSheet:
    """The approved price rows of one endpoint, ready to be asked for an instant."""

    __slots__ = ("_only", "_settled_since", "_tariffs", "_thresholds", "_tiers", "rows")

    def __init__(self, rows: Iterable[Price] = ()) -> None:
        self.rows: tuple[Price, ...] = tuple(rows)
        # Once the last row is in force, a sheet without time windows answers by tier and size of
        # the prompt alone: each answer is worked out once and shared (read-only).
        self._settled_since: dt.datetime | None = None
        if not any(map(_has_window, self.rows)):
            self._settled_since = max((row.effective_from for row in self.rows), default=_EVER)
        self._thresholds = sorted({row.min_input_tokens for row in self.rows} - {0})
        self._tiers = frozenset(row.service_tier for row in self.rows)
        self._tariffs: dict[tuple[str, int], Tariff] = {}
        self._only: Tariff | None = None  # where there is but one answer

    def __bool__(self) -> bool:
        return bool(self.rows)

    def at(
        self, moment: dt.datetime, input_tokens: int = 0, service_tier: str = ""
    ) -> dict[Meter, Price]:
        """The row in force for each meter. The most specific row wins, then the latest.

        The result is shared: do not change it.
        """
        return self.tariff(moment, input_tokens, service_tier).rows

    def pico_rates(
        self, moment: dt.datetime, input_tokens: int = 0, service_tier: str = ""
    ) -> tuple[int, int]:
        """(input, output) in 10**-12 USD per token, for ranking; 0 where there is no row."""
        return self.tariff(moment, input_tokens, service_tier).pico_rates

    def tariff(self, moment: dt.datetime, input_tokens: int = 0, service_tier: str = "") -> Tariff:
        since = self._settled_since
        if since is None or moment < since:
            return Tariff(self._choose(moment, input_tokens, service_tier))
        if self._only is not None:
            return self._only
        key = (
            service_tier if service_tier in self._tiers else "",
            bisect_right(self._thresholds, input_tokens),
        )
        found = self._tariffs.get(key)
        if found is None:
            rows = self._choose(moment, input_tokens, service_tier)
            found = self._tariffs[key] = Tariff(rows)
            if not self._thresholds and self._tiers <= {""}:
                self._only = found
        return found

    def is_steady(self, moment: dt.datetime, least: int, most: int) -> bool:
        """Whether prompts of `least` to `most` tokens cost the same per token, now and later."""
        since = self._settled_since
        if since is None or moment < since:
            return False
        return bisect_right(self._thresholds, least) == bisect_right(self._thresholds, most)

    def _choose(
        self, moment: dt.datetime, input_tokens: int, service_tier: str
    ) -> dict[Meter, Price]:
        found: dict[Meter, Price] = {}
        for row in self.rows:
            if not _holds(row, moment, input_tokens, service_tier):
                continue
            rival = found.get(row.meter)
            if rival is None or _rank(row) > _rank(rival):
                found[row.meter] = row
        return found


class Tariff:
    """The rows in force at an instant, and what most requests need of them, worked out once."""

    __slots__ = ("cached_pico", "pico_rates", "plain", "rows")

    def __init__(self, rows: dict[Meter, Price]) -> None:
        self.rows = rows
        self.pico_rates = _rates(rows)
        self.cached_pico = _pico_per_token(_row_for(Meter.CACHE_READ, rows))  # per token read
        self.plain = _plain(rows)


Plain = tuple[Decimal, int, Decimal, int, Decimal, int]


def _plain(rows: dict[Meter, Price]) -> Plain | None:
    """USD per token and row id of input, cache read and output, or None where others count too."""
    uncached, answer = rows.get(Meter.INPUT), rows.get(Meter.OUTPUT)
    cached = _row_for(Meter.CACHE_READ, rows)
    if Meter.REQUEST in rows or Meter.REASONING in rows:
        return None
    if uncached is None or cached is None or answer is None:
        return None
    usd = [amount_of(1, row) for row in (uncached, cached, answer)]
    if not all(map(_is_written_in_full, usd)):
        return None
    return usd[0], uncached.id, usd[1], cached.id, usd[2], answer.id


def _is_written_in_full(amount: Decimal) -> bool:
    """Unlike 1E+2, whose sums have other digits."""
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and exponent <= 0


def _rates(rows: dict[Meter, Price]) -> tuple[int, int]:
    return _pico_per_token(rows.get(Meter.INPUT)), _pico_per_token(rows.get(Meter.OUTPUT))


def _pico_per_token(row: Price | None) -> int:
    """Exact, because a price has at most 6 decimals per 1,000,000 tokens."""
    if row is None:
        return 0
    return int(row.unit_price_usd * (PICO_PER_USD // TOKENS_PER_PRICE_UNIT))


def _has_window(row: Price) -> bool:
    return bool(row.weekdays or row.utc_from_minute is not None)


def _holds(row: Price, moment: dt.datetime, input_tokens: int, service_tier: str) -> bool:
    if row.effective_from > moment or input_tokens < row.min_input_tokens:
        return False
    if row.service_tier and row.service_tier != service_tier:
        return False
    if row.weekdays and not row.weekdays >> moment.weekday() & 1:
        return False
    return _in_window(row, moment.hour * 60 + moment.minute)


def _in_window(row: Price, minute: int) -> bool:
    start, end = row.utc_from_minute, row.utc_until_minute
    if start is None or end is None:
        return True
    if start <= end:
        return start <= minute < end
    return minute >= start or minute < end


def _rank(row: Price) -> tuple[int, int, int, dt.datetime, int]:
    windowed = int(row.utc_from_minute is not None) + int(row.weekdays != 0)
    return (int(bool(row.service_tier)), row.min_input_tokens, windowed, row.effective_from, row.id)


def quantities(usage: Usage) -> dict[Meter, int]:
    """Split inclusive totals into the disjoint quantities that are priced; zeros are left out."""
    cached = usage.cache_read or 0
    written_5m = usage.cache_write_5m or 0
    written_1h = usage.cache_write_1h or 0
    uncached = (usage.input_total or 0) - cached - written_5m - written_1h
    amounts: dict[Meter, int] = {}
    if uncached > 0:
        amounts[Meter.INPUT] = uncached
    if cached:
        amounts[Meter.CACHE_READ] = cached
    if written_5m:
        amounts[Meter.CACHE_WRITE_5M] = written_5m
    if written_1h:
        amounts[Meter.CACHE_WRITE_1H] = written_1h
    if usage.output_total:
        amounts[Meter.OUTPUT] = usage.output_total
    for meter, name in _PIECES:
        pieces = getattr(usage, name)
        if pieces:
            amounts[meter] = pieces
    return amounts


_PIECES = (
    (Meter.IMAGE, "images"),
    (Meter.AUDIO_SECOND, "audio_seconds"),
    (Meter.SEARCH, "searches"),
    (Meter.CHARACTER, "characters"),
    (Meter.PIXEL, "pixels"),
)
_others = attrgetter("cache_write_5m", "cache_write_1h", *(name for _, name in _PIECES))

# Where a provider has no row for a cheaper or dearer kind of the same token, the plain row holds.
_FALLBACK = {
    Meter.CACHE_READ: Meter.INPUT,
    Meter.CACHE_WRITE_5M: Meter.INPUT,
    Meter.CACHE_WRITE_1H: Meter.CACHE_WRITE_5M,
}


def charge(usage: Usage, sheet: PriceSheet, moment: dt.datetime, service_tier: str = "") -> Charge:
    """Price `usage` with the rows in force at `moment` (when the request started, in UTC)."""
    uncached = usage.input_total or 0
    tariff = sheet.tariff(moment, uncached, service_tier)
    plain = tariff.plain
    if plain is None or any(_others(usage)):
        return charge_with(tariff.rows, usage)
    input_usd, input_id, cached_usd, cached_id, output_usd, output_id = plain
    cached, output = usage.cache_read, usage.output_total
    if cached:
        uncached -= cached
    elif output and uncached > 0:  # the most common one
        amount_usd, answer_usd = uncached * input_usd, output * output_usd
        return Charge(
            amount_usd + answer_usd,
            (
                ChargeLine(Meter.INPUT, uncached, input_id, amount_usd),
                ChargeLine(Meter.OUTPUT, output, output_id, answer_usd),
            ),
        )
    total_usd = ZERO_USD
    lines: list[ChargeLine] = []
    if uncached > 0:
        total_usd = amount_usd = uncached * input_usd
        lines.append(ChargeLine(Meter.INPUT, uncached, input_id, amount_usd))
    if cached:
        amount_usd = cached * cached_usd
        total_usd += amount_usd
        lines.append(ChargeLine(Meter.CACHE_READ, cached, cached_id, amount_usd))
    if output:
        amount_usd = output * output_usd
        total_usd += amount_usd
        lines.append(ChargeLine(Meter.OUTPUT, output, output_id, amount_usd))
    return Charge(total_usd, tuple(lines))


def charge_with(rows: dict[Meter, Price], usage: Usage) -> Charge:
    """The rule in full; `charge` says the same sooner where only plain tokens are counted."""
    amounts = quantities(usage)
    reasoning = usage.reasoning or 0
    if reasoning and Meter.REASONING in rows:
        answer = amounts.pop(Meter.OUTPUT, 0) - reasoning
        if answer > 0:
            amounts[Meter.OUTPUT] = answer
        amounts[Meter.REASONING] = reasoning
    if Meter.REQUEST in rows:
        amounts[Meter.REQUEST] = 1
    return _charge_lines(amounts, rows)


def _charge_lines(amounts: dict[Meter, int], rows: dict[Meter, Price]) -> Charge:
    lines: list[ChargeLine] = []
    unpriced: list[Meter] = []
    total = ZERO_USD
    for meter, quantity in amounts.items():
        row = rows.get(meter) or _row_for(meter, rows)
        if row is None:
            unpriced.append(meter)
            continue
        amount_usd = amount_of(quantity, row)
        total += amount_usd
        lines.append(ChargeLine(meter, quantity, row.id, amount_usd))
    return Charge(total, tuple(lines), tuple(unpriced))


def _row_for(meter: Meter, rows: dict[Meter, Price]) -> Price | None:
    wanted: Meter | None = meter
    while wanted is not None:
        if wanted in rows:
            return rows[wanted]
        wanted = _FALLBACK.get(wanted)
    return None


def amount_of(quantity: int, row: Price) -> Decimal:
    if row.meter in MILLION_METERS:
        return (quantity * row.unit_price_usd).scaleb(-6)  # per 1,000,000, and exact
    return quantity * row.unit_price_usd


def expected_pieces_pico(rows: Mapping[Meter, Price], pieces: Iterable[tuple[Meter, int]]) -> int:
    """Of quantities that are not tokens, in 10**-12 USD, for ranking; 0 where there is no row."""
    amounts_usd = (amount_of(n, rows[meter]) for meter, n in pieces if meter in rows)
    return int(sum(amounts_usd, ZERO_USD) * PICO_PER_USD)


def blended_usd_per_million(
    rows: dict[Meter, Price], input_parts: int, output_parts: int
) -> Decimal | None:
    """The price of 1M tokens at a given input:output mix, or None if either side is unpriced."""
    if Meter.INPUT not in rows or Meter.OUTPUT not in rows:
        return None
    weighted = (
        rows[Meter.INPUT].unit_price_usd * input_parts
        + rows[Meter.OUTPUT].unit_price_usd * output_parts
    )
    return weighted / (input_parts + output_parts)


def sum_usd(amounts: Sequence[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))
