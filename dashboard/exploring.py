"""What a policy's exploring cost, summed up for its page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from analytics.queries.explored import Explored
from dashboard import formatting


@dataclass(frozen=True, slots=True)
class Spent:
    """Over some days."""

    days: int  # with requests
    requests: int
    explored: float  # expected requests that went elsewhere
    extra_usd: Decimal
    usual_usd: Decimal

    @property
    def share(self) -> float | None:
        return self.explored / self.requests if self.requests else None

    @property
    def per_day_usd(self) -> Decimal | None:
        return self.extra_usd / self.days if self.days else None

    @property
    def added_words(self) -> str:
        """Against the expected cost without; "" where nothing could be explored."""
        return added_words(self.extra_usd, self.usual_usd)


def spent(rows: Iterable[Explored]) -> Spent:
    found = list(rows)
    return Spent(
        days=len({row.day for row in found}),
        requests=sum(row.requests for row in found),
        explored=sum(row.explored for row in found),
        extra_usd=sum((row.extra_usd for row in found), Decimal(0)),
        usual_usd=sum((row.usual_usd for row in found), Decimal(0)),
    )


def added_words(extra_usd: Decimal, usual_usd: Decimal) -> str:
    if not usual_usd:
        return ""
    share = float(extra_usd / usual_usd)
    return f"{formatting.percent(abs(share), 2)} {'less' if share < 0 else 'more'} than without"
