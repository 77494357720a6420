"""What is recorded of one line, and when."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from typing_extensions import override

from routing.batches.lines import Cost
from routing.core.errors import FailureClass, UpstreamError
from routing.gateway.attempt import Attempt
from routing.gateway.money import Money
from routing.gateway.recording import outcome_of
from routing.gateway.scribe import Scribe


class LineScribe(Scribe):
    """Holds the end of an answered attempt back until the answer is kept."""

    __slots__ = ("_book", "cost")

    _book: Callable[[], None]
    cost: Cost

    @override
    def answered(
        self,
        attempt: Attempt,
        money: Money,
        *,
        usage_raw: bytes,
        finish_reason: str,
        response_model: str,
    ) -> None:
        self.cost = Cost(money.charge.amount_usd, attempt.endpoint.provider.simulated)
        attempt.settled = True  # from here on no deadline may end it
        self._book = partial(
            self._charge,
            attempt,
            money,
            usage_raw=usage_raw,
            finish_reason=finish_reason,
            response_model=response_model,
        )

    def _charge(
        self,
        attempt: Attempt,
        money: Money,
        *,
        usage_raw: bytes,
        finish_reason: str,
        response_model: str,
    ) -> None:
        super().answered(
            attempt,
            money,
            usage_raw=usage_raw,
            finish_reason=finish_reason,
            response_model=response_model,
        )

    async def book(self) -> None:
        self._book()
        if self.gateway.waits_for_disk:
            await self.gateway.spool.durable()

    def drop(self) -> None:
        """The answer is not wanted any more. What it cost is asked of the provider, if it tells."""
        if self.attempt is not None:
            self.attempt.settled = False
            self.failed(self.attempt, _TAKEN_OVER)
        self.request_done(outcome_of(_TAKEN_OVER), 499, _TAKEN_OVER.code or "")


_TAKEN_OVER = UpstreamError(
    FailureClass.CANCELLED, "another try of the line came first", code="line_taken_over"
)
