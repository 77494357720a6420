"""Small, readable builders of the picture a gateway routes from."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from random import Random

from routing.adapters.quirks import PLAIN, Quirks
from routing.core.catalog import (
    CAPABILITIES,
    EMPTY_POLICY,
    Caller,
    Credential,
    Endpoint,
    Model,
    Policy,
    PolicyDocument,
    Provider,
    Snapshot,
    Stats,
)
from routing.core.charges import Price
from routing.core.health import HealthBook
from routing.core.moment import Moment
from routing.core.pricing import PriceSheet
from routing.core.request import RequestFacts
from routing.core.usage import Meter

NOON = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
LONG_AGO = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MODEL = "openai/gpt-oss-120b"


def moment(monotonic_s: float = 1000.0, utc: dt.datetime = NOON) -> Moment:
    return Moment(monotonic_s, utc)


def price(meter: str, usd: str, price_id: int = 1, **conditions: object) -> Price:
    fields: dict[str, object] = {"effective_from": LONG_AGO, **conditions}
    return Price(price_id, Meter(meter), Decimal(usd), **fields)  # type: ignore[arg-type]


def sheet(input_usd: str, output_usd: str, first_id: int = 1) -> PriceSheet:
    return PriceSheet(
        [price("input", input_usd, first_id), price("output", output_usd, first_id + 1)]
    )


def provider(
    slug: str, number: int, base_url: str = "", quirks: Quirks = PLAIN, **more: object
) -> Provider:
    fields: dict[str, object] = {"dialect": "openai_compat", "simulated": True, **more}
    return Provider(
        id=number,
        slug=slug,
        name=slug.title(),
        base_url=base_url or f"http://127.0.0.1:9/{slug}/v1",
        quirks=quirks,
        **fields,  # type: ignore[arg-type]
    )


def model(name: str = MODEL, number: int = 1) -> Model:
    return Model(id=number, name=name, maker="OpenAI", created=1754352000)


def endpoint(
    slug: str,
    number: int,
    prices: tuple[str, str] | None = ("0.15", "0.60"),
    of: Model | None = None,
    at: Provider | None = None,
    **more: object,
) -> Endpoint:
    home = at or provider(slug, number)
    fields: dict[str, object] = {
        "capabilities": frozenset(CAPABILITIES),
        "context_window": 131072,
        "credentials": (Credential(number, home.id, f"sim-{slug}-key"),),
        **more,
    }
    return Endpoint(
        id=number,
        provider=home,
        model=of or model(),
        upstream_model=(of or model()).name,
        prices=PriceSheet() if prices is None else sheet(*prices, first_id=number * 10),
        **fields,  # type: ignore[arg-type]
    )


def stats(ttft_ms: float, speed_tps: float, success: float = 1.0, n: int = 100) -> Stats:
    return Stats(ttft_ms, ttft_ms * 2, speed_tps, success, n)


def snapshot(
    *endpoints: Endpoint, callers: dict[bytes, Caller] | None = None, **more: object
) -> Snapshot:
    of: dict[str, tuple[Endpoint, ...]] = {}
    for one in endpoints:
        of[one.model.name] = (*of.get(one.model.name, ()), one)
    models = {one.model.name: one.model for one in endpoints}
    fields: dict[str, object] = {
        "policies": {"balanced": EMPTY_POLICY},
        "default_policy": EMPTY_POLICY,
        "aliases": {name.rpartition("/")[2].lower(): name for name in models},
        **more,
    }
    return Snapshot(
        version=1,
        models=models,
        endpoints_of=of,
        endpoints={one.id: one for one in endpoints},
        providers={one.provider.slug: one.provider for one in endpoints},
        callers=callers or {},
        **fields,  # type: ignore[arg-type]
    )


def policy(name: str = "mine", **document: object) -> Policy:
    return Policy(1, name, 3, PolicyDocument(**document))  # type: ignore[arg-type]


def facts(**more: object) -> RequestFacts:
    fields: dict[str, object] = {
        "requested_model": MODEL,
        "model": MODEL,
        "input_tokens": 1000,
        "output_tokens": 500,
        **more,
    }
    return RequestFacts(**fields)  # type: ignore[arg-type]


def health(seed: int = 7) -> HealthBook:
    return HealthBook(Random(seed))
