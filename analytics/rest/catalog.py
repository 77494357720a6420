"""Providers and models as the REST API shows them, with the prices in force now."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import Any

from django.db import connection
from django.db.models import Count, Q

from analytics.prices import load_sheets
from routing.core.pricing import TOKENS_PER_PRICE_UNIT, PriceSheet
from routing.core.usage import TOKEN_METERS
from routing.models import Endpoint, EndpointStats, Model, Provider


def providers() -> list[Provider]:
    """One query."""
    live = Count("endpoints", filter=~Q(endpoints__status=Endpoint.Status.RETIRED))
    return list(Provider.objects.annotate(endpoint_count=live).order_by("slug"))


def models(now: dt.datetime) -> list[dict[str, Any]]:
    """Four queries."""
    endpoints = list(
        Endpoint.objects.exclude(status=Endpoint.Status.RETIRED)
        .select_related("provider")
        .order_by("provider__slug", "id")
    )
    with connection.cursor() as cursor:
        sheets = load_sheets(cursor, [endpoint.pk for endpoint in endpoints])
    stats = {row.endpoint_id: row for row in EndpointStats.objects.all()}
    by_model: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for endpoint in endpoints:
        item = _endpoint(endpoint, sheets[endpoint.pk], stats.get(endpoint.pk), now)
        by_model[endpoint.model_id].append(item)
    return [_model(model, by_model[model.pk]) for model in Model.objects.order_by("name")]


def _model(model: Model, endpoints: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": model.name,
        "slug": model.slug,
        "title": model.title,
        "maker": model.maker,
        "input_modalities": model.input_modalities,
        "output_modalities": model.output_modalities,
        "released_on": model.released_on,
        "endpoints": endpoints,
    }


def _endpoint(
    endpoint: Endpoint, sheet: PriceSheet, stats: EndpointStats | None, now: dt.datetime
) -> dict[str, Any]:
    return {
        "id": endpoint.pk,
        "provider": endpoint.provider.slug,
        "upstream_model": endpoint.upstream_model,
        "region": endpoint.region,
        "quantization": endpoint.quantization,
        "context_window": endpoint.context_window,
        "max_output_tokens": endpoint.max_output_tokens,
        "capabilities": sorted(endpoint.capabilities),
        "status": endpoint.status,
        "free": endpoint.is_free,
        "simulated": endpoint.provider.is_simulated,
        "prices": _prices(sheet, now),
        "stats": stats,
    }


def _prices(sheet: PriceSheet, now: dt.datetime) -> list[dict[str, Any]]:
    """For a short request without a service tier."""
    return [
        {
            "meter": meter.value,
            "unit_price_usd": price.unit_price_usd,
            "per": TOKENS_PER_PRICE_UNIT if meter in TOKEN_METERS else 1,
            "currency": "USD",
            "price_id": price.id,
            "effective_from": price.effective_from,
        }
        for meter, price in sorted(sheet.at(now).items())
    ]
