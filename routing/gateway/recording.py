"""Turns what happened into spool records: money from usage and the price rows in force."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

import msgspec

from routing.core.catalog import Endpoint
from routing.core.charges import CostStatus
from routing.core.errors import FailureClass, HubError, UpstreamError
from routing.core.pricing import NO_CHARGE, charge
from routing.core.record import Finish, Outcome, Record, RequestDone
from routing.core.usage import Usage, UsageSource, estimated_output_tokens
from routing.gateway.money import NO_MONEY, Money


class Spool(Protocol):
    """What the gateway needs of its spool. `append` is a plain write: it survives our crash."""

    def append(self, record: Record) -> None: ...

    def append_end(self, finish: Finish, done: RequestDone) -> None: ...

    def has_room(self) -> bool: ...

    def close(self) -> None: ...

    async def durable(self) -> None:
        """Returns once everything appended so far is on disk."""
        ...


_OUTCOME_OF_FAILURE = {
    FailureClass.CAPACITY: Outcome.RATE_LIMITED,
    FailureClass.TIMEOUT: Outcome.TIMEOUT,
    FailureClass.CLIENT: Outcome.USER_ERROR,
    FailureClass.CONTEXT: Outcome.USER_ERROR,
    FailureClass.CANCELLED: Outcome.CLIENT_CANCELLED,
}


HEDGE_LOST = "hedge_lost"  # the code of an attempt that another one was quicker than


def outcome_of(error: UpstreamError) -> Outcome:
    if error.code == HEDGE_LOST:
        return Outcome.HEDGE_LOST
    return _OUTCOME_OF_FAILURE.get(error.failure, Outcome.PROVIDER_ERROR)


def outcome_of_refusal(error: HubError) -> Outcome:
    """For requests that no endpoint was asked for."""
    if error.status == 429:
        return Outcome.RATE_LIMITED
    if error.status >= 500:
        return Outcome.HUB_ERROR
    return Outcome.BLOCKED if error.code == "no_endpoint" else Outcome.USER_ERROR


def price_usage(
    usage: Usage, endpoint: Endpoint, started_at: dt.datetime, service_tier: str
) -> Money:
    bill = charge(usage, endpoint.prices, started_at, service_tier)
    if bill.unpriced and not endpoint.is_free:
        return Money(usage, bill, CostStatus.UNPRICED)
    estimated = usage.source is UsageSource.ESTIMATED
    return Money(usage, bill, CostStatus.ESTIMATED if estimated else CostStatus.METERED)


def completed(usage: Usage, input_estimate: int, output_chars: int) -> Usage:
    """Fill what the provider did not say from our own count, and mark it as an estimate."""
    if usage.input_total is not None and usage.output_total is not None:
        return usage
    estimated = estimated_output_tokens(output_chars)
    return msgspec.structs.replace(
        usage,
        input_total=input_estimate if usage.input_total is None else usage.input_total,
        output_total=estimated if usage.output_total is None else usage.output_total,
        source=UsageSource.ESTIMATED,
    )


def money_of_failure(
    error: UpstreamError,
    usage: Usage,
    output_chars: int,
    input_estimate: int,
    price: Callable[[Usage], Money],
    *,
    unanswered: bool = False,
) -> Money:
    """What a failed attempt costs: what the provider said or sent, never a guess of more.

    Output that reached us is charged. An attempt that was sent and stayed silent costs nothing
    here but is marked as an estimate, so that the provider is asked for the truth later: it was
    cancelled, or `unanswered`.
    """
    told = (usage.input_total, usage.output_total, usage.searches)
    if output_chars or any(count is not None for count in told):
        return price(completed(usage, input_estimate, output_chars))
    if error.code == HEDGE_LOST:  # sent on purpose and cut off: its prompt will have been read
        return price(completed(usage, input_estimate, output_chars))
    if unanswered or (error.was_sent and error.failure is FailureClass.CANCELLED):
        return Money(Usage(source=UsageSource.ESTIMATED), NO_CHARGE, CostStatus.ESTIMATED)
    return NO_MONEY


def output_speed_tps(
    output_tokens: int | None, ttft_ms: float | None, last_chunk_ms: float | None
) -> float | None:
    """Tokens per second after the first chunk; None where it would be noise."""
    if output_tokens is None or ttft_ms is None or last_chunk_ms is None:
        return None
    decode_ms = last_chunk_ms - ttft_ms
    if output_tokens - 1 < 16 or decode_ms < 50:
        return None
    return 1000.0 * (output_tokens - 1) / decode_ms


def decimal_text(amount: Decimal) -> bytes:
    return f"{amount.normalize():f}".encode()
