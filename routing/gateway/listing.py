"""`GET /v1/models`: OpenAI's listing, enriched per provider as the Hugging Face router does.

The figures are those that routing ranks by at this moment, so `:fastest` and `:cheapest` pick what
the listing says they should. Prices are US dollars per 1,000,000 tokens, characters or pixels, and
per piece for everything else.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec

from routing.core.catalog import Endpoint, Model, Snapshot
from routing.core.errors import HubError
from routing.core.health import HealthBook, Numbers
from routing.core.moment import Moment
from routing.core.names import find_model, near_models
from routing.core.usage import Meter

_encode = msgspec.json.Encoder(decimal_format="number").encode


def models_body(snapshot: Snapshot, health: HealthBook, moment: Moment) -> bytes:
    data = [
        model_entry(model, snapshot.endpoints_of.get(name, ()), health, moment)
        for name, model in sorted(snapshot.models.items())
    ]
    return _encode({"object": "list", "data": [entry for entry in data if entry["providers"]]})


def model_body(path_id: str, snapshot: Snapshot, health: HealthBook, moment: Moment) -> bytes:
    """`path_id` may hold slashes, encoded or not. Raises HubError 404 with near matches."""
    name = find_model(unquote(path_id), snapshot)
    if name is None:
        near = near_models(unquote(path_id), snapshot)
        hint = f"Did you mean {', '.join(near)}?" if near else "GET /v1/models lists what exists."
        raise HubError(
            404,
            "model_not_found",
            f"The model '{unquote(path_id)[:200]}' does not exist on this hub. {hint}",
            param="model",
            should_retry=False,
            detail={"near_matches": near},
        )
    endpoints = snapshot.endpoints_of.get(name, ())
    return _encode(model_entry(snapshot.models[name], endpoints, health, moment))


def model_entry(
    model: Model, endpoints: tuple[Endpoint, ...], health: HealthBook, moment: Moment
) -> dict[str, Any]:
    found = health.figures(endpoints, moment.monotonic_s)
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": model.maker,
        "kind": model.kind,
        "architecture": {
            "input_modalities": list(model.input_modalities),
            "output_modalities": list(model.output_modalities),
        },
        "providers": [
            provider_entry(endpoint, numbers, health, moment)
            for endpoint, numbers in zip(endpoints, found, strict=True)
            if endpoint.credentials and (endpoint.prices or endpoint.is_free)
        ],
    }


def provider_entry(
    endpoint: Endpoint, numbers: Numbers, health: HealthBook, moment: Moment
) -> dict[str, Any]:
    """Fields without a value are left out, as on the Hugging Face router."""
    is_open = health.of(endpoint.id).breaker.allows(moment.monotonic_s)
    entry = {
        "provider": endpoint.provider.slug,
        "status": "live" if endpoint.status != "retired" and is_open else "error",
        "deprecated": endpoint.status == "deprecated" or None,
        "context_length": endpoint.context_window,
        "max_output_tokens": endpoint.max_output_tokens,
        "pricing": _pricing(endpoint, moment),
        "is_free": endpoint.is_free,
        "supports_tools": "tools" in endpoint.capabilities,
        "supports_structured_output": "structured_output" in endpoint.capabilities,
        "first_token_latency_ms": _rounded(numbers.ttft_ms),
        "throughput": _rounded(numbers.speed_tps),
        "success_rate": numbers.success_rate,
        "samples": numbers.samples,
        "cached_share": round(numbers.cached_share, 3) or None,
        "valid_rate": numbers.valid_rate if numbers.valid_samples else None,
        "valid_samples": numbers.valid_samples or None,
        "is_model_author": endpoint.provider.name.lower() == endpoint.model.maker.lower(),
        "quantization": endpoint.quantization or None,
        "region": endpoint.region or None,
        "simulated": endpoint.provider.simulated or None,
    }
    return {name: value for name, value in entry.items() if value is not None}


_PRICE_NAMES = {
    Meter.INPUT: "input",
    Meter.OUTPUT: "output",
    Meter.CACHE_READ: "cache_read",
    Meter.CACHE_WRITE_5M: "cache_write_5m",
    Meter.CACHE_WRITE_1H: "cache_write_1h",
    Meter.IMAGE: "image",
    Meter.PIXEL: "pixel",
    Meter.AUDIO_SECOND: "audio_second",
    Meter.CHARACTER: "character",
    Meter.SEARCH: "search",
}


def _pricing(endpoint: Endpoint, moment: Moment) -> dict[str, Any]:
    rows = endpoint.prices.at(moment.utc)
    return {
        name: rows[meter].unit_price_usd.normalize()
        for meter, name in _PRICE_NAMES.items()
        if meter in rows
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
