"""Model listings, each in its provider's own shape and unit of price.

Prices are the plain rows in force now (no tier, no context cliff), so a listing can be compared
with the catalog figure by figure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from routing.simulator.prices import MILLION, plain, rates_at
from routing.simulator.world import Endpoint, Provider

NOVITA_UNITS_PER_USD = 10_000
TOGETHER_TYPES = {"transcription": "transcribe", "speech": "audio"}


class Listed(msgspec.Struct, frozen=True):
    """An endpoint with its prices in USD per million tokens; None where it has no such price."""

    endpoint: Endpoint
    input: Decimal | None
    output: Decimal | None
    cache_read: Decimal | None

    def basics(self, owner: str) -> dict[str, Any]:
        return {
            "id": self.endpoint.upstream_model,
            "object": "model",
            "created": self.endpoint.created,
            "owned_by": owner,
        }

    def per_million(self, **names: str) -> dict[str, Decimal]:
        """Keyed by the provider's names: per_million(input="prompt") -> {"prompt": ...}"""
        found = {theirs: getattr(self, ours) for ours, theirs in names.items()}
        return {name: value for name, value in found.items() if value is not None}

    def per_token(self, **names: str) -> dict[str, str]:
        return {k: plain(v / MILLION) for k, v in self.per_million(**names).items()}


def listed(provider: Provider, now: dt.datetime) -> list[Listed]:
    rows = []
    for endpoint in provider.endpoints.values():
        rates = rates_at(endpoint.prices, now)
        zero = Decimal(0) if endpoint.is_free else None
        rows.append(
            Listed(
                endpoint,
                rates.get("input", zero),
                rates.get("output", zero),
                rates.get("cache_read"),
            )
        )
    return rows


def listing(provider: Provider, query: str, now: dt.datetime) -> Any:
    """`query` matters where a provider has several formats."""
    kind = provider.listing_kind or DEFAULT_KINDS.get(provider.slug) or provider.dialect
    if "format=openrouter" in query:
        kind = "openrouter"
    elif (kind == "cerebras" and "format=huggingface" not in query) or (
        kind == "nebius" and "verbose=true" not in query
    ):
        kind = "openai_compat"
    make = KINDS.get(kind, _plain)
    return make(provider, listed(provider, now))


def _wrapped(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "data": rows}


def _plain(provider: Provider, rows: list[Listed]) -> Any:
    return _wrapped([row.basics(row.endpoint.maker or provider.slug) for row in rows])


def _groq(provider: Provider, rows: list[Listed]) -> Any:
    return _wrapped(
        [
            {
                **row.basics(row.endpoint.maker),
                "active": True,
                "context_window": row.endpoint.context_window,
                "max_completion_tokens": row.endpoint.max_output_tokens,
            }
            for row in rows
        ]
    )


def _mistral(provider: Provider, rows: list[Listed]) -> Any:
    return _wrapped(
        [
            {
                **row.basics("mistralai"),
                "type": "base",
                "max_context_length": row.endpoint.context_window,
                "capabilities": {
                    "completion_chat": True,
                    "function_calling": row.endpoint.can("tools"),
                    "vision": row.endpoint.sees_images,
                },
                "aliases": [],
            }
            for row in rows
        ]
    )


def _together(provider: Provider, rows: list[Listed]) -> Any:
    return [
        {
            "id": row.endpoint.upstream_model,
            "object": "model",
            "created": row.endpoint.created,
            "type": TOGETHER_TYPES.get(row.endpoint.kind, row.endpoint.kind),
            "running": False,
            "display_name": row.endpoint.title,
            "organization": row.endpoint.maker,
            "context_length": row.endpoint.context_window,
            "pricing": {
                "hourly": 0,
                "base": 0,
                "finetune": 0,
                **row.per_million(input="input", output="output", cache_read="cachedInput"),
            },
        }
        for row in rows
    ]


def _novita(provider: Provider, rows: list[Listed]) -> Any:
    names = {
        "input": "input_token_price_per_m",
        "output": "output_token_price_per_m",
        "cache_read": "cache_read_token_price_per_m",
    }
    return _wrapped(
        [
            {
                **row.basics("unknown"),
                "title": row.endpoint.title,
                "context_size": row.endpoint.context_window,
                **{
                    name: int(usd * NOVITA_UNITS_PER_USD)
                    for name, usd in row.per_million(**names).items()
                },
            }
            for row in rows
        ]
    )


def _deepinfra(provider: Provider, rows: list[Listed]) -> Any:
    names = {"input": "input_tokens", "output": "output_tokens", "cache_read": "cache_read_tokens"}
    return _wrapped(
        [
            {
                **row.basics("deepinfra"),
                "metadata": {
                    "context_length": row.endpoint.context_window,
                    "max_tokens": row.endpoint.max_output_tokens,
                    "pricing": row.per_million(**names),
                    "tags": ["vision"] if row.endpoint.sees_images else [],
                },
            }
            for row in rows
        ]
    )


def _openrouter(provider: Provider, rows: list[Listed]) -> Any:
    names = {"input": "prompt", "output": "completion", "cache_read": "input_cache_read"}
    return {
        "data": [
            {
                "id": row.endpoint.upstream_model,
                "canonical_slug": row.endpoint.upstream_model,
                "hugging_face_id": row.endpoint.model,
                "name": row.endpoint.title,
                "created": row.endpoint.created,
                "context_length": row.endpoint.context_window,
                "architecture": {
                    "input_modalities": list(row.endpoint.input_modalities),
                    "output_modalities": ["text"],
                },
                "pricing": row.per_token(**names) | {"request": "0", "image": "0"},
                "quantization": row.endpoint.quantization or None,
                "top_provider": {
                    "context_length": row.endpoint.context_window,
                    "max_completion_tokens": row.endpoint.max_output_tokens,
                },
                "supported_parameters": _parameters(row.endpoint),
            }
            for row in rows
        ],
        "total_count": len(rows),
    }


def _parameters(endpoint: Endpoint) -> list[str]:
    words = {
        "tools": "tools",
        "structured_output": "structured_outputs",
        "json_mode": "response_format",
        "reasoning": "reasoning",
        "seed": "seed",
        "logprobs": "logprobs",
    }
    return ["max_tokens", "temperature", *(w for c, w in words.items() if endpoint.can(c))]


def _hf_router(provider: Provider, rows: list[Listed]) -> Any:
    return _wrapped(
        [
            {
                "id": row.endpoint.model,
                "object": "model",
                "created": row.endpoint.created,
                "owned_by": row.endpoint.maker,
                "architecture": {
                    "input_modalities": list(row.endpoint.input_modalities),
                    "output_modalities": ["text"],
                },
                "providers": [
                    {
                        "provider": provider.slug,
                        "status": "live",
                        "context_length": row.endpoint.context_window,
                        "pricing": row.per_million(input="input", output="output"),
                        "is_free": row.endpoint.is_free,
                        "supports_tools": row.endpoint.can("tools"),
                        "supports_structured_output": row.endpoint.can("structured_output"),
                        "is_model_author": False,
                    }
                ],
            }
            for row in rows
        ]
    )


def _flat_million(provider: Provider, rows: list[Listed]) -> Any:
    """Cerebras in its Hugging Face format: USD per million tokens."""
    return _wrapped(
        [
            {
                **row.basics(provider.name),
                "context_length": row.endpoint.context_window,
                "pricing": row.per_million(input="input", output="output"),
            }
            for row in rows
        ]
    )


def _featherless(provider: Provider, rows: list[Listed]) -> Any:
    return _wrapped(
        [
            {
                "id": row.endpoint.upstream_model,
                "name": row.endpoint.title,
                "created": row.endpoint.created,
                "owned_by": row.endpoint.maker,
                "context_length": row.endpoint.context_window,
                "max_completion_tokens": row.endpoint.max_output_tokens,
                "is_gated": False,
                "available_on_current_plan": True,
                "features": {"tool_use": row.endpoint.can("tools")},
                "pricing": row.per_million(input="input", output="output"),
            }
            for row in rows
        ]
    )


def _per_token(provider: Provider, rows: list[Listed]) -> Any:
    """SambaNova, OVHcloud, Baseten, Nebius (verbose): decimal strings per token."""
    names = {"input": "prompt", "output": "completion", "cache_read": "input_cache_read"}
    return _wrapped(
        [
            {
                **row.basics(provider.name),
                "context_length": row.endpoint.context_window,
                "max_completion_tokens": row.endpoint.max_output_tokens,
                "pricing": row.per_token(**names),
            }
            for row in rows
        ]
    )


def _hyperbolic(provider: Provider, rows: list[Listed]) -> Any:
    return _wrapped(
        [
            {
                **row.basics(provider.name),
                "context_length": row.endpoint.context_window,
                "supports_chat": True,
                **row.per_million(input="input_price", output="output_price"),
            }
            for row in rows
        ]
    )


def _anthropic(provider: Provider, rows: list[Listed]) -> Any:
    data = [
        {
            "type": "model",
            "id": row.endpoint.upstream_model,
            "display_name": row.endpoint.title,
            "created_at": dt.datetime.fromtimestamp(row.endpoint.created, dt.UTC).isoformat(),
            "max_input_tokens": row.endpoint.context_window,
            "max_tokens": row.endpoint.max_output_tokens,
        }
        for row in rows
    ]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return {"data": data, "has_more": False, **ends}


def _gemini(provider: Provider, rows: list[Listed]) -> Any:
    return {
        "models": [
            {
                "name": f"models/{row.endpoint.upstream_model}",
                "displayName": row.endpoint.title,
                "inputTokenLimit": row.endpoint.context_window,
                "outputTokenLimit": row.endpoint.max_output_tokens,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
            }
            for row in rows
        ]
    }


KINDS: dict[str, Callable[[Provider, list[Listed]], Any]] = {
    "openai_compat": _plain,
    "groq": _groq,
    "mistral": _mistral,
    "together": _together,
    "novita": _novita,
    "deepinfra": _deepinfra,
    "openrouter": _openrouter,
    "hf_router": _hf_router,
    "cerebras": _flat_million,
    "featherless": _featherless,
    "sambanova": _per_token,
    "ovhcloud": _per_token,
    "baseten": _per_token,
    "nebius": _per_token,
    "hyperbolic": _hyperbolic,
    "anthropic": _anthropic,
    "gemini": _gemini,
}
DEFAULT_KINDS = {"groq": "groq", "mistral": "mistral"}
