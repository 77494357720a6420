"""The catalog of the small hub, and rows for more of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def catalog_document() -> dict[str, Any]:
    """Four providers and three models; `quiet` is never measured, `gpt-oss` has a dearer past."""
    return {
        "format": "panelboard-catalog/1",
        "checked_on": "2026-11-01",
        "source": "test",
        "providers": [_provider(slug, name) for slug, name in _PROVIDERS],
        "models": [model_row(name, title, maker) for name, title, maker in _MODELS],
        "endpoints": list(_endpoints()),
    }


_PROVIDERS = (
    ("groq", "Groq"),
    ("together", "Together AI"),
    ("novita", "Novita"),
    ("quiet", "Quiet Cloud"),
)
_MODELS = (
    ("openai/gpt-oss-120b", "gpt-oss 120B", "OpenAI"),
    ("meta-llama/Llama-3.3-70B-Instruct", "Llama 3.3 70B", "Meta"),
    ("quiet/Silent-1", "Silent 1", "Quiet"),
)
_PRICES = {
    ("groq", "openai/gpt-oss-120b"): ("0.15", "0.60"),
    ("together", "openai/gpt-oss-120b"): ("0.15", "0.60"),
    ("novita", "openai/gpt-oss-120b"): ("0.05", "0.25"),
    ("groq", "meta-llama/Llama-3.3-70B-Instruct"): ("0.59", "0.79"),
    ("together", "meta-llama/Llama-3.3-70B-Instruct"): ("0.88", "0.88"),
    ("quiet", "quiet/Silent-1"): ("1.00", "2.00"),
}


def _provider(slug: str, name: str) -> dict[str, Any]:
    return {
        "slug": slug,
        "name": name,
        "dialect": "openai_compat",
        "base_url": f"https://api.{slug}.example/v1",
        "homepage": f"https://{slug}.example",
        "key_env": [f"{slug.upper()}_API_KEY"],
    }


def model_row(name: str, title: str, maker: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "maker": maker,
        "description": f"{title} by {maker}.",
        "input_modalities": ["text"],
        "output_modalities": ["text"],
        "aliases": [],
        **more,
    }


def endpoint_row(
    provider: str, model: str, upstream_model: str, usd: dict[str, str], **more: Any
) -> dict[str, Any]:
    """`usd` is what each meter costs."""
    return {
        "provider": provider,
        "model": model,
        "upstream_model": upstream_model,
        "region": "",
        "quantization": "",
        "capabilities": [],
        "free": False,
        "prices": [
            {
                "meter": meter,
                "usd": amount,
                "effective_from": "2026-10-01T00:00:00Z",
                "source": "price page",
            }
            for meter, amount in usd.items()
        ],
        **more,
    }


def _endpoints() -> Iterator[dict[str, Any]]:
    for (provider, model), (read, written) in _PRICES.items():
        yield endpoint_row(
            provider,
            model,
            model.lower(),
            {"input": read, "output": written},
            quantization="fp8" if provider == "novita" else "",
            context_window=131072,
            max_output_tokens=8192,
            capabilities=["tools", "json_mode"] if provider == "groq" else ["tools"],
        )
