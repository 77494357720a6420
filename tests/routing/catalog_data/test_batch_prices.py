"""Our prices for whole batches at a provider, beside those of the genai-prices package."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price

from routing.catalog.document import Catalog, EndpointRecord, parse
from routing.catalog.files import SHIPPED, read
from routing.core.charges import Price
from routing.core.pricing import PriceSheet, charge
from routing.core.usage import Meter, Usage

NOON = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
THEIR_NAMES = {"gemini": "google"}
UNKNOWN_TO_THEM = frozenset({"nebius"})  # whose batches genai-prices does not know
USAGES = {
    "plain": Usage(input_total=10_000, output_total=2_000),
    "cached": Usage(input_total=10_000, cache_read=6_000, output_total=2_000),
    "long": Usage(input_total=300_000, cache_read=100_000, output_total=2_000),
}


@pytest.fixture(scope="module")
def batchable() -> list[EndpointRecord]:
    """Endpoints for chat with prices for batches."""
    catalog: Catalog = parse(read(SHIPPED))
    kinds = {record.name: record.kind for _, record in catalog.models}
    return [
        endpoint
        for _, endpoint in catalog.endpoints
        if kinds[endpoint.model] == "chat"
        and any(price.service_tier == "batch" for price in endpoint.prices)
    ]


def our_cost(endpoint: EndpointRecord, usage: Usage, tier: str) -> Decimal:
    rows = [
        Price(
            id=number,
            meter=Meter(record.meter),
            unit_price_usd=Decimal(record.usd),
            effective_from=record.effective_from,
            min_input_tokens=record.min_input_tokens,
            service_tier=record.service_tier,
        )
        for number, record in enumerate(endpoint.prices)
    ]
    return charge(usage, PriceSheet(rows), NOON, tier).amount_usd


def their_cost(endpoint: EndpointRecord, usage: Usage) -> Decimal:
    theirs = TheirUsage(
        input_tokens=usage.input_total,
        cache_read_tokens=usage.cache_read,
        output_tokens=usage.output_total,
    )
    return calc_price(
        theirs,
        endpoint.upstream_model,
        provider_id=THEIR_NAMES.get(endpoint.provider, endpoint.provider),
        genai_request_timestamp=NOON,
        price_context={"processing": "batch"},
    ).total_price


@pytest.mark.parametrize("usage", USAGES.values(), ids=USAGES)
def test_a_batch_costs_what_genai_prices_says(
    batchable: list[EndpointRecord], usage: Usage
) -> None:
    apart = {
        f"{one.provider}:{one.model}": (our_cost(one, usage, "batch"), their_cost(one, usage))
        for one in batchable
        if one.provider not in UNKNOWN_TO_THEM
        and our_cost(one, usage, "batch") != their_cost(one, usage)
    }
    assert apart == {}
    assert {one.provider for one in batchable} >= {"openai", "anthropic", "gemini", "mistral"}


def test_a_batch_costs_half_of_what_single_requests_do(batchable: list[EndpointRecord]) -> None:
    for endpoint in batchable:
        single = our_cost(endpoint, USAGES["plain"], "")
        assert our_cost(endpoint, USAGES["plain"], "batch") * 2 == single
