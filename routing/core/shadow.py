"""Sending a request to a second provider besides, to see how it would have done.

The client never waits for it and never sees it; what it costs is booked apart and capped.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from routing.core.catalog import Endpoint
from routing.core.decision import Plan
from routing.core.policies import Shadow


def mirrored_to(plan: Plan, shadow: Shadow | None, chance: float) -> Endpoint | None:
    """Where to send a copy of this request, if at all. `chance` is a random number in 0..1.

    Not to the endpoint that is tried first: that would measure the same twice.
    """
    endpoint = plan.shadow
    if shadow is None or endpoint is None or plan.attempts[0] is endpoint:
        return None
    return endpoint if chance < shadow.share else None


class SpendCap:
    """What one gateway process may spend on copies per UTC day, by expected cost."""

    __slots__ = ("_day", "_spent_usd")

    def __init__(self) -> None:
        self._day: dt.date | None = None
        self._spent_usd = Decimal(0)

    def take(self, cost_usd: Decimal, most_usd: Decimal, utc: dt.datetime) -> bool:
        """Books the cost if it fits into what is left of the day."""
        if utc.date() != self._day:
            self._day, self._spent_usd = utc.date(), Decimal(0)
        if self._spent_usd + cost_usd > most_usd:
            return False
        self._spent_usd += cost_usd
        return True

    def correct(self, expected_usd: Decimal, actual_usd: Decimal) -> None:
        """Once the copy has its charge."""
        self._spent_usd += actual_usd - expected_usd
