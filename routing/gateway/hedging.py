"""A second attempt beside a late first one: the one that has content first answers, the other is
cancelled and booked.

Only before the client got anything, only where the policy or the request asks for it, and within
the policy's share of requests and dollars a day. Each attempt runs as a lane of its own; what it
writes to the client has to be claimed first, and only one lane can claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from typing_extensions import override

from routing.core.catalog import Endpoint
from routing.core.decision import Plan
from routing.core.errors import FailureClass, HubError, UpstreamError
from routing.core.explanation import cost_usd
from routing.core.policies import Hedge
from routing.core.shadow import SpendCap
from routing.gateway.exchange import Exchange
from routing.gateway.recording import HEDGE_LOST
from routing.gateway.scribe import Scribe
from routing.gateway.trying import Trying

if TYPE_CHECKING:
    from routing.gateway.service import Gateway

BURST = 5.0  # hedges that may follow one another, however small the share
LATE_PERCENTILE = 95.0
LOST = UpstreamError(FailureClass.CANCELLED, "the other attempt answered first", code=HEDGE_LOST)
UNASKED = Hedge()  # the limits for a request that asks for it under a policy that does not say


class HedgeBudget:
    """What one policy may hedge in one gateway process, which has its part of what all may spend."""

    __slots__ = ("_tokens", "cap")

    def __init__(self) -> None:
        self._tokens = 1.0
        self.cap = SpendCap()

    def earn(self, share: float) -> None:
        self._tokens = min(self._tokens + share, BURST)

    def take(self) -> bool:
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def give_back(self) -> None:
        self._tokens += 1.0


class Hedges:
    """Of one gateway process."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._budgets: dict[str, HedgeBudget] = {}  # by the policy's name

    def wanted(self, scribe: Scribe, planned: Plan) -> Hedger | None:
        """None where this request is not to be hedged, or could not be."""
        asked = scribe.facts.preferences
        hedge = planned.special.hedge if planned.special is not None else None
        if asked.hedge is not None:
            hedge = (hedge or UNASKED) if asked.hedge else None
        if hedge is None or len(planned.attempts) < 2 or planned.max_attempts < 2:
            return None
        budget = self._budgets.setdefault(planned.decision.policy, HedgeBudget())
        budget.earn(hedge.max_share)
        after_ms = asked.hedge_after_ms if asked.hedge_after_ms is not None else hedge.after_ms
        if after_ms is None:
            after_ms = self._late_after_ms(planned, scribe.facts.stream)
        return None if after_ms is None else Hedger(planned, hedge, budget, after_ms / 1000.0)

    def _late_after_ms(self, planned: Plan, is_stream: bool) -> float | None:
        """When 95 of 100 answers would have begun; a plain one begins when it is whole.

        None where the endpoint was not measured: nobody knows what is late there.
        """
        numbers = self._gateway.health.numbers(planned.attempts[0], self._gateway.monotonic())
        first_ms = numbers.ttft_ms_at(LATE_PERCENTILE)
        if first_ms is None or is_stream:
            return first_ms
        speed_tps = numbers.speed_tps_at(LATE_PERCENTILE)
        if not speed_tps:
            return None
        return first_ms + 1000.0 * planned.decision.output_tokens / speed_tps


class Hedger:
    """How one request may be hedged."""

    __slots__ = ("_budget", "_expected_usd", "_hedge", "_planned", "after_s")

    def __init__(self, planned: Plan, hedge: Hedge, budget: HedgeBudget, after_s: float) -> None:
        self.after_s = after_s
        self._planned = planned
        self._hedge = hedge
        self._budget = budget
        self._expected_usd = Decimal(0)

    def may_send(self, endpoint: Endpoint, scribe: Scribe) -> bool:
        """Books what the second attempt is expected to cost. None while clients wait for a place."""
        gateway = scribe.gateway
        if len(gateway.running) >= gateway.room or not self._budget.take():
            return False
        self._expected_usd = self._expected_cost_usd(endpoint)
        most_usd = Decimal(self._hedge.max_usd_per_day) / gateway.learning.processes
        if self._budget.cap.take(self._expected_usd, most_usd, scribe.started_utc):
            return True
        self._budget.give_back()
        return False

    def settle(self, lost_usd: Decimal) -> None:
        """Once it is known what the attempt that lost did cost."""
        self._budget.cap.correct(self._expected_usd, lost_usd)

    def _expected_cost_usd(self, endpoint: Endpoint) -> Decimal:
        for candidate in self._planned.decision.candidates:
            if candidate.endpoint_id == endpoint.id:
                return cost_usd(candidate)
        return Decimal(0)


class Lane(Exchange):
    """One attempt of a race."""

    __slots__ = ("failure", "running")

    def __init__(self, main: Exchange, race: Race) -> None:
        super().__init__(main.scribe.twin(), main.sink, main.call, main.voice, main.special)
        self.race = race
        self.failure: UpstreamError | None = None  # of an attempt that was made
        self.running: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self.running is not None and not self.running.done()

    @override
    def last_word(self, error: UpstreamError, endpoint: Endpoint, no: int) -> HubError:
        self.failure = error
        return super().last_word(error, endpoint, no)

    @override
    def nobody_waits(self, error: UpstreamError) -> None:
        """The race tells, once for all lanes."""

    def lose(self) -> None:
        """Booked at once, so that its end is written down before the request's."""
        attempt = self.scribe.attempt
        if attempt is not None and not attempt.settled:
            self.scribe.failed(attempt, LOST)
        self.stop_for(LOST)

    def stop_for(self, reason: UpstreamError | None) -> None:
        """Without a reason it is the server that stops, and not for us to swallow."""
        if self.running is None or self.running.done():
            return
        if reason is None:
            self.running.cancel()
        else:
            self.interrupt(reason)


class Race:
    """The first attempt, and the second one that joins it when it is late."""

    def __init__(self, main: Exchange, hedger: Hedger) -> None:
        self._main = main
        self._hedger = hedger
        self._lanes: list[Lane] = []
        self.winner: Trying | None = None

    async def run(self, attempts: Sequence[Endpoint], max_attempts: int) -> None:
        """As Exchange.run, with the first two attempts side by side where the first is late."""
        main, queue = self._main, list(attempts)
        main.race = self
        try:
            stop = await self._run_lanes(queue)
        finally:
            main.race = None
            self._adopt()
        if self.winner is not None:
            return  # it told the client everything, also where it broke off
        if stop is not None:
            main.nobody_waits(stop)
            return
        failed = [lane for lane in self._lanes if lane.failure is not None]
        if not failed or failed[-1].failure is None:
            raise self._refusal()
        main.scribe.attempt = failed[-1].scribe.attempt
        await main.go_on_after(failed[-1].failure, queue, max_attempts)

    async def _run_lanes(self, queue: list[Endpoint]) -> UpstreamError | None:
        """Until the winner has ended, or all have. Returns why they were stopped, if they were."""
        main = self._main
        stop: UpstreamError | None = None
        cancelled: asyncio.CancelledError | None = None
        try:
            first = self._start(queue.pop(0))
            await asyncio.wait({first}, timeout=self._hedger.after_s)
            is_late = not first.done() and self.winner is None
            if is_late and self._hedger.may_send(queue[0], main.scribe):
                _ = self._start(queue.pop(0))
            await self._end()
        except asyncio.CancelledError as problem:
            cancelled, stop = problem, main.stop
            for lane in self._lanes:
                lane.stop_for(stop)
        if cancelled is None:
            return None
        await self._end()
        if stop is None:
            raise cancelled
        return main.take_stop()

    def _start(self, endpoint: Endpoint) -> asyncio.Task[None]:
        lane = Lane(self._main, self)
        self._lanes.append(lane)
        task = asyncio.get_running_loop().create_task(lane.run([endpoint], 1, len(self._lanes) - 1))
        lane.task = lane.running = task
        return task

    async def _end(self) -> None:
        """Raises what a lane failed with in the gateway itself."""
        tasks = [lane.running for lane in self._lanes if lane.running is not None]
        await asyncio.wait(tasks)  # other than `gather`, it leaves them alone when we are stopped
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception) and not isinstance(ended, HubError):
                raise ended

    def _refusal(self) -> BaseException:
        """No lane made an attempt that failed: none could be made."""
        for lane in reversed(self._lanes):
            if lane.running is not None and not lane.running.cancelled():
                refusal = lane.running.exception()
                if refusal is not None:
                    return refusal
        return asyncio.CancelledError()

    # --- what lanes ask for -------------------------------------------------------------------
    def claim(self, lane: Trying) -> None:
        """To be called with content in hand. Raises UpstreamError for a lane that is too late."""
        if self.winner is lane:
            return
        if self.winner is not None:
            raise LOST
        self.winner = lane
        for other in self._lanes:
            if other is not lane:
                other.lose()
        lane.scribe.begun = max(one.scribe.begun for one in self._lanes)
        self._main.scribe.attempt = lane.scribe.attempt

    def look(self, now: float) -> None:
        for lane in self._lanes:
            if lane.is_running:
                lane.look(now)

    def _adopt(self) -> None:
        """What is known of the request is the winner's, else the last lane's."""
        if not self._lanes:
            return
        chosen = next((lane for lane in self._lanes if lane is self.winner), self._lanes[-1])
        scribe, source = self._main.scribe, chosen.scribe
        scribe.attempt = source.attempt or self._lanes[0].scribe.attempt
        scribe.money, scribe.done = source.money, source.done
        scribe.overhead_s, scribe.waiting_since = source.overhead_s, source.waiting_since
        scribe.tokens = sum(lane.scribe.tokens for lane in self._lanes)
        scribe.begun = max(lane.scribe.begun for lane in self._lanes)
        if len(self._lanes) > 1:
            self._hedger.settle(self._lost_usd())

    def _lost_usd(self) -> Decimal:
        lost = [lane.scribe.money for lane in self._lanes if lane is not self.winner]
        return sum((money.charge.amount_usd for money in lost if money is not None), Decimal(0))
