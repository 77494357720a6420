"""What several attempts have used together, as the usage object of an answer says it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from routing.core.charges import CostStatus
from routing.gateway.money import Money

_DETAILS = {
    "cached_tokens": "prompt_tokens_details",
    "reasoning_tokens": "completion_tokens_details",
}


class Tally(msgspec.Struct, frozen=True):
    """Only what is known is added: a detail that no attempt spoke of stays unsaid."""

    tokens: dict[str, int] = {}
    cost_usd: Decimal = Decimal(0)
    is_estimated: bool = False

    def plus(self, money: Money | None) -> Tally:
        """With one attempt more."""
        if money is None:
            return self
        usage = money.usage
        told = {
            "prompt_tokens": usage.input_total,
            "completion_tokens": usage.output_total,
            "cached_tokens": usage.cache_read,
            "reasoning_tokens": usage.reasoning,
        }
        more = {name: n for name, n in told.items() if n is not None}
        return Tally(
            {name: self.tokens.get(name, 0) + more.get(name, 0) for name in self.tokens | more},
            self.cost_usd + money.charge.amount_usd,
            self.is_estimated or money.status is CostStatus.ESTIMATED,
        )

    def added_to(self, shown: dict[str, Any]) -> dict[str, Any]:
        """A usage object in OpenAI's form, with the hub's cost where it has one."""
        summed = dict(shown)
        for name in ("prompt_tokens", "completion_tokens"):
            summed[name] = _number(shown.get(name)) + self.tokens.get(name, 0)
        summed["total_tokens"] = summed["prompt_tokens"] + summed["completion_tokens"]
        for name, place in _DETAILS.items():
            if name in self.tokens:
                details = summed.get(place)
                details = details if isinstance(details, dict) else {}
                number = _number(details.get(name)) + self.tokens[name]
                summed[place] = {**details, name: number}
        if isinstance(shown.get("cost"), str):
            summed["cost"] = f"{(Decimal(shown['cost']) + self.cost_usd).normalize():f}"
            if self.is_estimated:
                summed["cost_status"] = CostStatus.ESTIMATED.value
        return summed


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


NO_TALLY = Tally()
