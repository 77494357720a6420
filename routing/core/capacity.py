"""What an endpoint lets through: a cap on requests per second, learned from its 429s.

The cap falls by a factor at a 429 and rises with every request that it lets through: quickly towards
where it last was too high, slowly about there, quickly again once that is left behind (the curve of
TCP Cubic, over requests instead of time). Requests above it are kept away from the endpoint while
there are others. Beside it stands what the provider announces. All times are monotonic seconds, passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from routing.core.announced import AnnouncedRoom
from routing.core.rate_headers import Allowance

FALL = 0.92  # once the cap has proved right for a while
FALL_WHILE_SEARCHING = 0.75
SEARCH_REQUESTS = 40.0  # let through since the last fall: with fewer the estimate was far off
PLATEAU_REQUESTS = 240.0  # let through until the cap is where it last was too high
LONGEST_PLATEAU_S = 900.0  # for endpoints that let through next to nothing
LEAST_PER_S = 1.0 / 60.0
MOST_PER_S = 1e6
BURST_REQUESTS = 6.0  # that the cap lets through at once, at most,
BURST_S = 0.1  # or so many seconds' worth; once closed, it opens for no less
BURST_FALL = 0.9
BURST_RISE = 1.0  # requests, each time the plateau is passed without a 429
ONE_FALL_S = 1.0  # refusals of so short a time are one and the same
FIRST_REST_S = 1.0  # after a refusal that names no time; doubled while only refusals follow
LONGEST_REST_S = 60.0
MOST_DOUBLINGS = 6  # reach the longest rest


class LearnedCap:
    """Of one endpoint in one process. There is none before the first 429."""

    __slots__ = (
        "_at",
        "_burst",
        "_ceiling",
        "_closed_at",
        "_depth",
        "_fell_at",
        "_level",
        "_proved",
        "_refusals",
        "_since_close",
        "_won",
        "closed_until",
        "per_s",
    )

    def __init__(self, seen_per_s: float, now: float) -> None:
        """`seen_per_s` is what was sent of late, and was too much."""
        self.closed_until = 0.0
        self._ceiling = min(max(seen_per_s, LEAST_PER_S), MOST_PER_S)
        self._refusals = 0
        self._won = True
        self._proved = 0.0
        self._depth = 1.0 - FALL_WHILE_SEARCHING
        self._fell_at = -inf
        self.per_s = self._ceiling
        self._closed_at = self._at = now
        self._level = 0.0
        self._burst = BURST_REQUESTS
        self._since_close = 0

    def take(self, now: float) -> bool:
        """A request begins. True where that closes the cap, for a while."""
        self._level = max(self._level_at(now) - 1.0, -BURST_REQUESTS)  # where it was forced
        self._at = now
        self._since_close += 1
        if self._level >= 1.0:
            return False
        self._rise(now)
        self._shut(now)
        return True

    def rest(self) -> None:
        """Nothing was sent of late, so that a whole burst may be."""
        self._level = max(self._burst, self.per_s * BURST_S)

    def on_success(self) -> None:
        self._won = True
        self._refusals = 0

    def on_refusal(self, now: float) -> float:
        """Returns how many seconds to leave the endpoint alone, where it did not say so itself."""
        if now - self._fell_at >= ONE_FALL_S:
            if self._won:
                self._fall()
            self._fell_at = now
            self._refusals = min(self._refusals + 1, MOST_DOUBLINGS + 1)
        self._level, self._at = min(self._level_at(now), 0.0), now
        self._shut(now)
        return min(FIRST_REST_S * 2.0 ** (self._refusals - 1), LONGEST_REST_S)

    def _fall(self) -> None:
        """Once until something succeeded again: a quota that is used up says nothing on a rate."""
        is_searching = self._proved < SEARCH_REQUESTS
        factor = FALL_WHILE_SEARCHING if is_searching else FALL
        self._ceiling, self._depth = self.per_s, 1.0 - factor
        self.per_s = max(self.per_s * factor, LEAST_PER_S)
        self._burst = max(self._burst * BURST_FALL, 1.0)
        self._proved = 0.0
        self._won = False

    def _shut(self, now: float) -> None:
        wanted = max(1.0, self.per_s * BURST_S)
        self.closed_until = now + (wanted - self._level) / self.per_s
        self._closed_at, self._since_close = now, 0

    def _rise(self, now: float) -> None:
        """Only what was let through while the cap was felt proves that there may be more."""
        felt = min(float(self._since_close), 2.0 * BURST_REQUESTS)
        slow = min(now - self._closed_at, 2.0 * BURST_REQUESTS / self.per_s)
        before = self._proved // PLATEAU_REQUESTS
        self._proved += max(felt, slow * PLATEAU_REQUESTS / LONGEST_PLATEAU_S)
        risen = self._proved / PLATEAU_REQUESTS - 1.0
        curve = self._ceiling * (1.0 + self._depth * risen**3)
        self.per_s = min(max(self.per_s, curve), MOST_PER_S)
        if self._proved // PLATEAU_REQUESTS > before:
            self._burst = min(self._burst + BURST_RISE, BURST_REQUESTS)

    def _level_at(self, now: float) -> float:
        return min(
            self._level + (now - self._at) * self.per_s, max(self._burst, self.per_s * BURST_S)
        )


class Capacity:
    """Of one endpoint: what was learned and what was announced. Exists once there is either."""

    __slots__ = ("announced", "closed_until", "learned")

    def __init__(self) -> None:
        self.learned: LearnedCap | None = None
        self.announced: AnnouncedRoom | None = None
        self.closed_until = 0.0

    def is_open(self, now: float) -> bool:
        return now >= self.closed_until

    def take(self, now: float) -> bool:
        """A request begins. True where that changed when the next one may."""
        changed = self.learned is not None and self.learned.take(now)
        if self.announced is not None:
            changed = self.announced.take(now) or changed
        if changed:
            self._settle()
        return changed

    def on_success(self) -> None:
        if self.learned is not None:
            self.learned.on_success()

    def on_refusal(self, now: float, seen_per_s: float | None) -> float | None:
        """Returns how many seconds to leave the endpoint alone, if it does not say so itself.

        None while nothing is known. `seen_per_s` is the rate of its answers of late, if any.
        """
        known = self.learned
        if known is None and seen_per_s is None:
            return None
        cap = self.learned = known or LearnedCap(seen_per_s or 0.0, now)
        rest_s = cap.on_refusal(now)
        self._settle()
        return None if known is None else rest_s

    def hear(self, per_s: float, seen_per_s: float | None, now: float) -> None:
        """Another process learned a cap. Where this one has none, it begins with that, or with the
        rate of its own answers where that is higher."""
        if self.learned is None:
            self.learned = LearnedCap(max(per_s, seen_per_s or 0.0), now)
            self.learned.rest()

    def tell(self, allowances: Sequence[Allowance], now: float) -> bool:
        """Of limits that are nearly used up; none where there is plenty. True as in `take`."""
        if not allowances:
            changed = self.announced is not None and self.announced.closed_until > now
            self.announced = None
        else:
            self.announced = self.announced or AnnouncedRoom()
            changed = self.announced.tell(allowances, now)
        self._settle()
        return changed

    def words(self, now: float) -> str:
        """Why requests are kept away now."""
        room, cap = self.announced, self.learned
        if room is not None and room.closed_until > now:
            return f"{room.why}; more in {room.closed_until - now:.1f} s"
        per_s = cap.per_s if cap is not None else 0.0
        return f"learned: {per_s:.3g} requests/s; room in {max(self.closed_until - now, 0.0):.1f} s"

    def _settle(self) -> None:
        learned = self.learned.closed_until if self.learned is not None else 0.0
        announced = self.announced.closed_until if self.announced is not None else 0.0
        self.closed_until = max(learned, announced)
