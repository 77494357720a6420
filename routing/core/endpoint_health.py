"""What this process knows of one endpoint: brakes, decayed figures, and what the others told.

Times are monotonic seconds.
"""

from __future__ import annotations

import math

from routing.core.breaker import Breaker, Gate
from routing.core.capacity import Capacity
from routing.core.measures import DecayedMean
from routing.core.sightings import NEGLIGIBLE_WEIGHT, Sighting

HALF_LIFE_S = 60.0
REBASE_S = 100 * HALF_LIFE_S
SLOW = 10.0  # times the half-life, for what changes seldom and is seen seldom
RETRY_TOKENS = 10.0
FORM_PLACE = 4  # of `valid` among the means
RATE_SPAN_S = 10.0  # over so long or up to twice as long the rate of answers is taken
LEAST_RATE_SPAN_S = 1.0
LEAST_RATE_COUNT = 5


class EndpointHealth:
    __slots__ = (
        "breaker",
        "cached",
        "capacity",
        "formed",
        "headers_next_at",
        "heard",
        "log_speed",
        "log_ttft",
        "mark",
        "means",
        "older_mark",
        "rest_until",
        "retry_tokens",
        "seen",
        "since",
        "slowness",
        "success",
        "told",
        "valid",
    )

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.capacity: Capacity | None = None  # None: as far as is known it takes everything
        # Asked for by a provider that had no room, not told yet; 0: it did not say how long.
        self.rest_until: float | None = None
        self.headers_next_at = 0.0
        self.mark = self.older_mark = (-math.inf, 0)  # when so many had been seen
        self.log_ttft = DecayedMean()
        self.log_speed = DecayedMean()
        self.success = DecayedMean()
        self.cached = DecayedMean()  # share of the input that was read from the provider's cache
        self.valid = DecayedMean()  # of answers with tool calls or a schema: 1 if they were sound
        self.means = self.success, self.log_ttft, self.log_speed, self.cached, self.valid
        self.formed = 0  # answers that were looked at for it, here and elsewhere
        self.slowness = 1.0, 1.0, 1.0, SLOW, SLOW
        self.told = tuple([DecayedMean() for _ in self.means])  # to the other processes, so far
        self.heard = 0.0  # observations of the other processes, undecayed
        self.retry_tokens = RETRY_TOKENS
        self.seen = 0
        self.since = math.nan  # when an observation weighed 1

    def gain(self, now: float, slowness: float = 1.0) -> float:
        """The weight of an observation made now, in a mean of this slowness."""
        elapsed = now - self.since
        if not elapsed < REBASE_S:  # not a number before the first one
            self._rebase(now)
            elapsed = 0.0
        return math.exp2(elapsed / (HALF_LIFE_S * slowness))

    def fade(self, now: float, slowness: float = 1.0) -> float:
        """What a weight is worth now, in observations; 0 before the first one."""
        if math.isnan(self.since):
            return 0.0
        return float(0.5 ** ((now - self.since) / (HALF_LIFE_S * slowness)))

    def tell(self, endpoint_id: int, now: float) -> Sighting | None:
        """What was seen here since the last call; None where that is nothing."""
        if all(
            mean.weight <= told.weight for mean, told in zip(self.means, self.told, strict=True)
        ):
            return None
        sums = []
        for mean, told, slowness in zip(self.means, self.told, self.slowness, strict=True):
            sums.append(mean.sums_since(told, self.fade(now, slowness)))
            told.become(mean)
        if all(one.weight < NEGLIGIBLE_WEIGHT for one in sums):
            return None
        return Sighting(endpoint_id, tuple(sums))

    def hear(self, sighting: Sighting, now: float, age_s: float) -> None:
        parts = zip(self.means, self.told, self.slowness, sighting.sums, strict=False)
        for mean, told, slowness, sums in parts:
            gain = self.gain(now, slowness) * float(0.5 ** (age_s / (HALF_LIFE_S * slowness)))
            mean.add_sums(sums, gain)
            told.add_sums(sums, gain)  # so that it is not told again as our own
        if sighting.sums:
            self.heard += sighting.sums[0].weight
        if len(sighting.sums) > FORM_PLACE:
            self.formed += round(sighting.sums[FORM_PLACE].weight)

    @property
    def brakes(self) -> tuple[Gate, float]:
        """All that decides whether tries are let through, now and later."""
        capacity = self.capacity
        return self.breaker.gate, 0.0 if capacity is None else capacity.closed_until

    def note_rest(self, until: float) -> None:
        self.rest_until = max(self.rest_until or 0.0, until)

    def mark_seen(self, now: float) -> None:
        """To be called now and then, so that the rate of answers is known when it is asked for."""
        if now - self.mark[0] >= RATE_SPAN_S:
            is_first = self.mark[0] == -math.inf
            self.older_mark = (now, self.seen) if is_first else self.mark
            self.mark = now, self.seen

    def seen_per_s(self, now: float) -> float | None:
        """None where too little was seen of late to speak of a rate."""
        at, seen = self.older_mark
        if self.seen - seen < LEAST_RATE_COUNT:
            return None
        return (self.seen - seen) / max(now - at, LEAST_RATE_SPAN_S)

    def seen_within(self, seconds: float, now: float) -> int:
        """About so many outcomes there were in the last seconds; none if they were too few."""
        return int((self.seen_per_s(now) or 0.0) * min(now - self.older_mark[0], seconds))

    def _rebase(self, now: float) -> None:
        """Long before weights would leave the range of floats."""
        for means in (self.means, self.told):
            for mean, slowness in zip(means, self.slowness, strict=True):
                if mean.weight:
                    mean.shrink(self.fade(now, slowness))
        self.since = now
