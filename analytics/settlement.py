"""Asks providers what our estimated attempts really cost, and books the difference.

The protocol is the one of the Hugging Face router: POST {"requestIds": [...]} to the provider's
settlement path. An answer with `usage` is priced exactly with the rows that were in force; one
with the cost alone is taken at its word. What is left out of an answer is asked for again until
`WINDOW` is over.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Protocol

import httpx
import msgspec
from django.db import connection, transaction
from django.db.models import Exists, OuterRef

from analytics.models import Attempt, ChargeCorrection
from analytics.prices import load_sheets
from analytics.rollups.fill import mark_dirty
from routing.core.charges import ChargeLine, CostStatus
from routing.core.pricing import PriceSheet, charge
from routing.core.usage import Usage, UsageSource
from routing.models import Credential, Endpoint, Provider
from routing.services.credentials import CredentialUnreadable, reveal

logger = logging.getLogger(__name__)

SOURCE = "settlement"
WINDOW = dt.timedelta(minutes=30)
BATCH = 200
MOST_PER_RUN = 5000
TIMEOUT_S = 10.0
NANO_PER_USD = 10**9
_DAY = dt.timedelta(days=1)


class SettlementFailed(Exception):
    """The provider did not answer, or not in the form we know: ask again later."""


class Settled(msgspec.Struct, frozen=True, rename="camel"):
    """One request of the answer. Fields we do not know are passed over."""

    request_id: str
    cost_nano_usd: int | None = None
    usage: dict[str, Any] | None = None


class _Answer(msgspec.Struct, frozen=True):
    requests: list[Settled]


class Ask(Protocol):
    def __call__(self, provider: Provider, request_ids: list[str]) -> list[Settled]:
        """Raises SettlementFailed."""
        ...


def settle(now: dt.datetime, ask: Ask | None = None) -> int:
    """Returns how many corrections were added. Running it twice, or at once, adds none."""
    asking = ask or ask_provider
    added = 0
    for provider, attempts in _due(now):
        for start in range(0, len(attempts), BATCH):
            try:
                added += _settle_batch(provider, attempts[start : start + BATCH], asking)
            except SettlementFailed as exc:
                logger.warning("%s does not settle: %s", provider.slug, exc)
                break
    return added


def ask_provider(provider: Provider, request_ids: list[str]) -> list[Settled]:
    """Raises SettlementFailed."""
    url = provider.active_base_url.rstrip("/") + provider.quirks["settlement_path"]
    headers = _authorization(provider)
    try:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
            answer = client.post(url, json={"requestIds": request_ids}, headers=headers)
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=_Answer).requests
    except (httpx.HTTPError, msgspec.DecodeError) as exc:
        raise SettlementFailed(str(exc) or type(exc).__name__) from exc


def _authorization(provider: Provider) -> dict[str, str]:
    row = Credential.objects.filter(provider=provider, disabled_at=None).order_by("name").first()
    if row is None:
        raise SettlementFailed("no credential is stored for it")
    try:
        secret = reveal(row)
    except CredentialUnreadable as exc:
        raise SettlementFailed(str(exc)) from None
    kind, _, name = str(provider.quirks.get("auth", "bearer")).partition(":")
    if kind == "header" and name:
        return {name: secret}
    return {"Authorization": f"{'Key' if kind == 'key' else 'Bearer'} {secret}"}


def _due(now: dt.datetime) -> Iterator[tuple[Provider, list[Attempt]]]:
    """Estimated attempts without a settlement, by provider that can be asked."""
    endpoints = {
        endpoint.pk: endpoint
        for endpoint in Endpoint.objects.select_related("provider")
        if endpoint.provider.quirks.get("settlement_path")
    }
    by_provider: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in _estimated(now - WINDOW, list(endpoints)):
        by_provider[endpoints[attempt.endpoint_id].provider_id].append(attempt)
    for attempts in by_provider.values():
        yield endpoints[attempts[0].endpoint_id].provider, attempts


def _estimated(since: dt.datetime, endpoint_ids: list[int]) -> Iterable[Attempt]:
    settled = ChargeCorrection.objects.filter(
        request_id=OuterRef("request_id"), attempt_no=OuterRef("attempt_no"), source=SOURCE
    )
    rows = Attempt.objects.filter(
        ~Exists(settled),
        day__gte=since.date() - _DAY,
        received_at__gte=since,
        cost_status=CostStatus.ESTIMATED,
        endpoint_id__in=endpoint_ids,
    )
    return rows.order_by("received_at")[:MOST_PER_RUN]


def _settle_batch(provider: Provider, attempts: list[Attempt], ask: Ask) -> int:
    by_id = {name: attempt for attempt in attempts for name in _names(attempt)}
    answers = ask(provider, list(by_id))
    with connection.cursor() as cursor:
        sheets = load_sheets(cursor, {attempt.endpoint_id for attempt in attempts})
    corrections: dict[tuple[Any, int], tuple[Attempt, ChargeCorrection]] = {}
    for answer in answers:
        attempt = by_id.get(answer.request_id)
        if attempt is None:
            continue
        correction = correction_of(attempt, answer, sheets[attempt.endpoint_id])
        if correction is not None:
            corrections[attempt.request_id, attempt.attempt_no] = attempt, correction
    return _book(corrections.values())


def _names(attempt: Attempt) -> list[str]:
    """What the provider may know it by: the id we sent, and the one it answered with."""
    sent = f"{attempt.request_id}-{attempt.attempt_no}"
    return [name for name in dict.fromkeys((sent, attempt.provider_request_id)) if name]


def correction_of(attempt: Attempt, answer: Settled, sheet: PriceSheet) -> ChargeCorrection | None:
    """None when the answer says nothing that could be booked."""
    usage = _usage(answer.usage)
    if usage is not None:
        bill = charge(usage, sheet, attempt.started_at, attempt.service_tier)
        if not (sheet and bill.unpriced):
            return _correction(
                attempt, bill.amount_usd, CostStatus.METERED, usage=usage, lines=bill.lines
            )
    # A cost of zero that nothing explains is not believed: providers send it for "unknown".
    if answer.cost_nano_usd is None or answer.cost_nano_usd <= 0:
        return None
    cost_usd = Decimal(answer.cost_nano_usd) / NANO_PER_USD
    return _correction(attempt, cost_usd, CostStatus.PROVIDER_REPORTED, usage=usage)


def _usage(said: Mapping[str, Any] | None) -> Usage | None:
    """Token counts in the inclusive form of `routing.core.usage`. None if it is not that."""
    if not said:
        return None
    names = {
        name for name in Usage.__struct_fields__ if name not in ("source", "provider_cost_usd")
    }
    counts = {name: said[name] for name in names if said.get(name) is not None}
    if not all(type(count) is int and count >= 0 for count in counts.values()):
        return None
    if "input_total" not in counts or "output_total" not in counts:
        return None
    return Usage(**counts, source=UsageSource.SETTLEMENT)


def _correction(
    attempt: Attempt,
    cost_usd: Decimal,
    status: CostStatus,
    *,
    usage: Usage | None,
    lines: tuple[ChargeLine, ...] = (),
) -> ChargeCorrection:
    correction = ChargeCorrection(
        day=attempt.day,
        request_id=attempt.request_id,
        attempt_no=attempt.attempt_no,
        source=SOURCE,
        delta_usd=cost_usd - attempt.cost_usd,
        cost_status=status.value,
        lines=msgspec.to_builtins(lines),
        note="asked the provider by request id",
    )
    if usage is not None:
        _add_token_deltas(correction, attempt, usage)
    return correction


def _add_token_deltas(correction: ChargeCorrection, attempt: Attempt, usage: Usage) -> None:
    correction.input_delta = (usage.input_total or 0) - (attempt.input_total or 0)
    correction.cache_read_delta = (usage.cache_read or 0) - (attempt.cache_read or 0)
    correction.cache_write_delta = (
        (usage.cache_write_5m or 0)
        + (usage.cache_write_1h or 0)
        - (attempt.cache_write_5m or 0)
        - (attempt.cache_write_1h or 0)
    )
    correction.output_delta = (usage.output_total or 0) - (attempt.output_total or 0)
    correction.reasoning_delta = (usage.reasoning or 0) - (attempt.reasoning or 0)


def _book(corrections: Iterable[tuple[Attempt, ChargeCorrection]]) -> int:
    """Adds them with the marks of their buckets; one that is there already stays as it is."""
    added = 0
    with transaction.atomic():
        for attempt, correction in corrections:
            _, is_new = ChargeCorrection.objects.get_or_create(
                request_id=correction.request_id,
                attempt_no=correction.attempt_no,
                source=correction.source,
                defaults={name: getattr(correction, name) for name in _VALUES},
            )
            if is_new:
                mark_dirty([attempt.received_at])
                added += 1
    return added


_VALUES = (
    "day",
    "delta_usd",
    "cost_status",
    "input_delta",
    "cache_read_delta",
    "cache_write_delta",
    "output_delta",
    "reasoning_delta",
    "lines",
    "note",
)
