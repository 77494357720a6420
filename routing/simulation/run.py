"""The hour itself: events in the order of their times, attempts as the gateway makes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from heapq import heappop, heappush
from itertools import count
from random import Random

import msgspec

from routing.core.catalog import Endpoint
from routing.core.errors import FAILS_OVER, FailureClass
from routing.core.pricing import ZERO_USD
from routing.core.usage import NO_USAGE, Usage
from routing.simulation.choosers import MOST_ATTEMPTS, Chooser
from routing.simulation.traffic import Luck, Request, luck_from
from routing.simulation.world import Answer, World

RETRIED_AT_THE_SAME = frozenset({FailureClass.CONNECT, FailureClass.TRANSIENT})
BACKOFF_FIRST_S = 0.25


class Tried(msgspec.Struct, frozen=True):
    """One attempt, when it ended. Times are seconds since the start of the hour."""

    request: int
    no: int
    place: int  # of the persona
    started_s: float
    ended_s: float
    failure: FailureClass | None


class Served(msgspec.Struct, frozen=True):
    """One request, when it ended. `ttft_ms` counts from its arrival, failed attempts included."""

    request: int
    at_s: float
    place: int | None  # of the persona that answered
    ttft_ms: float | None
    cost_usd: Decimal
    usage: Usage


class Log(msgspec.Struct, frozen=True):
    tried: list[Tried]
    served: list[Served]


def run(world: World, requests: Sequence[Request], chooser: Chooser, seed: int) -> Log:
    return _Run(world, chooser, Random(f"run {seed}")).play(requests)


class _Running:
    """A request between its arrival and its end."""

    __slots__ = ("no", "queue", "request")

    def __init__(self, request: Request, attempts: Sequence[Endpoint]) -> None:
        self.request = request
        self.queue = deque(attempts)
        self.no = 0


Try = tuple[_Running, Endpoint, Answer, float]  # what ends, and when it began


class _Run:
    def __init__(self, world: World, chooser: Chooser, rng: Random) -> None:
        self.world = world
        self.chooser = chooser
        self.rng = rng
        self.log = Log([], [])
        self._numbers = count()  # so that events of the same time stay in order
        self._events: list[tuple[float, int, _Running, Try | None]] = []

    def play(self, requests: Sequence[Request]) -> Log:
        for request in requests:
            self._until(request.at_s)
            running = _Running(request, self.chooser.choose(request, request.at_s))
            self._try(running, request.at_s)
        self._until(float("inf"))
        return self.log

    def _until(self, end_s: float) -> None:
        events = self._events
        while events and events[0][0] <= end_s:
            at_s, _, running, ended = heappop(events)
            if ended is None:
                self._try(running, at_s)
            else:
                self._end(ended, at_s)

    def _try(self, running: _Running, at_s: float) -> None:
        request, queue = running.request, running.queue
        while queue and not self.chooser.started(request, queue[0], at_s):
            queue.popleft()
        if not queue:
            self._refused(running)
            return
        endpoint = queue.popleft()
        running.no += 1
        place = self.world.place(endpoint)
        luck: Luck = request.luck[place] if running.no == 1 else luck_from(self.rng)
        answer = self.world.send(place, at_s, request, luck)
        self._at(at_s + answer.ends_after_s, running, (running, endpoint, answer, at_s))

    def _at(self, at_s: float, running: _Running, ended: Try | None) -> None:
        heappush(self._events, (at_s, next(self._numbers), running, ended))

    def _end(self, ended: Try, at_s: float) -> None:
        running, endpoint, answer, started_s = ended
        request, place = running.request, self.world.place(endpoint)
        self.chooser.ended(request, endpoint, answer, at_s)
        self.log.tried.append(
            Tried(request.number, running.no, place, started_s, at_s, answer.failure)
        )
        if answer.failure is None:
            waited_ms = (started_s - request.at_s) * 1000.0 + (answer.ttft_ms or 0.0)
            self.log.served.append(
                Served(
                    request.number,
                    request.at_s,
                    place,
                    waited_ms,
                    answer.cost_usd,
                    answer.usage,
                )
            )
            return
        delay_s = self._next(running, endpoint, answer.failure)
        if delay_s is None:
            self._refused(running)
        else:
            self._at(at_s + delay_s, running, None)

    def _next(self, running: _Running, endpoint: Endpoint, failure: FailureClass) -> float | None:
        """Seconds until the next attempt, by the gateway's rule; None where there is none."""
        if failure not in FAILS_OVER or running.no >= MOST_ATTEMPTS:
            return None
        if running.queue:
            return 0.0
        if failure not in RETRIED_AT_THE_SAME:
            return None
        if not self.chooser.may_retry(running.request, endpoint):
            return None
        running.queue.append(endpoint)
        return self.rng.random() * BACKOFF_FIRST_S * 2.0 ** (running.no - 1)

    def _refused(self, running: _Running) -> None:
        request = running.request
        self.log.served.append(Served(request.number, request.at_s, None, None, ZERO_USD, NO_USAGE))
