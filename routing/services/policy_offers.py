"""The catalog as policies see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

import msgspec
from django.utils import timezone

from routing.core.catalog import DataPolicy
from routing.core.charges import Price as PriceRow
from routing.core.pricing import PriceSheet
from routing.core.usage import Meter
from routing.models import Endpoint, Price, Provider
from routing.services.data_policies import data_policy_of
from routing.services.prices import core_row


class Offer(msgspec.Struct, frozen=True):
    """An endpoint that can be routed to, as far as policies look at it."""

    provider: str
    model: str
    quantization: str
    region: str
    is_measured: bool
    input_usd: Decimal | None
    output_usd: Decimal | None
    data_policy: DataPolicy


class Known(msgspec.Struct, frozen=True):
    providers: frozenset[str]
    offers: tuple[Offer, ...]


def known_now() -> Known:
    """Three queries."""
    return Known(
        providers=frozenset(Provider.objects.values_list("slug", flat=True)),
        offers=tuple(_offers()),
    )


def _offers() -> Iterator[Offer]:
    now = timezone.now()
    sheets = _sheets()
    rows = Endpoint.objects.filter(
        provider__lifecycle=Provider.Lifecycle.ACTIVE,
        status__in=(Endpoint.Status.ACTIVE, Endpoint.Status.DEPRECATED),
    ).select_related("provider", "model", "stats")
    for row in rows:
        sheet = sheets.get(row.pk)
        if sheet is None and not row.is_free:
            continue
        rates = sheet.at(now) if sheet else {}
        yield Offer(
            provider=row.provider.slug,
            model=row.model.name,
            quantization=row.quantization,
            region=row.region,
            is_measured=hasattr(row, "stats") and row.stats.n > 0,
            input_usd=_usd(rates, Meter.INPUT),
            output_usd=_usd(rates, Meter.OUTPUT),
            data_policy=data_policy_of(row.provider.data_policy),
        )


def _sheets() -> dict[int, PriceSheet]:
    rows: dict[int, list[PriceRow]] = {}
    wanted = Price.objects.filter(state=Price.State.APPROVED, meter__in=(Meter.INPUT, Meter.OUTPUT))
    for row in wanted:
        rows.setdefault(row.endpoint_id, []).append(core_row(row))
    return {endpoint_id: PriceSheet(found) for endpoint_id, found in rows.items()}


def _usd(rates: Mapping[Meter, PriceRow], meter: Meter) -> Decimal | None:
    row = rates.get(meter)
    return row.unit_price_usd if row else None
