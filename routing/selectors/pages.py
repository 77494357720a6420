"""What the pages read of the catalog, as plain values with the prices in force.

Each function names the number of queries it costs. Retired endpoints and models stay readable,
because past requests refer to them.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from routing.core import charges, pricing
from routing.core.kinds import CHAT
from routing.core.usage import Meter
from routing.models import (
    Endpoint,
    Model,
    PolicyVersion,
    Price,
    Provider,
)

BLEND_INPUT_PARTS, BLEND_OUTPUT_PARTS = 3, 1
SLUG_JOINT = "~"  # between provider and model in an endpoint's slug


# --- values --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    id: int
    slug: str
    name: str
    homepage: str
    dialect: str
    simulated: bool
    lifecycle: str
    source: str
    checked_on: dt.date | None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    id: int
    slug: str
    name: str
    title: str
    maker: str
    description: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    released_on: dt.date | None
    source: str
    checked_on: dt.date | None
    kind: str = CHAT  # of routing.core.kinds


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    id: int
    slug: str
    provider: ProviderFacts
    model: ModelFacts
    upstream_model: str
    region: str
    quantization: str
    context_window: int | None
    max_output_tokens: int | None
    capabilities: tuple[str, ...]
    is_free: bool
    status: str
    retires_on: dt.date | None
    checked_on: dt.date | None
    rates: Mapping[Meter, charges.Price]  # in force now, for a short request without a tier
    has_conditions: bool  # other prices hold for long contexts, tiers or hours

    @property
    def is_live(self) -> bool:
        return self.status in (Endpoint.Status.ACTIVE, Endpoint.Status.DEPRECATED) and (
            self.provider.lifecycle == Provider.Lifecycle.ACTIVE
        )

    def rate(self, meter: Meter) -> Decimal | None:
        row = self.rates.get(meter)
        return row.unit_price_usd if row is not None else None

    @property
    def input_usd(self) -> Decimal | None:
        return self.rate(Meter.INPUT)

    @property
    def output_usd(self) -> Decimal | None:
        return self.rate(Meter.OUTPUT)

    @property
    def cache_usd(self) -> Decimal | None:
        return self.rate(Meter.CACHE_READ)

    @property
    def blended_usd(self) -> Decimal | None:
        """US dollars per 1M tokens, three parts input to one part output."""
        return pricing.blended_usd_per_million(
            dict(self.rates), BLEND_INPUT_PARTS, BLEND_OUTPUT_PARTS
        )


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One dated row, with what it replaced (None for the first of its kind)."""

    id: int
    endpoint_id: int
    endpoint_slug: str
    provider: str
    model: str
    model_slug: str
    meter: str
    unit_price_usd: Decimal
    before_usd: Decimal | None
    effective_from: dt.datetime
    source: str
    source_url: str
    conditions: str


@dataclass(frozen=True, slots=True)
class PolicyChange:
    policy: str
    version: int
    changed_by: str
    changed_at: dt.datetime


# --- catalog ----------------------------------------------------------------------------------------


def endpoints(now: dt.datetime, where: Q | None = None) -> list[EndpointFacts]:
    """Two queries. Ordered by model, then provider."""
    rows = list(
        Endpoint.objects.filter(where or Q())
        .select_related("provider", "model")
        .order_by("model__name", "provider__name", "pk")
    )
    prices = _approved_prices(row.pk for row in rows)
    twins = Counter((row.provider_id, row.model_id) for row in rows)
    return [
        _endpoint_facts(row, prices[row.pk], now, twins[row.provider_id, row.model_id] > 1)
        for row in rows
    ]


def endpoints_of_model(model_id: int, now: dt.datetime) -> list[EndpointFacts]:
    return endpoints(now, Q(model_id=model_id))


def endpoints_of_provider(provider_id: int, now: dt.datetime) -> list[EndpointFacts]:
    return endpoints(now, Q(provider_id=provider_id))


def find_model(slug: str) -> ModelFacts | None:
    row = Model.objects.filter(slug=slug).first()
    return None if row is None else _model_facts(row)


def find_provider(slug: str) -> ProviderFacts | None:
    row = Provider.objects.filter(slug=slug).first()
    return None if row is None else _provider_facts(row)


def providers() -> list[ProviderFacts]:
    return [_provider_facts(row) for row in Provider.objects.order_by("name")]


def model_names() -> list[str]:
    return list(Model.objects.order_by("name").values_list("name", flat=True))


def some_model() -> str:
    """The chat model that most endpoints serve, for examples that anyone can run."""
    live = Q(endpoints__status=Endpoint.Status.ACTIVE)
    served = (
        Model.objects.filter(kind=CHAT)
        .annotate(n=Count("endpoints", filter=live))
        .order_by("-n", "name")
    )
    return served.values_list("name", flat=True).first() or "org/Model"


def price_history(endpoint_ids: Sequence[int]) -> list[PriceRow]:
    """One query: every approved row of these endpoints, oldest first."""
    return [_price_row(row) for row in _with_previous(Q(endpoint_id__in=endpoint_ids))]


def recent_price_changes(now: dt.datetime, since: dt.datetime, most: int) -> list[PriceRow]:
    """One query: approved rows that took effect in the period and replaced another price."""
    changed = _with_previous(Q()).filter(
        effective_from__gte=since, effective_from__lte=now, before_usd__isnull=False
    )
    rows = changed.exclude(before_usd=F("unit_price_usd")).order_by("-effective_from", "pk")
    return [_price_row(row) for row in rows[:most]]


def _approved_prices(endpoint_ids: Iterable[int]) -> dict[int, list[Price]]:
    found: dict[int, list[Price]] = defaultdict(list)
    wanted = Price.objects.filter(endpoint_id__in=list(endpoint_ids), state=Price.State.APPROVED)
    for row in wanted.order_by("pk"):
        found[row.endpoint_id].append(row)
    return found


def _with_previous(where: Q) -> QuerySet[Any, Any]:
    """Each row with the price that the same endpoint, meter and conditions had before it."""
    before = Price.objects.annotate(from_minute=_from_minute()).filter(
        state=Price.State.APPROVED,
        endpoint_id=OuterRef("endpoint_id"),
        meter=OuterRef("meter"),
        min_input_tokens=OuterRef("min_input_tokens"),
        service_tier=OuterRef("service_tier"),
        from_minute=OuterRef("from_minute"),
        weekdays=OuterRef("weekdays"),
        effective_from__lt=OuterRef("effective_from"),
    )
    latest = before.order_by("-effective_from", "-pk").values("unit_price_usd")[:1]
    return (
        Price.objects.filter(where, state=Price.State.APPROVED)
        .select_related("endpoint__provider", "endpoint__model")
        .annotate(from_minute=_from_minute())
        .annotate(before_usd=Subquery(latest))
        .order_by("effective_from", "pk")
    )


def _from_minute() -> Coalesce:
    return Coalesce("utc_from_minute", Value(-1), output_field=IntegerField())


def _endpoint_facts(
    row: Endpoint, prices: list[Price], now: dt.datetime, has_twin: bool
) -> EndpointFacts:
    sheet = pricing.PriceSheet(map(_core_price, prices))
    return EndpointFacts(
        id=row.pk,
        slug=_endpoint_slug(row, has_twin),
        provider=_provider_facts(row.provider),
        model=_model_facts(row.model),
        upstream_model=row.upstream_model,
        region=row.region,
        quantization=row.quantization,
        context_window=row.context_window,
        max_output_tokens=row.max_output_tokens,
        capabilities=tuple(sorted(row.capabilities)),
        is_free=row.is_free,
        status=_status(row, now.date()),
        retires_on=row.retires_on,
        checked_on=row.checked_on,
        rates=sheet.at(now),
        has_conditions=any(_conditions(price) for price in prices),
    )


def _status(row: Endpoint, today: dt.date) -> str:
    """As the gateway reads it: what is still called active ends on its day."""
    ends = row.retires_on is not None and row.retires_on <= today
    is_active = row.status == Endpoint.Status.ACTIVE
    return Endpoint.Status.RETIRED.value if ends and is_active else row.status


def _endpoint_slug(row: Endpoint, has_twin: bool) -> str:
    slug = f"{row.provider.slug}{SLUG_JOINT}{row.model.slug}"
    return f"{slug}{SLUG_JOINT}{row.pk}" if has_twin else slug


def _core_price(row: Price) -> charges.Price:
    return charges.Price(
        id=row.pk,
        meter=Meter(row.meter),
        unit_price_usd=row.unit_price_usd,
        effective_from=row.effective_from,
        min_input_tokens=row.min_input_tokens,
        service_tier=row.service_tier,
        utc_from_minute=row.utc_from_minute,
        utc_until_minute=row.utc_until_minute,
        weekdays=row.weekdays,
    )


def _price_row(row: Any) -> PriceRow:
    return PriceRow(
        id=row.pk,
        endpoint_id=row.endpoint_id,
        endpoint_slug=_endpoint_slug(row.endpoint, has_twin=False),
        provider=row.endpoint.provider.name,
        model=row.endpoint.model.name,
        model_slug=row.endpoint.model.slug,
        meter=row.meter,
        unit_price_usd=row.unit_price_usd,
        before_usd=row.before_usd,
        effective_from=row.effective_from,
        source=row.source,
        source_url=row.source_url,
        conditions=_conditions(row),
    )


_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _conditions(row: Price) -> str:
    """In words: `from 200,000 input tokens; tier flex; 01:00–09:00 UTC`. Empty when it holds always."""
    parts = []
    if row.min_input_tokens:
        parts.append(f"from {row.min_input_tokens:,} input tokens")
    if row.service_tier:
        parts.append(f"tier {row.service_tier}")
    if row.utc_from_minute is not None and row.utc_until_minute is not None:
        start, end = _clock(row.utc_from_minute), _clock(row.utc_until_minute)
        parts.append(f"{start}\N{EN DASH}{end} UTC")
    if row.weekdays:
        parts.append(" ".join(day for bit, day in enumerate(_WEEKDAYS) if row.weekdays >> bit & 1))
    return "; ".join(parts)


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _provider_facts(row: Provider) -> ProviderFacts:
    return ProviderFacts(
        id=row.pk,
        slug=row.slug,
        name=row.name,
        homepage=row.homepage,
        dialect=row.dialect,
        simulated=row.is_simulated,
        lifecycle=row.lifecycle,
        source=row.source,
        checked_on=row.checked_on,
    )


def _model_facts(row: Model) -> ModelFacts:
    return ModelFacts(
        id=row.pk,
        slug=row.slug,
        name=row.name,
        title=row.title,
        maker=row.maker,
        description=row.description,
        inputs=tuple(row.input_modalities),
        outputs=tuple(row.output_modalities),
        released_on=row.released_on,
        source=row.source,
        checked_on=row.checked_on,
        kind=row.kind,
    )


# --- what else changed ----------------------------------------------------------------------------


def recent_policy_changes(since: dt.datetime, most: int) -> list[PolicyChange]:
    rows = PolicyVersion.objects.filter(created_at__gte=since, version__gt=1)
    return [
        PolicyChange(
            policy=row.policy.name,
            version=row.version,
            changed_by=row.created_by.get_username() if row.created_by else "",
            changed_at=row.created_at,
        )
        for row in rows.select_related("policy", "created_by").order_by("-created_at")[:most]
    ]


def pending_price_count() -> int:
    return Price.objects.filter(state=Price.State.PENDING).count()


def catalog_counts() -> tuple[int, int, int]:
    """One query: providers, models and endpoints that can be used."""
    live = Q(endpoints__status=Endpoint.Status.ACTIVE)
    row = Provider.objects.filter(lifecycle=Provider.Lifecycle.ACTIVE).aggregate(
        providers=Count("pk", filter=live, distinct=True),
        models=Count("endpoints__model", filter=live, distinct=True),
        endpoints=Count("endpoints", filter=live, distinct=True),
    )
    return row["providers"], row["models"], row["endpoints"]
