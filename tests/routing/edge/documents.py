"""A small catalog: two providers, two models, three endpoints."""

from __future__ import annotations

import copy
import datetime as dt
from decimal import Decimal
from typing import Any

from routing.models import Endpoint, Organization, Project, Provider
from routing.services import catalog, credentials
from routing.services.prices import Quote

START = "2026-01-01T00:00:00Z"
BIG, SMALL = "openai/gpt-oss-120b", "Qwen/Qwen3-32B"


def price(meter: str, usd: str, **more: Any) -> dict[str, Any]:
    return {"meter": meter, "usd": usd, "effective_from": START, "source": "test", **more}


def endpoint(provider: str, model: str, usd: str = "0.20", **more: Any) -> dict[str, Any]:
    return {
        "provider": provider,
        "model": model,
        "upstream_model": model.lower(),
        "context_window": 131072,
        "capabilities": ["tools"],
        "prices": [price("input", usd), price("output", "0.80")],
        **more,
    }


_DOCUMENT: dict[str, Any] = {
    "format": "panelboard-catalog/1",
    "providers": [
        {
            "slug": "alpha",
            "name": "Alpha",
            "dialect": "openai_compat",
            "base_url": "https://api.alpha.example/v1",
            "key_env": ["ALPHA_API_KEY"],
            "quirks": {"max_tokens_field": "max_completion_tokens"},
            "listing": {"path": "/models", "kind": "together", "needs_key": False},
        },
        {
            "slug": "beta",
            "name": "Beta",
            "dialect": "openai_compat",
            "base_url": "https://api.beta.example/v1",
            "key_env": ["BETA_API_KEY"],
        },
    ],
    "models": [{"name": BIG, "aliases": ["oss-big"]}, {"name": SMALL}],
    "endpoints": [
        endpoint("alpha", BIG, quantization="fp8"),
        endpoint("beta", BIG, "0.30", region="eu"),
        endpoint("beta", SMALL, "0.10"),
    ],
}


def document() -> dict[str, Any]:
    """A fresh copy, to be changed at will."""
    return copy.deepcopy(_DOCUMENT)


def load() -> None:
    catalog.load(document())


def load_with_keys() -> None:
    load()
    for provider in Provider.objects.all():
        credentials.store_credential(provider=provider, name="main", secret=f"key-{provider.slug}")


def alpha_endpoint() -> Endpoint:
    return Endpoint.objects.get(provider__slug="alpha")


def project(slug: str = "shop", organization: str = "acme") -> Project:
    owner, _ = Organization.objects.get_or_create(
        slug=organization, defaults={"name": organization.title()}
    )
    found, _ = Project.objects.get_or_create(
        organization=owner, slug=slug, defaults={"name": slug.title()}
    )
    return found


def quote(usd: str, **more: Any) -> Quote:
    fields: dict[str, Any] = {
        "meter": "input",
        "source": "listing of together",
        "effective_from": dt.datetime(2026, 6, 1, tzinfo=dt.UTC),
        "checked_on": dt.date(2026, 6, 1),
        **more,
    }
    return Quote(usd=Decimal(usd), **fields)
