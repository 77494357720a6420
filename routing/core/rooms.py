"""What gateway processes tell each other of endpoints that had no room: how long they rest, and the
learned caps.

A provider limits the hub and not one of its processes, so a rest that it asks for holds for all. How
long a process rests that was not told is its own guess, and not shared: at a limit that is well used
somebody is refused all the time. A learned cap is a process's own part of what an endpoint lets
through: another process begins with it where it has learned none itself, and goes on from there.
Only what a process was refused itself is told, and how much is left of a rest: no clock crosses
processes. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from routing.core.breaker import JITTER_SHARE, LONGEST_COOLDOWN_S
from routing.core.capacity import MOST_PER_S, Capacity
from routing.core.endpoint_health import EndpointHealth
from routing.core.health import HealthBook

LEAST_TOLD_S = 2.0  # a shorter rest is over before it is heard of


class Room(msgspec.Struct, frozen=True, array_like=True):
    """An endpoint refused requests because they were too many."""

    endpoint_id: int
    rest_s: float  # that the provider asked for, from the telling on
    per_s: float = 0.0  # requests that the learned cap of the teller lets through; 0: none

    @property
    def is_sound(self) -> bool:
        """What another process wrote is not taken on trust."""
        return 0.0 <= self.rest_s <= LONGEST_COOLDOWN_S and 0.0 <= self.per_s <= MOST_PER_S


class Rooms:
    """Of one gateway process."""

    __slots__ = ("_health",)

    def __init__(self, health: HealthBook) -> None:
        self._health = health

    def tell(self, now: float) -> list[Room]:
        """Of the endpoints that refused requests here since the last call."""
        told = []
        for endpoint_id, book in self._health.books():
            until, book.rest_until = book.rest_until, None
            if until is not None:
                room = Room(endpoint_id, _rest_s(until, now), _cap_of(book.capacity))
                if room.rest_s or room.per_s:
                    told.append(room)
        return told

    def hear(self, rooms: Sequence[Room], now: float, age_s: float) -> None:
        """What another process told `age_s` ago."""
        for room in rooms:
            if room.is_sound and self._health.is_known(room.endpoint_id):
                self._hear_one(room, self._health.of(room.endpoint_id), now, max(age_s, 0.0))

    def _hear_one(self, room: Room, book: EndpointHealth, now: float, age_s: float) -> None:
        before = book.brakes
        left_s = room.rest_s - age_s
        if left_s > 0.0:  # and not all processes ask again at the same moment
            spread_s = JITTER_SHARE * left_s * self._health.rng.random()
            book.breaker.hear_rest(now + left_s + spread_s)
        if room.per_s:
            book.capacity = book.capacity or Capacity()
            book.capacity.hear(room.per_s, book.seen_per_s(now), now)
        self._health.changes += book.brakes != before


def _rest_s(until: float, now: float) -> float:
    """0 where there is next to none."""
    rest_s = until - now
    return min(rest_s, LONGEST_COOLDOWN_S) if rest_s >= LEAST_TOLD_S else 0.0


def _cap_of(capacity: Capacity | None) -> float:
    return 0.0 if capacity is None or capacity.learned is None else capacity.learned.per_s
