"""Where the story plays: an organization of its own, its keys, and endpoints of the catalog."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection, transaction

from analytics.prices import load_sheets
from routing.core.pricing import PriceSheet
from routing.core.usage import Meter
from routing.models import ApiKey, Endpoint, Organization, Price, Project
from routing.services.keys import create_key, revoke_key

ORGANIZATION = "demo"
SOURCE = "demo, simulated"
TIER = "demo"
TEAMS = {
    "assistant": ("Support assistant", ("production", "staging"), 0.55),
    "search": ("Search answers", ("production",), 0.30),
    "research": ("Research", ("notebooks",), 0.15),
}
MODELS = 4
ENDPOINTS_PER_MODEL = 4
DEARER_BEFORE = Decimal("1.6")  # the planted price change


class NothingToShow(Exception):
    """The catalog is empty: load it first."""


@dataclass(frozen=True, slots=True)
class Team:
    project: Project
    keys: list[ApiKey]
    weight: float


@dataclass(frozen=True, slots=True)
class Stage:
    organization: Organization
    teams: list[Team]
    choices: dict[int, list[Endpoint]]  # by model id
    sheets: dict[int, PriceSheet]
    cheaper: Endpoint  # its price was cut
    failing: Endpoint  # its provider has the outage


def build(first_day: dt.date, price_cut: dt.datetime) -> Stage:
    """Idempotent. Raises NothingToShow."""
    choices = _choose()
    endpoints = [endpoint for group in choices.values() for endpoint in group]
    first_model = next(iter(choices.values()))
    cheaper, failing = first_model[0], first_model[1]
    start = dt.datetime.combine(first_day, dt.time(), dt.UTC)
    with transaction.atomic():
        organization, _ = Organization.objects.get_or_create(
            slug=ORGANIZATION, defaults={"name": "Demo (simulated)"}
        )
        teams = [_team(organization, slug) for slug in TEAMS]
        _plant_prices(endpoints, start, cheaper, price_cut)
    return Stage(organization, teams, choices, _sheets(endpoints), cheaper, failing)


def _choose() -> dict[int, list[Endpoint]]:
    """The models with the most priced endpoints, at distinct providers."""
    rows = (
        Endpoint.objects.filter(status=Endpoint.Status.ACTIVE, prices__meter=Meter.INPUT)
        .select_related("provider", "model")
        .order_by("model__name", "provider__slug", "id")
        .distinct()
    )
    by_model: dict[int, dict[int, Endpoint]] = defaultdict(dict)
    for endpoint in rows:
        by_model[endpoint.model_id].setdefault(endpoint.provider_id, endpoint)
    widest = sorted(by_model.items(), key=lambda item: (-len(item[1]), item[0]))[:MODELS]
    chosen = {model: list(found.values())[:ENDPOINTS_PER_MODEL] for model, found in widest}
    if not chosen or len(next(iter(chosen.values()))) < 2:
        raise NothingToShow(
            "the catalog has no model at two providers with prices: run load_catalog first"
        )
    return chosen


def _team(organization: Organization, slug: str) -> Team:
    title, key_names, weight = TEAMS[slug]
    project, _ = Project.objects.get_or_create(
        organization=organization, slug=slug, defaults={"name": title}
    )
    return Team(project, [_key(project, name) for name in key_names], weight)


def _key(project: Project, name: str) -> ApiKey:
    """Revoked at once: it only names the traffic, nobody can use it."""
    found = ApiKey.objects.filter(project=project, name=name).first()
    return found or revoke_key(create_key(project=project, name=name)[0])


def _plant_prices(
    endpoints: list[Endpoint], start: dt.datetime, cheaper: Endpoint, price_cut: dt.datetime
) -> None:
    """Prices of a service tier that no real request has: nothing else is ever charged by them."""
    now = dt.datetime.now(dt.UTC)
    for endpoint_id, sheet in _sheets(endpoints).items():
        for meter, price in sheet.at(now).items():
            usd = price.unit_price_usd
            if endpoint_id == cheaper.pk:
                _price(endpoint_id, meter, price_cut, usd)
                usd = round(usd * DEARER_BEFORE, 6)
            _price(endpoint_id, meter, start, usd)


def _price(endpoint_id: int, meter: Meter, start: dt.datetime, usd: Decimal) -> None:
    Price.objects.get_or_create(
        endpoint_id=endpoint_id,
        meter=meter.value,
        service_tier=TIER,
        effective_from=start,
        source=SOURCE,
        defaults={
            "unit_price_usd": usd,
            "checked_on": start.date(),
            "note": "planted by seed_demo; only the demo's own requests are charged by it",
        },
    )


def _sheets(endpoints: list[Endpoint]) -> dict[int, PriceSheet]:
    with connection.cursor() as cursor:
        return load_sheets(cursor, [endpoint.pk for endpoint in endpoints])
