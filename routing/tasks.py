"""Celery's way in: thin, and safe to run twice."""

from __future__ import annotations

import logging
from collections.abc import Collection
from uuid import UUID

from celery import shared_task
from django.db import connection
from django.utils import timezone

from routing.models import Credential, Provider
from routing.services import batch_work, idempotent_calls, price_refresh, probes, stored_responses
from routing.services.snapshots import load_snapshot

log = logging.getLogger(__name__)


@shared_task
def probe_endpoints() -> int:
    """One task per provider that can be asked; they run side by side on all workers."""
    ids = Credential.objects.filter(
        disabled_at=None, provider__lifecycle=Provider.Lifecycle.ACTIVE
    ).values_list("provider_id", flat=True)
    for provider_id in sorted(set(ids)):
        probe_provider.delay(provider_id)
    return len(set(ids))


@shared_task
def probe_unmeasured() -> int:
    """Only endpoints without any figure: all of a new hub, none of one that was started again."""
    found = probes.unmeasured(load_snapshot())
    for provider_id, endpoint_ids in found.items():
        probe_provider.delay(provider_id, endpoint_ids)
    return sum(map(len, found.values()))


@shared_task
def probe_provider(provider_id: int, only: Collection[int] | None = None) -> str:
    report = probes.probe(snapshot=load_snapshot(), provider_id=provider_id, only=only)
    return f"{report.probed} probed, {report.skipped} skipped, {report.cost_usd} USD"


@shared_task
def refresh_prices() -> int:
    providers = price_refresh.refreshable()
    for provider in providers:
        refresh_prices_of.delay(provider.pk)
    return len(providers)


@shared_task
def refresh_prices_of(provider_id: int) -> str:
    provider = Provider.objects.get(pk=provider_id)
    try:
        report = price_refresh.refresh(provider)
    except price_refresh.RefreshFailed as exc:
        log.warning("prices stay as they are: %s", exc)
        return str(exc)
    return f"{report.added} added, {report.held} held, {report.unchanged} unchanged"


@shared_task
def tend_batches() -> int:
    """A task for each free place, while there is work; beat sends this every few seconds."""
    offered = batch_work.offer_places()
    for slot, token in offered:
        _work_on_batches(slot, token, batch_work.QUEUED_S)
    return len(offered)


@shared_task
def work_on_batches(slot: int, token: str) -> None:
    """One turn. The place is kept for the next one while there is work."""
    if batch_work.take_turn(slot, UUID(token)):
        _work_on_batches(slot, UUID(token), batch_work.QUEUED_S)


def _work_on_batches(slot: int, token: UUID, within_s: float) -> None:
    work_on_batches.apply_async((slot, str(token)), expires=within_s)


@shared_task
def forget_expired_batches() -> int:
    return batch_work.forget_expired(timezone.now())


@shared_task
def forget_expired_calls() -> int:
    with connection.cursor() as cursor:
        return idempotent_calls.forget_expired(cursor, timezone.now())


@shared_task
def forget_expired_responses() -> int:
    with connection.cursor() as cursor:
        return stored_responses.forget_expired(cursor, timezone.now())
