"""Providers' model listings: where they tell prices, and how each writes them.

A parser turns one decoded listing into quotes by upstream model id. Amounts go through
`Decimal(str(x))` and are rounded to 6 decimals per 1M tokens, which removes what floats left behind
(1.0399999999999998) and keeps every real price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from routing.core.usage import TOKEN_METERS, Meter

PER_MILLION = Decimal(10) ** 6
PER_TOKEN_UNIT = Decimal("1e-6")  # finest price per 1M tokens
PER_PIECE_UNIT = Decimal("1e-12")
NOVITA_UNITS_PER_USD = Decimal(10) ** 4


class ListingUnreadable(ValueError):
    """Not the shape that this kind of listing has; nothing was taken from it."""


class ListedPrice(msgspec.Struct, frozen=True):
    upstream_model: str
    meter: Meter
    usd: Decimal  # per 1,000,000 for token meters, else per piece
    min_input_tokens: int = 0
    utc_from_minute: int | None = None
    utc_until_minute: int | None = None


Parser = Callable[[Any, str], Iterator[ListedPrice]]
"""(decoded listing, the provider's own slug) -> prices."""

KINDS: dict[str, Parser] = {}


def kind(name: str) -> Callable[[Parser], Parser]:
    def register(parser: Parser) -> Parser:
        KINDS[name] = parser
        return parser

    return register


def parse(kind_name: str, document: Any, provider_slug: str) -> list[ListedPrice]:
    """Raises ListingUnreadable. Rows that tell no usable price are left out."""
    try:
        return list(KINDS[kind_name](document, provider_slug))
    except (AttributeError, KeyError, TypeError) as exc:
        raise ListingUnreadable(f"not a {kind_name} listing: {exc}") from None


_PER_TOKEN = {
    Meter.INPUT: ("prompt",),
    Meter.OUTPUT: ("completion",),
    Meter.CACHE_READ: ("input_cache_read", "cached_prompt", "input_cache_reads"),
    Meter.CACHE_WRITE_5M: ("input_cache_write", "input_cache_writes"),
    Meter.REASONING: ("internal_reasoning",),
}
_PER_PIECE = {
    Meter.REQUEST: ("request",),
    Meter.IMAGE: ("image",),
    Meter.SEARCH: ("web_search",),
}
# Listings write zero where they mean "no price of its own"; only for these is zero a price.
_ZERO_IS_A_PRICE = frozenset({Meter.INPUT, Meter.OUTPUT})


@kind("openrouter")
def _openrouter(document: Any, provider_slug: str) -> Iterator[ListedPrice]:
    """USD per token as decimal strings; "-1" marks a variable price."""
    for row in _rows(document):
        pricing = row.get("pricing") or {}
        yield from _priced(row["id"], pricing, _PER_TOKEN, PER_MILLION)
        yield from _priced(row["id"], pricing, _PER_PIECE, Decimal(1))
        for override in pricing.get("overrides") or ():
            yield from _override(row["id"], override)


def _override(upstream_model: str, override: Mapping[str, Any]) -> Iterator[ListedPrice]:
    for price in _priced(upstream_model, override, _PER_TOKEN, PER_MILLION):
        yield msgspec.structs.replace(
            price,
            min_input_tokens=int(override.get("min_prompt_tokens") or 0),
            utc_from_minute=_hhmm(override.get("utc_start")),
            utc_until_minute=_hhmm(override.get("utc_end")),
        )


def _hhmm(value: Any) -> int | None:
    """100 is 01:00 UTC."""
    if value is None:
        return None
    hours, minutes = divmod(int(value), 100)
    return hours % 24 * 60 + minutes


@kind("prompt_completion")
def _prompt_completion(document: Any, provider_slug: str) -> Iterator[ListedPrice]:
    """SambaNova, OVHcloud, Baseten, Nebius: `pricing{prompt,completion}` in USD per token."""
    for row in _rows(document):
        yield from _priced(row["id"], row.get("pricing") or {}, _PER_TOKEN, PER_MILLION)


for _provider in ("sambanova", "ovhcloud", "nebius", "baseten"):
    KINDS[_provider] = KINDS["prompt_completion"]

_PER_MILLION = {
    Meter.INPUT: ("input",),
    Meter.OUTPUT: ("output",),
    Meter.CACHE_READ: ("cachedInput", "cached_input", "cache_read", "input_cache_read"),
}


@kind("together")
def _together(document: Any, provider_slug: str) -> Iterator[ListedPrice]:
    """A bare array; USD per 1M. A model billed by the hour lists zero for both."""
    for row in _rows(document):
        pricing = row.get("pricing") or {}
        if not _positive(pricing.get("hourly")):
            yield from _priced(row["id"], pricing, _PER_MILLION, Decimal(1))


@kind("featherless")
def _featherless(document: Any, provider_slug: str) -> Iterator[ListedPrice]:
    for row in _rows(document):
        yield from _priced(row["id"], row.get("pricing") or {}, _PER_MILLION, Decimal(1))


KINDS["huggingface"] = KINDS["cerebras"] = KINDS["featherless"]


@kind("hf_router")
def _hf_router(document: Any, provider_slug: str) -> Iterator[ListedPrice]:
    """One model with many providers; USD per 1M. Only this provider's own rows count.

    The router names models by their canonical id, not by the provider's.
    """
    for row in _rows(document):
        for offer in row.get("providers") or ():
            if _same_provider(offer.get("provider", ""), provider_slug):
                yield from _priced(row["id"], offer.get("pricing") or {}, _PER_MILLION, Decimal(1))


def _same_provider(theirs: str, ours: str) -> bool:
    return theirs == ours or theirs.removesuffix("-ai").removesuffix("-org") == ours


@kind("deepinfra")
def _deepinfra(document: Any, provider_slug: str) -> Iterator[ListedPrice]:
    names = {
        Meter.INPUT: ("input_tokens",),
        Meter.OUTPUT: ("output_tokens",),
        Meter.CACHE_READ: ("cache_read_tokens",),
        Meter.CACHE_WRITE_5M: ("cache_write_tokens",),
    }
    for row in _rows(document):
        pricing = (row.get("metadata") or {}).get("pricing") or {}
        yield from _priced(row["id"], pricing, names, Decimal(1))


@kind("novita")
def _novita(document: Any, provider_slug: str) -> Iterator[ListedPrice]:
    """Integers in 1/10,000 USD per 1M: 3900 is 0.39 USD."""
    names = {
        Meter.INPUT: ("input_token_price_per_m",),
        Meter.OUTPUT: ("output_token_price_per_m",),
        Meter.CACHE_READ: ("cache_read_token_price_per_m",),
    }
    for row in _rows(document):
        yield from _priced(row["id"], row, names, 1 / NOVITA_UNITS_PER_USD)


@kind("hyperbolic")
def _hyperbolic(document: Any, provider_slug: str) -> Iterator[ListedPrice]:
    names = {Meter.INPUT: ("input_price",), Meter.OUTPUT: ("output_price",)}
    for row in _rows(document):
        yield from _priced(row["id"], row, names, Decimal(1))


def _rows(document: Any) -> Iterable[Mapping[str, Any]]:
    rows = document if isinstance(document, list) else document["data"]
    if not isinstance(rows, list):
        raise TypeError("the models are not a list")
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]


def _priced(
    upstream_model: str,
    pricing: Mapping[str, Any],
    names: Mapping[Meter, tuple[str, ...]],
    factor: Decimal,
) -> Iterator[ListedPrice]:
    for meter, keys in names.items():
        found = next((pricing[key] for key in keys if pricing.get(key) is not None), None)
        usd = _usd(found, factor, PER_TOKEN_UNIT if meter in TOKEN_METERS else PER_PIECE_UNIT)
        if usd is not None and (usd or meter in _ZERO_IS_A_PRICE):
            yield ListedPrice(upstream_model, meter, usd)


def _usd(value: Any, factor: Decimal, unit: Decimal) -> Decimal | None:
    """None for what is no price: missing, text, negative, infinite."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value)) * factor
        return amount.quantize(unit) if amount.is_finite() and amount >= 0 else None
    except InvalidOperation:
        return None


def _positive(value: Any) -> bool:
    amount = _usd(value, Decimal(1), PER_PIECE_UNIT)
    return amount is not None and amount > 0
