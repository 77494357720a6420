"""How one request's record is laid out on its page."""

from __future__ import annotations

from dataclasses import dataclass

from analytics.queries.types import Receipt, ReceiptAttempt
from dashboard.svg import Segment


@dataclass(frozen=True, slots=True)
class Lane:
    """One line of the timeline. Shares are of the whole request, 0..1."""

    label: str
    detail: str
    segments: tuple[Segment, ...]
    length_ms: float


def timeline(receipt: Receipt) -> list[Lane]:
    """The hub's own lane first, then one per attempt, all on one axis."""
    whole = max([receipt.request.e2e_ms or 0.0, *map(_end_ms, receipt.attempts)], default=0.0)
    if whole <= 0:
        return []
    deciding = receipt.attempts[0].offset_ms if receipt.attempts else whole
    hub = Lane("Hub", "reading, deciding", (("decide", 0.0, _clip(deciding / whole)),), deciding)
    return [hub, *(_lane(attempt, whole) for attempt in receipt.attempts)]


def _end_ms(attempt: ReceiptAttempt) -> float:
    return attempt.offset_ms + (attempt.e2e_ms or 0.0)


def _lane(attempt: ReceiptAttempt, whole: float) -> Lane:
    start, length = attempt.offset_ms, attempt.e2e_ms or 0.0
    if attempt.ttft_ms is None:
        parts = [("failed" if attempt.outcome != "ok" else "wait", start, length)]
    else:
        parts = _answered(attempt, start, length)
    return Lane(
        f"{attempt.attempt_no}. {attempt.provider_name}",
        attempt.model,
        tuple((name, _clip(at / whole), _clip(took / whole)) for name, at, took in parts),
        length,
    )


def _answered(attempt: ReceiptAttempt, start: float, length: float) -> list[Segment]:
    first = attempt.ttft_ms or 0.0
    answer = attempt.ttfa_ms if attempt.ttfa_ms is not None else first
    parts = [("wait", start, first)]
    if answer > first:
        parts.append(("think", start + first, answer - first))
    kind = "decode" if attempt.outcome == "ok" else "failed"
    parts.append((kind, start + answer, max(length - answer, 0.0)))
    return parts


def _clip(share: float) -> float:
    return min(max(share, 0.0), 1.0)
