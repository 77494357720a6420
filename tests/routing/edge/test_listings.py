"""Each listing as its provider writes it, small and by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.services.listings import KINDS, ListingUnreadable, parse


def parsed(kind: str, document: Any, slug: str = "alpha") -> dict[tuple[str, str], str]:
    return {
        (price.upstream_model, price.meter.value): f"{price.usd.normalize():f}"
        for price in parse(kind, document, slug)
    }


CASES: dict[str, tuple[Any, dict[tuple[str, str], str]]] = {
    "openrouter": (
        {
            "data": [
                {
                    "id": "m",
                    "pricing": {
                        "prompt": "0.00000015",
                        "completion": "0.0000006",
                        "input_cache_read": "0.000000015",
                        "input_cache_write": "0",
                        "request": "0",
                        "image": "0.0001935",
                    },
                },
                {"id": "auto", "pricing": {"prompt": "-1", "completion": "-1"}},
            ]
        },
        {
            ("m", "input"): "0.15",
            ("m", "output"): "0.6",
            ("m", "cache_read"): "0.015",
            ("m", "image"): "0.0001935",
        },
    ),
    "hf_router": (
        {
            "data": [
                {
                    "id": "org/M",
                    "providers": [
                        {"provider": "alpha-ai", "pricing": {"input": 1.69, "output": 3.38}},
                        {"provider": "beta", "pricing": {"input": 9, "output": 9}},
                        {"provider": "gamma", "status": "live"},
                    ],
                }
            ]
        },
        {("org/M", "input"): "1.69", ("org/M", "output"): "3.38"},
    ),
    "together": (
        [
            {"id": "m", "pricing": {"input": 1.0399999999999998, "output": 2, "hourly": 0}},
            {"id": "dedicated", "pricing": {"input": 0, "output": 0, "hourly": 3.5}},
        ],
        {("m", "input"): "1.04", ("m", "output"): "2"},
    ),
    "novita": (
        {"data": [{"id": "m", "input_token_price_per_m": 3900, "output_token_price_per_m": 18000}]},
        {("m", "input"): "0.39", ("m", "output"): "1.8"},
    ),
    "deepinfra": (
        {
            "data": [
                {
                    "id": "m",
                    "metadata": {
                        "pricing": {
                            "input_tokens": 0.05,
                            "output_tokens": 0.1,
                            "cache_read_tokens": 0.0028,
                        }
                    },
                },
                {"id": "unpriced", "metadata": None},
            ]
        },
        {("m", "input"): "0.05", ("m", "output"): "0.1", ("m", "cache_read"): "0.0028"},
    ),
    "sambanova": (
        {"data": [{"id": "m", "pricing": {"prompt": "0.0000006", "completion": "0.0000012"}}]},
        {("m", "input"): "0.6", ("m", "output"): "1.2"},
    ),
    "ovhcloud": (
        {"data": [{"id": "m", "pricing": {"prompt": "0.00000074", "completion": "0"}}]},
        {("m", "input"): "0.74", ("m", "output"): "0"},
    ),
    "cerebras": (
        {"data": [{"id": "m", "pricing": {"input": 0.35, "output": 0.75}}]},
        {("m", "input"): "0.35", ("m", "output"): "0.75"},
    ),
    "featherless": (
        {"data": [{"id": "m", "pricing": {"input": 0.1, "output": 0.1}}, {"id": "n"}]},
        {("m", "input"): "0.1", ("m", "output"): "0.1"},
    ),
    "hyperbolic": (
        {"data": [{"id": "m", "input_price": 0.4, "output_price": 0.4}, {"id": "n"}]},
        {("m", "input"): "0.4", ("m", "output"): "0.4"},
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_listing_is_read_in_its_own_unit(kind: str) -> None:
    document, expected = CASES[kind]
    assert parsed(kind, document) == expected


def test_openrouter_overrides_carry_their_conditions() -> None:
    override = {"min_prompt_tokens": 200000, "utc_start": 130, "utc_end": 400, "prompt": "0.000001"}
    listing = {"data": [{"id": "m", "pricing": {"overrides": [override]}}]}
    [price] = parse("openrouter", listing, "alpha")
    assert price.min_input_tokens == 200000
    assert (price.utc_from_minute, price.utc_until_minute) == (90, 240)
    assert price.usd == Decimal(1)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("document", [None, {}, {"data": {}}, {"data": "x"}, 3, {"error": "no"}])
def test_what_is_no_listing_is_unreadable(kind: str, document: Any) -> None:
    with pytest.raises(ListingUnreadable, match=kind):
        parse(kind, document, "alpha")


@pytest.mark.parametrize("value", [None, "", "free", "-1", "NaN", "inf", True, [], {}, -0.5])
def test_what_is_no_amount_is_left_out(value: Any) -> None:
    assert parsed("together", [{"id": "m", "pricing": {"input": value, "output": 1}}]) == {
        ("m", "output"): "1"
    }


@given(st.decimals(0, 1000, places=6, allow_nan=False))
def test_a_price_survives_the_way_through_a_float(usd: Decimal) -> None:
    listing = [{"id": "m", "pricing": {"input": float(usd), "output": 1}}]
    assert parse("together", listing, "alpha")[0].usd == usd
