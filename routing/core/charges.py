"""Dated prices, and charges made of them: what `routing.core.pricing` reads and writes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import StrEnum

import msgspec

from routing.core.usage import Meter


class CostStatus(StrEnum):
    PROVIDER_REPORTED = "provider_reported"  # the provider's own figure
    METERED = "metered"  # provider's usage x price rows
    ESTIMATED = "estimated"  # our count x price rows
    UNPRICED = "unpriced"  # cannot happen while routing
    RECONCILED = "reconciled"
    DISPUTED = "disputed"


class Price(msgspec.Struct, frozen=True):
    """One dated row. `unit_price_usd` is per 1,000,000 for MILLION_METERS, else per piece.

    Conditions that are unset hold always. The UTC window is half-open and may wrap midnight;
    `weekdays` is a bit mask, Monday = 1. `min_input_tokens` is a cliff: once reached, the row
    prices all tokens of the request.
    """

    id: int
    meter: Meter
    unit_price_usd: Decimal
    effective_from: dt.datetime
    min_input_tokens: int = 0
    service_tier: str = ""
    utc_from_minute: int | None = None
    utc_until_minute: int | None = None
    weekdays: int = 0  # 0 means every day


class ChargeLine(msgspec.Struct, frozen=True):
    meter: Meter
    quantity: int
    price_id: int
    amount_usd: Decimal


class Charge(msgspec.Struct, frozen=True):
    """The money of one attempt. `unpriced` lists meters that had a quantity and no price row."""

    amount_usd: Decimal
    lines: tuple[ChargeLine, ...]
    unpriced: tuple[Meter, ...] = ()
