"""The deadlines of a running request, looked at a few times a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from routing.core.catalog import Endpoint
from routing.core.deadlines import DEFAULT_DEADLINES, Deadlines
from routing.core.errors import FailureClass, UpstreamError, UpstreamTimeout
from routing.core.kinds import IMAGE, TRANSCRIPTION
from routing.core.policies import PolicyDocument
from routing.gateway.attempt import Attempt

if TYPE_CHECKING:
    from routing.gateway.trying import Trying

REASONING = "reasoning"
REASONING_S = 300.0  # such models think before they say anything, and between what they say
AT_WORK_S = 300.0  # a picture of high quality, or the text of a long recording, takes minutes


def deadlines_of(endpoint: Endpoint, general: Deadlines) -> Deadlines:
    """The hub's, with what is known of the endpoint. A limit that was set for the hub holds."""
    changes = {
        name: limit_s
        for name, limit_s in _patience_with(endpoint).items()
        if getattr(general, name) == getattr(DEFAULT_DEADLINES, name)
    }
    own_s = endpoint.provider.quirks.first_content_timeout_s
    if own_s is not None:
        changes["first_content_s"] = own_s
    return msgspec.structs.replace(general, **changes) if changes else general


def _patience_with(endpoint: Endpoint) -> dict[str, float]:
    if endpoint.kind in _SLOW_KINDS:
        return _AT_WORK
    return _REASONING if REASONING in endpoint.capabilities else {}


_REASONING = {"first_content_s": REASONING_S, "progress_s": REASONING_S}
_AT_WORK = dict.fromkeys(("first_content_s", "progress_s", "idle_s"), AT_WORK_S)
_SLOW_KINDS = frozenset({IMAGE, TRANSCRIPTION})


def narrowed(deadlines: Deadlines, settings: PolicyDocument) -> Deadlines:
    """With the limits that the policy sets for this request."""
    if settings.timeouts is None:
        return deadlines
    wanted = msgspec.structs.asdict(settings.timeouts)
    changes = {name: limit_s for name, limit_s in wanted.items() if limit_s is not None}
    return msgspec.structs.replace(deadlines, **changes)


def late(exchange: Trying, attempt: Attempt, now: float) -> UpstreamError | None:
    """Which limit has passed, if any."""
    limits = exchange.limits_of(attempt.endpoint)
    if exchange.writing_since is not None:
        if _is_over(now - exchange.writing_since, limits.client_write_s):
            return UpstreamError(
                FailureClass.CANCELLED, "the client stopped reading", code="client_stalled"
            )
    elif attempt.settled:
        if exchange.draining_until is not None and now > exchange.draining_until:
            return UpstreamTimeout("drain", "the connection was not closed in time")
    elif _is_over(now - exchange.scribe.received_at, limits.total_s):
        return UpstreamTimeout("total", f"not finished after {limits.total_s:g} s")
    elif attempt.content_at is None:
        waits = exchange.call.stream or attempt.headers_at is None
        if waits and _is_over(now - attempt.sent_at, limits.first_content_s):
            return UpstreamTimeout(
                "first_content", f"no content after {limits.first_content_s:g} s"
            )
    elif _is_over(attempt.silent_for_s(now), limits.progress_s):
        return UpstreamTimeout("progress", f"no content for {limits.progress_s:g} s")
    return None


def _is_over(elapsed_s: float, limit_s: float) -> bool:
    """A limit of zero is switched off."""
    return 0 < limit_s < elapsed_s
