"""The end of an attempt that its process did not live to write: estimated, and said to be so."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from routing.core.charges import CostStatus
from routing.core.pricing import PriceSheet, charge
from routing.core.record import Finish, Intent, Outcome, Progress, encode_lines
from routing.core.usage import Usage, UsageSource, estimated_output_tokens

MESSAGE = "the hub's process ended before this answer did; the usage is estimated from its spool"


def estimated_usage(intent: Intent, progress: Progress | None) -> Usage:
    """The input as it was estimated, the output as far as it had been seen."""
    characters = progress.output_chars if progress else 0
    return Usage(
        input_total=intent.input_estimate,
        output_total=estimated_output_tokens(characters),
        source=UsageSource.ESTIMATED,
    )


def crashed_finish(
    intent: Intent, progress: Progress | None, sheets: Mapping[int, PriceSheet]
) -> Finish:
    usage = estimated_usage(intent, progress)
    started_at = dt.datetime.fromtimestamp(intent.started_at, dt.UTC)
    sheet = sheets.get(intent.endpoint_id, PriceSheet())
    cost = charge(usage, sheet, started_at, intent.service_tier)
    return Finish(
        request_id=intent.request_id,
        attempt_no=intent.attempt_no,
        outcome=Outcome.CRASHED,
        http_status=None,
        error_code="hub_crashed",
        error_message=MESSAGE,
        failure="",
        response_model="",
        provider_request_id=progress.provider_request_id if progress else "",
        finish_reason="",
        usage=usage,
        usage_raw=b"",
        cost_usd=cost.amount_usd,
        # Without any price row an endpoint is routed to only if it is free.
        cost_status=CostStatus.UNPRICED if sheet and cost.unpriced else CostStatus.ESTIMATED,
        lines=encode_lines(cost.lines),
        headers_ms=None,
        ttft_ms=progress.ttft_ms if progress else None,
        ttfa_ms=None,
        last_chunk_ms=None,
        e2e_ms=0.0,  # not known: the row leaves it out
        content_frames=progress.content_frames if progress else 0,
    )
