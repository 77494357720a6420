"""What an endpoint costs, in the unit its kind of model is sold by: tokens, images, minutes.

Prices of different units are never put in one range, nor ranked against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from dashboard import formatting
from routing.core import kinds
from routing.core.usage import Meter
from routing.selectors.pages import EndpointFacts

BLENDED = "blended"  # of input and output, 3:1: what chat models are compared by
_DIGITS = Context(prec=4)


@dataclass(frozen=True, slots=True)
class Unit:
    """What a price is for. `pieces` of the meter make one: 60 seconds a minute."""

    label: str
    words: str
    pieces: int = 1


UNITS: dict[str, Unit] = {
    BLENDED: Unit("Blended", "per 1M, blended"),
    Meter.INPUT: Unit("Input", "per 1M tokens in"),
    Meter.OUTPUT: Unit("Output", "per 1M tokens out"),
    Meter.CACHE_READ: Unit("Cache read", "per 1M tokens read from cache"),
    Meter.CACHE_WRITE_5M: Unit("Cache write 5 min", "per 1M tokens written to cache"),
    Meter.CACHE_WRITE_1H: Unit("Cache write 1 h", "per 1M tokens written to cache"),
    Meter.REASONING: Unit("Reasoning", "per 1M tokens of reasoning"),
    Meter.IMAGE: Unit("Image", "per image"),
    Meter.PIXEL: Unit("Pixels", "per 1M pixels"),
    Meter.AUDIO_SECOND: Unit("Audio", "per minute of audio", pieces=60),
    Meter.CHARACTER: Unit("Characters", "per 1M characters"),
    Meter.SEARCH: Unit("Search", "per search"),
    Meter.REQUEST: Unit("Request", "per request"),
}

# What a kind is usually sold by comes first; an endpoint is known by the first that it has.
_TOKENS = (Meter.INPUT, Meter.OUTPUT)
_LEADING: dict[str, tuple[str, ...]] = {
    kinds.CHAT: (BLENDED, *_TOKENS, Meter.REQUEST),
    kinds.EMBEDDING: (Meter.INPUT, Meter.CHARACTER, Meter.REQUEST),
    kinds.RERANK: (Meter.SEARCH, Meter.INPUT, Meter.REQUEST),
    kinds.IMAGE: (Meter.IMAGE, Meter.PIXEL, Meter.OUTPUT, Meter.REQUEST),
    kinds.TRANSCRIPTION: (Meter.AUDIO_SECOND, *_TOKENS, Meter.REQUEST),
    kinds.SPEECH: (Meter.CHARACTER, Meter.AUDIO_SECOND, Meter.OUTPUT, Meter.INPUT, Meter.REQUEST),
}
_CHAT_COLUMNS = (BLENDED, Meter.INPUT, Meter.OUTPUT, Meter.CACHE_READ)


@dataclass(frozen=True, slots=True)
class ListPrice:
    meter: str  # one of UNITS
    usd: Decimal  # for the meter's own piece: a second, not a minute

    @property
    def words(self) -> str:
        return amount_words(self.meter, self.usd)

    @property
    def unit(self) -> str:
        return UNITS[self.meter].words


@dataclass(frozen=True, slots=True)
class PriceRange:
    meter: str
    low: Decimal
    high: Decimal

    @property
    def words(self) -> str:
        low = amount_words(self.meter, self.low)
        if self.low == self.high:
            return low
        return f"{low}\N{EN DASH}{amount_words(self.meter, self.high)}"

    @property
    def unit(self) -> str:
        return UNITS[self.meter].words


def amount_words(meter: str, usd: Decimal) -> str:
    pieces = UNITS[meter].pieces
    if pieces == 1:
        return formatting.unit_price(usd)
    return formatting.unit_price(_DIGITS.plus(usd * pieces))  # a recurring fraction, stored cut off


def usd_of(row: EndpointFacts, meter: str) -> Decimal | None:
    return row.blended_usd if meter == BLENDED else row.rate(Meter(meter))


def leading(row: EndpointFacts) -> ListPrice | None:
    """The price that this endpoint is known by. None where nothing of it is priced."""
    for meter in _LEADING[row.model.kind]:
        usd = usd_of(row, meter)
        if usd is not None:
            return ListPrice(meter, usd)
    return None


def order(found: ListPrice) -> tuple[int, Decimal]:
    """For sorting: unit by unit, and the cheapest first within one."""
    return tuple(UNITS).index(found.meter), found.usd


def ranges(endpoints: Iterable[EndpointFacts]) -> list[PriceRange]:
    """From the cheapest to the dearest, for each unit that these endpoints are known by."""
    found = sorted(filter(None, map(leading, endpoints)), key=order)
    by_meter: dict[str, list[Decimal]] = {}
    for price in found:
        by_meter.setdefault(price.meter, []).append(price.usd)
    return [PriceRange(meter, usd[0], usd[-1]) for meter, usd in by_meter.items()]


def range_of(endpoints: Iterable[EndpointFacts], meter: str) -> PriceRange | None:
    amounts = [usd for row in endpoints if (usd := usd_of(row, meter)) is not None]
    return PriceRange(meter, min(amounts), max(amounts)) if amounts else None


def columns(kind: str, endpoints: Sequence[EndpointFacts]) -> list[str]:
    """The meters that a table of such endpoints has a column for."""
    if kind == kinds.CHAT:
        return list(_CHAT_COLUMNS)
    priced = {str(meter) for row in endpoints for meter in row.rates}
    first = _LEADING[kind]
    ordered = dict.fromkeys([*first, *UNITS])
    return [str(meter) for meter in ordered if str(meter) in priced] or [str(first[0])]
