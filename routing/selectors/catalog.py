"""The catalog for lists and for REST: providers and models with their counts and best prices.

Each function names the number of queries it costs, whatever the size of the catalog.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, Q

from routing.core.usage import Meter
from routing.models import EndpointStats, Price, Provider
from routing.selectors import pages
from routing.selectors.pages import EndpointFacts, ModelFacts, PriceRow, ProviderFacts


@dataclass(frozen=True, slots=True)
class ProviderSummary:
    provider: ProviderFacts
    endpoints: int  # that are not retired
    models: int
    has_credential: bool  # of the kind it needs now: its own, or the simulator's


@dataclass(frozen=True, slots=True)
class ModelSummary:
    model: ModelFacts
    endpoints: tuple[EndpointFacts, ...]  # live ones, cheapest blend first

    @property
    def providers(self) -> int:
        return len({endpoint.provider.id for endpoint in self.endpoints})

    @property
    def cheapest(self) -> EndpointFacts | None:
        return self.endpoints[0] if self.endpoints else None

    def cheapest_usd(self, meter: Meter) -> Decimal | None:
        """The lowest price of one meter, whichever endpoint has it."""
        rates = [rate for e in self.endpoints if (rate := e.rate(meter)) is not None]
        return min(rates, default=None)

    @property
    def context_window(self) -> int | None:
        return max((e.context_window for e in self.endpoints if e.context_window), default=None)


@dataclass(frozen=True, slots=True)
class ModelDetail:
    summary: ModelSummary
    retired: tuple[EndpointFacts, ...]
    history: tuple[PriceRow, ...]  # approved rows, oldest first
    pending: int  # proposals that wait for approval
    stats: dict[int, EndpointStats]  # by endpoint id


def providers() -> list[ProviderSummary]:
    """Two queries."""
    facts = {row.id: row for row in pages.providers()}
    living = ~Q(endpoints__status="retired")
    simulated = Q(credentials__disabled_at=None, credentials__origin="simulator")
    real = Q(credentials__disabled_at=None) & ~Q(credentials__origin="simulator")
    rows = Provider.objects.annotate(
        n_endpoints=Count("endpoints", filter=living, distinct=True),
        n_models=Count("endpoints__model", filter=living, distinct=True),
        n_simulated=Count("credentials", filter=simulated, distinct=True),
        n_real=Count("credentials", filter=real, distinct=True),
    )
    return [
        ProviderSummary(
            provider=facts[row.pk],
            endpoints=row.n_endpoints,
            models=row.n_models,
            has_credential=bool(row.n_simulated if row.is_simulated else row.n_real),
        )
        for row in rows.order_by("name")
        if row.pk in facts
    ]


def models(now: dt.datetime) -> list[ModelSummary]:
    """Two queries. Models that no live endpoint serves are left out."""
    grouped: dict[int, list[EndpointFacts]] = {}
    for endpoint in pages.endpoints(now):
        if endpoint.is_live:
            grouped.setdefault(endpoint.model.id, []).append(endpoint)
    return [_summary(found[0].model, found) for found in grouped.values()]


def model_detail(slug: str, now: dt.datetime) -> ModelDetail | None:
    """Six queries."""
    model = pages.find_model(slug)
    if model is None:
        return None
    found = pages.endpoints_of_model(model.id, now)
    ids = [endpoint.id for endpoint in found]
    return ModelDetail(
        summary=_summary(model, [endpoint for endpoint in found if endpoint.is_live]),
        retired=tuple(endpoint for endpoint in found if not endpoint.is_live),
        history=tuple(pages.price_history(ids)),
        pending=_pending(ids),
        stats={row.endpoint_id: row for row in EndpointStats.objects.filter(endpoint__in=ids)},
    )


def _pending(endpoint_ids: Sequence[int]) -> int:
    return Price.objects.filter(
        endpoint_id__in=list(endpoint_ids), state=Price.State.PENDING
    ).count()


def _summary(model: ModelFacts, endpoints: Iterable[EndpointFacts]) -> ModelSummary:
    return ModelSummary(model, tuple(sorted(endpoints, key=_by_price)))


def _by_price(endpoint: EndpointFacts) -> tuple[bool, Decimal, str]:
    """Unpriced last."""
    blended = endpoint.blended_usd
    return blended is None, blended or Decimal(0), endpoint.provider.slug
