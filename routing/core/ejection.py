"""How many endpoints of one model breakers may take out at once: at most half of those that could
serve the request. One that is alone is never out; it is tried as often as its breaker lets it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from routing.core.catalog import Endpoint
from routing.core.health import HealthBook

KEPT = "its breaker is open, but no more than half of a model's endpoints are out: it comes last"


def kept_in(
    endpoints: Sequence[Endpoint],
    exclude: Callable[[Endpoint], object],
    health: HealthBook,
    now: float,
) -> list[Endpoint]:
    """Those of one model that stay in though their breaker is open, the longest ago failed first.

    `exclude` says, by anything but None, that an endpoint cannot serve the request anyway.
    """
    out = [one for one in endpoints if _is_open(one, health, now) and exclude(one) is None]
    if not out:
        return []
    usable = sum(exclude(one) is None for one in endpoints)
    out.sort(key=lambda one: health.of(one.id).breaker.last_failure_at)
    return out[: len(out) - usable // 2]


def _is_open(endpoint: Endpoint, health: HealthBook, now: float) -> bool:
    """Cooling down after a 429 is something else: there is no room, and nothing to try."""
    if health.is_quiet(endpoint.id, now):
        return False
    breaker = health.of(endpoint.id).breaker
    return not breaker.is_cooling(now) and not breaker.allows(now)
