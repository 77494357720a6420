"""The price history: dated rows are added, large jumps wait for a person, nothing is edited."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from routing.core.charges import Price as CorePrice
from routing.core.pricing import MINUTES_PER_DAY
from routing.core.usage import MILLION_METERS, Meter
from routing.models import Endpoint, Price

BY_HAND = "admin"  # the source of rows that a person entered
TOKEN_DECIMALS = 6  # so that tokens x price is exact in the ledger's 12
PIECE_DECIMALS = 12
LARGEST_USD = Decimal(10) ** 9
FACTOR_HELD = 10
SUPERSEDED = "superseded by a newer proposal"

Conditions = tuple[str, int, str, int | None, int | None, int]


class PriceRefused(ValueError):
    """The quote cannot be a price row; the message says why."""


class PriceConflict(PriceRefused):
    """A row of this date and source exists with another amount. Rows are never edited."""


class Quote(msgspec.Struct, frozen=True):
    """A price as its source tells it. `usd` is per 1,000,000 for MILLION_METERS, else per piece."""

    meter: str
    usd: Decimal
    source: str
    effective_from: dt.datetime
    checked_on: dt.date
    min_input_tokens: int = 0
    service_tier: str = ""
    utc_from_minute: int | None = None
    utc_until_minute: int | None = None
    weekdays: int = 0
    source_url: str = ""
    note: str = ""


class Outcome(StrEnum):
    ADDED = "added"
    UNCHANGED = "unchanged"
    HELD = "held"  # pending: waits for approval


class Proposal(msgspec.Struct, frozen=True):
    outcome: Outcome
    row: Any = None  # the new Price, None when nothing was added
    reason: str = ""  # why it is held


def propose_price(*, endpoint: Endpoint, quote: Quote) -> Proposal:
    """From a listing or a person: an unchanged price adds nothing, a large jump is held."""
    check_quote(quote)
    with transaction.atomic():
        history = _locked_history(endpoint)
        if _is_known(history, quote) or _was_decided(history, quote):
            return Proposal(Outcome.UNCHANGED)
        reason = _why_held(endpoint, history, quote)
        if not reason:
            return Proposal(Outcome.ADDED, _add(endpoint, quote, Price.State.APPROVED))
        _retire_older_proposals(history, quote)
        row = _add(endpoint, quote, Price.State.PENDING, note=reason)
        return Proposal(Outcome.HELD, row, reason)


def new_row(endpoint: Endpoint, history: Sequence[Price], quote: Quote) -> Price | None:
    """For curated catalog files, whose rows need no approval: the unsaved row, None if unchanged.

    Raises PriceConflict when the file changes a row that was already loaded.
    """
    check_quote(quote)
    for row in history:
        if _identity(row) == (conditions_of(quote), quote.effective_from, quote.source):
            if row.unit_price_usd == quote.usd:
                return None
            raise PriceConflict(
                f"{quote.meter} from {quote.effective_from:%Y-%m-%d} by {quote.source} is already "
                f"{_plain(row.unit_price_usd)}: give the new price an effective_from of its own"
            )
    if _is_known(history, quote):
        return None
    return _row(endpoint, quote, Price.State.APPROVED)


def approve_price(price: Price, *, decided_by: str) -> Price:
    return _decide(price, Price.State.APPROVED, decided_by)


def reject_price(price: Price, *, decided_by: str) -> Price:
    return _decide(price, Price.State.REJECTED, decided_by)


def jump(old: Decimal, new: Decimal) -> str:
    """Why a change needs a person, "" when it does not."""
    change = f"{_plain(old)} -> {_plain(new)}"
    if old == new:
        return ""
    if new == 0:
        return f"{change}: would become free"
    if old == 0:
        return f"{change}: was free"
    if new >= old * FACTOR_HELD or new * FACTOR_HELD <= old:
        return f"{change}: a factor of {FACTOR_HELD} or more"
    percent = abs(new - old) / old * 100
    if percent > settings.PANELBOARD_PRICE_JUMP_PERCENT:
        return f"{change}: {percent:.0f} % is more than {settings.PANELBOARD_PRICE_JUMP_PERCENT} %"
    return ""


def in_force(history: Sequence[Price], quote: Quote) -> Price | None:
    """The approved row that holds under the same conditions when the quote would begin."""
    rows = [
        row
        for row in history
        if row.state == Price.State.APPROVED
        and conditions_of(row) == conditions_of(quote)
        and row.effective_from <= quote.effective_from
    ]
    return max(rows, key=lambda row: (row.effective_from, row.pk), default=None)


def conditions_of(price: Price | Quote) -> Conditions:
    return (
        price.meter,
        price.min_input_tokens,
        price.service_tier,
        price.utc_from_minute,
        price.utc_until_minute,
        price.weekdays,
    )


def core_row(row: Price) -> CorePrice:
    """The row as the pure pricing functions take it."""
    return CorePrice(
        id=row.pk,
        meter=Meter(row.meter),
        unit_price_usd=row.unit_price_usd,
        effective_from=row.effective_from,
        min_input_tokens=row.min_input_tokens,
        service_tier=row.service_tier,
        utc_from_minute=row.utc_from_minute,
        utc_until_minute=row.utc_until_minute,
        weekdays=row.weekdays,
    )


def check_quote(quote: Quote) -> None:
    if quote.meter not in {meter.value for meter in Meter}:
        raise PriceRefused(f"unknown meter {quote.meter!r}; there are {', '.join(Meter)}")
    decimals = TOKEN_DECIMALS if Meter(quote.meter) in MILLION_METERS else PIECE_DECIMALS
    if not quote.usd.is_finite() or not 0 <= quote.usd < LARGEST_USD:
        raise PriceRefused(f"{quote.usd} USD is not a price")
    if quote.usd != round(quote.usd, decimals):
        raise PriceRefused(f"usd {quote.usd:f} has more than {decimals} decimals")
    if quote.effective_from.tzinfo is None:
        raise PriceRefused("effective_from needs a time zone")
    _check_conditions(quote)


def _check_conditions(quote: Quote) -> None:
    window = (quote.utc_from_minute, quote.utc_until_minute)
    if (window[0] is None) != (window[1] is None):
        raise PriceRefused("a time window needs both its beginning and its end")
    if any(minute is not None and not 0 <= minute < MINUTES_PER_DAY for minute in window):
        raise PriceRefused("a time window lies between 00:00 and 23:59 UTC")
    if window[0] is not None and window[0] == window[1]:
        raise PriceRefused("a time window needs a beginning that differs from its end")
    if not 0 <= quote.weekdays < 2**7:
        raise PriceRefused("weekdays is a bit mask of seven days, Monday = 1")


def _locked_history(endpoint: Endpoint) -> list[Price]:
    """One writer per endpoint at a time, so that two refreshes do not add the same row."""
    Endpoint.objects.select_for_update(of=("self",)).get(pk=endpoint.pk)
    return list(Price.objects.filter(endpoint=endpoint))


def _is_known(history: Sequence[Price], quote: Quote) -> bool:
    current = in_force(history, quote)
    return current is not None and current.unit_price_usd == quote.usd


def _was_decided(history: Sequence[Price], quote: Quote) -> bool:
    """Asked already: the same amount of the same source waits, or was rejected since."""
    current = in_force(history, quote)
    since = current.effective_from if current else None
    return any(
        row.state != Price.State.APPROVED
        and row.decided_by != SUPERSEDED
        and (conditions_of(row), row.source) == (conditions_of(quote), quote.source)
        and row.unit_price_usd == quote.usd
        and (since is None or row.effective_from >= since)
        for row in history
    )


def _why_held(endpoint: Endpoint, history: Sequence[Price], quote: Quote) -> str:
    current = in_force(history, quote)
    if current is None:
        is_suspicious = quote.usd == 0 and not endpoint.is_free and quote.source != BY_HAND
        return "a first price of zero for an endpoint that is not marked free" * is_suspicious
    if current.source == BY_HAND and quote.source != BY_HAND:
        return f"{quote.source} disagrees with the price entered by hand"
    return jump(current.unit_price_usd, quote.usd)


def _retire_older_proposals(history: Sequence[Price], quote: Quote) -> None:
    for row in history:
        if row.state == Price.State.PENDING and (conditions_of(row), row.source) == (
            conditions_of(quote),
            quote.source,
        ):
            _decide(row, Price.State.REJECTED, SUPERSEDED)


def _decide(price: Price, state: Price.State, decided_by: str) -> Price:
    """One conditional UPDATE: of two people who decide at once, the second is told."""
    moment = timezone.now()
    decided = Price.objects.filter(pk=price.pk, state=Price.State.PENDING).update(
        state=state, decided_by=decided_by[:150], decided_at=moment
    )
    price.refresh_from_db()
    if not decided:
        raise PriceRefused(f"this price was already {price.state} by {price.decided_by or 'load'}")
    return price


def _add(endpoint: Endpoint, quote: Quote, state: Price.State, *, note: str = "") -> Price:
    row = _row(endpoint, quote, state)
    row.note = (note or quote.note)[:300]
    row.save(force_insert=True)
    return row


def _row(endpoint: Endpoint, quote: Quote, state: Price.State) -> Price:
    return Price(
        endpoint=endpoint,
        unit_price_usd=quote.usd,
        state=state,
        **{name: getattr(quote, name) for name in quote.__struct_fields__ if name != "usd"},
    )


def _identity(row: Price) -> tuple[Conditions, dt.datetime, str]:
    return conditions_of(row), row.effective_from, row.source


def _plain(usd: Decimal) -> str:
    return f"{usd.normalize():f}"
