"""What must hold of a catalog record beyond its form. Each rule yields (field, message)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import msgspec

from routing.adapters.quirks import quirks_from
from routing.adapters.registry import DIALECTS, kinds_in
from routing.catalog.document import (
    WEEKDAYS,
    EndpointRecord,
    Listing,
    ModelRecord,
    PriceRecord,
    Promises,
    ProviderRecord,
)
from routing.core.catalog import CAPABILITIES
from routing.core.kinds import CHAT, KIND_NAMES
from routing.services.addresses import AddressRefused, checked_base_url
from routing.services.listings import KINDS
from routing.services.prices import PriceRefused, Quote, check_quote

Found = Iterator[tuple[str, str]]


def provider_problems(record: ProviderRecord) -> Found:
    if record.dialect not in DIALECTS:
        yield "dialect", unknown("dialect", record.dialect, DIALECTS)
    try:
        checked_base_url(record.base_url)
    except AddressRefused as exc:
        yield "base_url", str(exc)
    try:
        quirks_from(record.quirks)
    except msgspec.ValidationError as exc:
        yield "quirks", str(exc)
    yield from _listing_problems(record.listing)
    try:
        msgspec.convert(record.data_policy, Promises)
    except msgspec.ValidationError as exc:
        yield "data_policy", str(exc)


def _listing_problems(listing: dict[str, Any]) -> Found:
    if not listing:
        return
    try:
        record = msgspec.convert(listing, Listing)
    except msgspec.ValidationError as exc:
        yield "listing", str(exc)
        return
    if record.kind not in KINDS:
        yield "listing.kind", unknown("listing kind", record.kind, KINDS)
    if not record.path.startswith("/"):
        yield "listing.path", "must begin with / and is appended to base_url"


def model_problems(record: ModelRecord) -> Found:
    if not model_slug(record.name):
        yield "name", "needs at least one letter or digit"
    if any(character.isspace() for character in record.name):
        yield "name", "must not contain blanks"
    if record.kind not in KIND_NAMES:
        yield "kind", unknown("kind", record.kind, KIND_NAMES)


def endpoint_problems(
    record: EndpointRecord, dialects: Mapping[str, str], kinds: Mapping[str, str]
) -> Found:
    """`dialects` by provider, `kinds` by model."""
    if record.provider not in dialects:
        yield "provider", unknown("provider", record.provider, dialects.keys())
    if record.model not in kinds:
        yield "model", unknown("model", record.model, kinds.keys())
    yield from _kind_problems(dialects.get(record.provider, ""), kinds.get(record.model, CHAT))
    for capability in record.capabilities:
        if capability not in CAPABILITIES:
            yield "capabilities", unknown("capability", capability, CAPABILITIES)
    for index, price in enumerate(record.prices):
        try:
            check_quote(quote_of(price, record))
        except PriceRefused as exc:
            yield f"prices[{index}]", str(exc)


def _kind_problems(dialect: str, kind: str) -> Found:
    if dialect in DIALECTS and kind in KIND_NAMES and kind not in kinds_in(dialect):
        yield "model", f"is of the kind {kind}, which the dialect {dialect} has no words for"


def unknown(what: str, name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"unknown {what} {name!r}; did you mean {', '.join(near)}?"
    listed = ", ".join(sorted(known)[:30])
    return f"unknown {what} {name!r}; there are {listed}" if listed else f"no {what} exists yet"


def model_slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def quote_of(price: PriceRecord, endpoint: EndpointRecord) -> Quote:
    return Quote(
        meter=price.meter,
        usd=Decimal(price.usd),
        source=price.source,
        effective_from=price.effective_from,
        checked_on=endpoint.checked_on or price.effective_from.date(),
        min_input_tokens=price.min_input_tokens,
        service_tier=price.service_tier,
        utc_from_minute=_minute(price.utc_from),
        utc_until_minute=_minute(price.utc_until),
        weekdays=sum(1 << WEEKDAYS.index(day) for day in set(price.weekdays)),
        source_url=price.source_url,
        note=price.note,
    )


def _minute(clock: str | None) -> int | None:
    if clock is None:
        return None
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
