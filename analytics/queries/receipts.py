"""One request with everything that explains it: attempts, charge lines, prices, the decision."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from analytics.models import Attempt, ChargeCorrection, RequestLog
from analytics.queries.requests import CERTAINTY, find_request
from analytics.queries.types import (
    Correction,
    LineOfCharge,
    Receipt,
    ReceiptAttempt,
    ReceiptCandidate,
    RequestRow,
    Scope,
)
from analytics.rollups.stats import MIN_DECODE_MS, MIN_SPEED_TOKENS
from routing.core.decision import Decision
from routing.core.explanation import cost_usd, ranked, runner_up
from routing.core.ids import utc_day_of
from routing.core.pricing import TOKENS_PER_PRICE_UNIT
from routing.core.replay import original_in
from routing.core.usage import MILLION_METERS
from routing.models import Endpoint, Price


def receipt(scope: Scope, request_id: UUID) -> Receipt | None:
    """None when there is no such request, or not in this scope: a stranger cannot tell which."""
    try:
        day = utc_day_of(request_id)
    except (ValueError, OverflowError, OSError):  # no id of ours tells such a day
        return None
    row = find_request(request_id, day)
    if row is None or not _may_see(scope, row):
        return None
    log = RequestLog.objects.get(day=day, request_id=request_id)
    attempts = list(Attempt.objects.filter(day=day, request_id=request_id).order_by("attempt_no"))
    corrections = list(ChargeCorrection.objects.filter(request_id=request_id).order_by("id"))
    decision = _decision(log.decision)
    endpoints = _endpoints(attempts, decision)
    prices = _prices([*attempts, *corrections])
    written = _attempts(row, attempts, corrections, endpoints, prices)
    candidates = _candidates(decision, endpoints)
    return Receipt(
        request=row,
        overhead_ms=log.overhead_ms,
        policy_version=log.policy_version,
        objective=decision.objective if decision else "",
        snapshot_version=decision.snapshot_version if decision else None,
        attempts=written,
        candidates=candidates,
        corrections=[_correction(found, prices) for found in corrections],
        cost_by_status=_by_status(written),
        rule=decision.rule if decision else "",
        estimated_input_tokens=decision.input_tokens if decision else None,
        estimated_output_tokens=decision.output_tokens if decision else None,
        runner_up=_runner_up(decision, candidates),
        replay_of=original_in(log.decision),
    )


def _runner_up(
    decision: Decision | None, candidates: Sequence[ReceiptCandidate]
) -> ReceiptCandidate | None:
    second = runner_up(decision) if decision is not None else None
    if second is None:
        return None
    return next(row for row in candidates if row.endpoint_id == second.endpoint_id)


def _may_see(scope: Scope, row: RequestRow) -> bool:
    return scope.project_ids is None or row.project_id in scope.project_ids


def _decision(stored: Any) -> Decision | None:
    is_none = stored is None or original_in(stored)
    return None if is_none else msgspec.convert(stored, Decision)


def _endpoints(attempts: Iterable[Attempt], decision: Decision | None) -> dict[int, Endpoint]:
    wanted = {attempt.endpoint_id for attempt in attempts}
    if decision is not None:
        wanted |= {candidate.endpoint_id for candidate in decision.candidates}
    return Endpoint.objects.select_related("provider", "model").in_bulk(list(wanted))


def _prices(charged: Iterable[Attempt | ChargeCorrection]) -> dict[int, Price]:
    return Price.objects.in_bulk(
        list({line["price_id"] for found in charged for line in found.lines})
    )


def _line(stored: Mapping[str, Any], prices: Mapping[int, Price]) -> LineOfCharge:
    price = prices.get(stored["price_id"])
    return LineOfCharge(
        meter=stored["meter"],
        quantity=stored["quantity"],
        amount_usd=Decimal(stored["amount_usd"]),
        price_id=stored["price_id"],
        unit_price_usd=price.unit_price_usd if price else None,
        per=TOKENS_PER_PRICE_UNIT if stored["meter"] in MILLION_METERS else 1,
        price_source=price.source if price else "",
        effective_from=price.effective_from if price else None,
    )


def _correction(found: ChargeCorrection, prices: Mapping[int, Price]) -> Correction:
    return Correction(
        attempt_no=found.attempt_no,
        source=found.source,
        delta_usd=found.delta_usd,
        cost_status=found.cost_status,
        created_at=found.created_at,
        lines=[_line(line, prices) for line in found.lines],
        note=found.note,
    )


def _attempts(
    row: RequestRow,
    attempts: Iterable[Attempt],
    corrections: Iterable[ChargeCorrection],
    endpoints: Mapping[int, Endpoint],
    prices: Mapping[int, Price],
) -> list[ReceiptAttempt]:
    by_number: dict[int, list[ChargeCorrection]] = defaultdict(list)
    for correction in corrections:
        by_number[correction.attempt_no].append(correction)
    return [
        _attempt(row, attempt, by_number[attempt.attempt_no], endpoints, prices)
        for attempt in attempts
    ]


def _attempt(
    row: RequestRow,
    attempt: Attempt,
    corrections: list[ChargeCorrection],
    endpoints: Mapping[int, Endpoint],
    prices: Mapping[int, Price],
) -> ReceiptAttempt:
    endpoint = endpoints.get(attempt.endpoint_id)
    written = _sum(attempt.cache_write_5m, attempt.cache_write_1h)
    return ReceiptAttempt(
        attempt_no=attempt.attempt_no,
        started_at=attempt.started_at,
        offset_ms=(attempt.started_at - row.received_at).total_seconds() * 1000,
        endpoint_id=attempt.endpoint_id,
        provider=endpoint.provider.slug if endpoint else "",
        provider_name=endpoint.provider.name if endpoint else "",
        model=endpoint.model.name if endpoint else "",
        upstream_model=attempt.upstream_model,
        response_model=attempt.response_model,
        outcome=attempt.outcome,
        http_status=attempt.http_status,
        failure=attempt.failure,
        error_code=attempt.error_code,
        error_message=attempt.error_message,
        provider_request_id=attempt.provider_request_id,
        finish_reason=attempt.finish_reason,
        input_tokens=_sum(attempt.input_total, *(c.input_delta for c in corrections)),
        cache_read_tokens=_sum(attempt.cache_read, *(c.cache_read_delta for c in corrections)),
        cache_write_tokens=_sum(written, *(c.cache_write_delta for c in corrections)),
        output_tokens=_sum(attempt.output_total, *(c.output_delta for c in corrections)),
        reasoning_tokens=_sum(attempt.reasoning, *(c.reasoning_delta for c in corrections)),
        usage_source="settlement" if corrections else attempt.usage_source,
        usage_raw=attempt.usage_raw,
        cost_usd=attempt.cost_usd + sum((c.delta_usd for c in corrections), Decimal(0)),
        recorded_cost_usd=attempt.cost_usd,
        cost_status=corrections[-1].cost_status if corrections else attempt.cost_status,
        lines=[_line(line, prices) for line in attempt.lines],
        headers_ms=attempt.headers_ms,
        ttft_ms=attempt.ttft_ms,
        ttfa_ms=attempt.ttfa_ms,
        last_chunk_ms=attempt.last_chunk_ms,
        e2e_ms=attempt.e2e_ms,
        speed_tps=_speed_tps(attempt),
        dropped_params=[name for name in attempt.dropped_params.split(",") if name],
        service_tier=attempt.service_tier,
        simulated=attempt.simulated,
        images=attempt.images,
        pixels=attempt.pixels,
        audio_seconds=attempt.audio_seconds,
        characters=attempt.characters,
        searches=attempt.searches,
    )


def _sum(*parts: int | None) -> int | None:
    """None when nothing was said at all; a correction of nothing said is what it says."""
    said = [part for part in parts if part is not None]
    return sum(said) if said and (parts[0] is not None or any(said)) else None


def _speed_tps(attempt: Attempt) -> float | None:
    """As the rollups count it (analytics.rollups.stats.SPEED_TPS)."""
    if attempt.outcome != "ok" or attempt.usage_source == "estimated":
        return None
    if attempt.output_total is None or attempt.ttft_ms is None or attempt.last_chunk_ms is None:
        return None
    tokens = attempt.output_total - (
        1 if attempt.first_chunk_tokens is None else attempt.first_chunk_tokens
    )
    decode_ms = attempt.last_chunk_ms - attempt.ttft_ms
    if tokens < MIN_SPEED_TOKENS or decode_ms < MIN_DECODE_MS:
        return None
    return 1000 * tokens / decode_ms


def _candidates(
    decision: Decision | None, endpoints: Mapping[int, Endpoint]
) -> list[ReceiptCandidate]:
    """Those to be tried first, in their order, then the others by score, the excluded last."""
    if decision is None:
        return []
    places = {endpoint_id: place for place, endpoint_id in enumerate(decision.order, start=1)}
    return [
        ReceiptCandidate(
            endpoint_id=candidate.endpoint_id,
            provider=endpoint.provider.slug if endpoint else "",
            provider_name=endpoint.provider.name if endpoint else "",
            model=endpoint.model.name if endpoint else decision.model,
            expected_cost_usd=cost_usd(candidate),
            ttft_ms=candidate.ttft_ms,
            speed_tps=candidate.speed_tps,
            success_rate=candidate.success_rate,
            samples=candidate.samples,
            score=candidate.score,
            share=candidate.share,
            excluded=candidate.excluded,
            detail=candidate.detail,
            valid_rate=candidate.valid_rate,
            valid_samples=candidate.valid_samples,
            explored=candidate.explored,
            place=places.get(candidate.endpoint_id),
        )
        for candidate in ranked(decision)
        for endpoint in (endpoints.get(candidate.endpoint_id),)
    ]


def _by_status(attempts: Iterable[ReceiptAttempt]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for attempt in attempts:
        found[attempt.cost_status] += attempt.cost_usd
    return dict(sorted(found.items(), key=lambda item: CERTAINTY.index(item[0])))
