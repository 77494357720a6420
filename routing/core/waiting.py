"""Who waits for a place in a gateway that is full: in which order, how many, and for how long.

More urgent ones are always served first. Among equals it is first come, first served, until half of
the line is taken: from then on the newest is, because the oldest have waited nearly all they may.
Times are monotonic seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from math import inf
from typing import Generic, TypeVar

LONGEST_WAIT_S = 1.0
SHARE = 4  # one may wait for so many that run
LEAST_RETRY_S, MOST_RETRY_S = 1.0, 30.0
HALF_LIFE_S = 5.0
KNOWN_AFTER_S = 0.5  # of watching
UNSEEN = 0.5  # places, as if half of one had just been left: so that no pace is zero

_STREAM = b'"stream"'
_IS_ASKED_FOR = re.compile(rb"\s{0,40}:\s{0,40}true\b")
MOST_LOOKS = 100
_BACKGROUND = frozenset({"batch", "probe", "shadow"})


class Urgency(IntEnum):
    """Least first. A stream shows something soon and holds its place long; nobody looks at the
    third."""

    WHOLE = 0
    STREAM = 1
    BACKGROUND = 2


def urgency_of(caller_kind: str, raw: bytes) -> Urgency:
    """`raw` is the body, which is not parsed for one that may be turned away."""
    if caller_kind in _BACKGROUND:
        return Urgency.BACKGROUND
    return Urgency.STREAM if _asks_for_stream(raw) else Urgency.WHOLE


def _asks_for_stream(raw: bytes) -> bool:
    """Cheap for any body: it is asked while the gateway is full. The word over and over is no sign
    of haste either.
    """
    at = -1
    for _ in range(MOST_LOOKS):
        at = raw.find(_STREAM, at + 1)
        if at < 0:
            return False
        if raw[at - 1 : at] != b"\\" and _IS_ASKED_FOR.match(raw, at + len(_STREAM)):
            return True
    return True


class Waiter:
    __slots__ = ("until", "urgency")

    def __init__(self, urgency: Urgency, until: float) -> None:
        self.urgency = urgency
        self.until = until


W = TypeVar("W", bound=Waiter)


class Line(Generic[W]):
    """At most `most` wait in it."""

    __slots__ = ("_due_at", "_rows", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._rows: dict[Urgency, dict[W, None]] = {urgency: {} for urgency in Urgency}
        self._due_at = inf

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def __iter__(self) -> Iterator[W]:
        for row in self._rows.values():
            yield from row

    def __contains__(self, waiter: W) -> bool:
        return waiter in self._rows[waiter.urgency]

    @property
    def serves_newest(self) -> bool:
        return len(self) * 2 > self.most

    def ahead_of(self, urgency: Urgency) -> int:
        """How many are served before one that comes now."""
        ahead = sum(len(row) for other, row in self._rows.items() if other < urgency)
        return ahead if self.serves_newest else ahead + len(self._rows[urgency])

    def enter(self, waiter: W) -> W | None:
        """Returns the one that there is no room for: the oldest of the least urgent."""
        self._rows[waiter.urgency][waiter] = None
        self._due_at = min(self._due_at, waiter.until)
        if len(self) <= self.most:
            return None
        last = next(row for row in reversed(self._rows.values()) if row)
        gone = next(iter(last))
        del last[gone]
        return gone

    def leave(self, waiter: W) -> None:
        self._rows[waiter.urgency].pop(waiter, None)

    def serve(self) -> W | None:
        """Takes out the next one, if there is any."""
        newest = self.serves_newest
        for row in self._rows.values():
            if row:
                waiter = next(reversed(row) if newest else iter(row))
                del row[waiter]
                return waiter
        return None

    def take_late(self, now: float) -> list[W]:
        """Takes out those that have waited as long as they may."""
        if now < self._due_at:
            return []
        late = [waiter for waiter in self if waiter.until <= now]
        for waiter in late:
            self.leave(waiter)
        self._due_at = min((waiter.until for waiter in self), default=inf)
        return late


class Pace:
    """How many places have become free in a second, of late."""

    __slots__ = ("_at", "_freed", "_seconds")

    def __init__(self) -> None:
        self._at = -inf
        self._freed = 0.0
        self._seconds = 0.0

    @property
    def is_known(self) -> bool:
        return self._seconds >= KNOWN_AFTER_S

    @property
    def per_s(self) -> float:
        return (self._freed + UNSEEN) / max(self._seconds, KNOWN_AFTER_S)

    def begin(self, now: float) -> None:
        """From now on it is watched; what was seen before counts for less."""
        self._fade(now - self._at)
        self._at = now

    def note(self, freed: int, now: float) -> None:
        elapsed_s = max(now - self._at, 0.0)
        self._fade(elapsed_s)
        self._freed += freed
        self._seconds += elapsed_s
        self._at = now

    def wait_s(self, places: int) -> float:
        """Until so many places are free."""
        return places / self.per_s

    def retry_after_s(self, waiting: int, chance: float) -> float:
        """For one that is turned away while others wait. `chance` in 0..1 spreads their return."""
        wait_s = self.wait_s(waiting + 1) if self.is_known else LEAST_RETRY_S
        spread_s = min(max(wait_s, LEAST_RETRY_S), MOST_RETRY_S) * (1 + 0.2 * chance)
        return min(spread_s, MOST_RETRY_S)

    def _fade(self, elapsed_s: float) -> None:
        kept = 0.5 ** (elapsed_s / HALF_LIFE_S)
        self._freed *= kept
        self._seconds *= kept
