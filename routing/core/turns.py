"""What gateway processes tell each other of their breakers: the moments at which one opened or closed.

It is a hint. A process that has newer observations of its own, or newer news, leaves it; one that
saw the endpoint well just before tries it carefully instead of leaving it alone; and a recovery is
believed after one success of its own. Only what a process saw itself is told, so that no news runs
in circles. Times are monotonic seconds; how long ago something was crosses processes, no clock does.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import msgspec

from routing.core.breaker import JITTER_SHARE, PROBE_EVERY_S, BreakerState
from routing.core.endpoint_health import EndpointHealth
from routing.core.health import HealthBook

FRESH_S = 10.0  # a success so long ago, or up to twice as long, still speaks for an endpoint
MOST_AGO_S = 86_400.0
MOST_LEFT_S = 1_000.0
MOST_EJECTIONS = 1_000


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """A breaker opened or closed, by what its own process saw."""

    endpoint_id: int
    is_open: bool
    ago_s: float  # when it was told
    left_s: float = 0.0  # until it will be tried again there
    ejections: int = 0  # in a row

    @property
    def is_sound(self) -> bool:
        """What another process wrote is not taken on trust."""
        in_time = 0.0 <= self.ago_s < MOST_AGO_S and 0.0 <= self.left_s < MOST_LEFT_S
        return in_time and 0 <= self.ejections < MOST_EJECTIONS


Mark = tuple[float, int]  # at that moment so many outcomes had been seen
NO_MARK: Mark = (-inf, 0)


class _Marks:
    __slots__ = ("fresh", "last", "older")

    def __init__(self) -> None:
        self.last = self.fresh = self.older = NO_MARK

    def put(self, mark: Mark) -> None:
        self.last = mark
        if mark[0] - self.fresh[0] >= FRESH_S:
            self.fresh, self.older = mark, self.fresh


class Turns:
    """Of one gateway process. `tell` is to be called every few seconds, whether or not it is heard."""

    __slots__ = ("_health", "_marks", "_told_at", "processes")

    def __init__(self, health: HealthBook) -> None:
        self.processes = 1  # that share the tries of an endpoint that is out
        self._health = health
        self._marks: dict[int, _Marks] = {}
        self._told_at = -inf

    @property
    def has_news(self) -> bool:
        return any(book.breaker.turned_at is not None for _, book in self._health.books())

    def tell(self, now: float) -> list[Turn]:
        """What turned here since the last call."""
        told = []
        for endpoint_id, book in self._health.books():
            self._marks.setdefault(endpoint_id, _Marks()).put((now, book.seen))
            if book.breaker.turned_at is not None:
                told.append(self._tell_of(endpoint_id, book, now))
        if len(self._marks) > len(self._health.books()):
            known = dict(self._health.books())
            self._marks = {one: marks for one, marks in self._marks.items() if one in known}
        self._told_at = now
        return told

    def _tell_of(self, endpoint_id: int, book: EndpointHealth, now: float) -> Turn:
        breaker = book.breaker
        ago_s = now - (breaker.turned_at or now)
        breaker.turned_at = None
        breaker.probe_every_s = PROBE_EVERY_S * self.processes
        if breaker.state is BreakerState.CLOSED:
            return Turn(endpoint_id, is_open=False, ago_s=ago_s)
        left_s = max(breaker.open_until - now, 0.0)
        return Turn(
            endpoint_id, is_open=True, ago_s=ago_s, left_s=left_s, ejections=breaker.ejections
        )

    def hear(self, turns: Sequence[Turn], now: float, age_s: float) -> None:
        """What another process told `age_s` ago."""
        for turn in turns:
            if turn.is_sound and self._health.is_known(turn.endpoint_id):
                self._hear_one(turn, now, max(age_s, 0.0))

    def _hear_one(self, turn: Turn, now: float, age_s: float) -> None:
        book = self._health.of(turn.endpoint_id)
        breaker, at = book.breaker, now - age_s - turn.ago_s
        before = breaker.gate
        breaker.probe_every_s = PROBE_EVERY_S * self.processes
        if not turn.is_open:
            breaker.hear_closed(now, at)
        elif at >= self._succeeded_after(turn.endpoint_id, book):
            left_s = max(turn.left_s - age_s, 0.0)
            until = now + left_s + self._spread_s(left_s)
            is_well = self._is_well(turn.endpoint_id, book, now)
            breaker.hear_open(now, at, until, turn.ejections, seems_well=is_well)
        if breaker.gate != before:
            self._health.changes += 1

    def _spread_s(self, left_s: float) -> float:
        """So that the processes do not all try again at the same moment."""
        return self._health.rng.random() * max(
            JITTER_SHARE * left_s, PROBE_EVERY_S * self.processes
        )

    def _succeeded_after(self, endpoint_id: int, book: EndpointHealth) -> float:
        """A moment after which it succeeded here, as late as one is known.

        While a breaker is calm no success is noted, but all that was seen since the last mark was
        one.
        """
        known = self._marks.get(endpoint_id)
        marked_at, seen = (self._told_at, 0) if known is None else known.last
        if book.breaker.is_calm and book.seen > seen:
            return marked_at
        return book.breaker.last_success_at

    def _is_well(self, endpoint_id: int, book: EndpointHealth, now: float) -> bool:
        if not book.breaker.is_calm:
            return now - book.breaker.last_success_at < FRESH_S
        return book.seen > self._marks.get(endpoint_id, _Marks()).older[1]
