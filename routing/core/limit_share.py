"""What one process holds of one limit: units leased before, and what was used of them.

`report` and `accept` are the two halves of a talk with the shared pool. Whatever happens between
them, a lost answer too, loses or doubles no unit.
"""

from __future__ import annotations

import math

from routing.core.limit_outage import Degraded
from routing.core.limit_pool import (
    LEASE_S,
    RETURN_S,
    Amount,
    Caps,
    Freed,
    Reply,
    Report,
    Use,
)
from routing.core.limits import REQUESTS, RUNNING, TOKENS, WINDOW_S, Limit, Standing, Standings

ENDLESS = 1 << 60  # units of what is not limited
SYNC_S = 1.0  # a share in use tells what it used at least so often
RENEW_S = LEASE_S / 3
SCARCE = 8  # with less than an eighth free, nothing is held ahead of need
LOOK_S = 0.2  # how old the figures may be that answers show
PACE_S = 1.0  # over which the pace is taken, however often a share is synced
AHEAD_S = 2.0  # what is held ahead lasts for so long at the pace of the last second
FORGET_S = 300.0
LEAST_WAIT_S, MOST_WAIT_S = 0.25, 10.0  # for a place among concurrent requests


class Share:
    """Of one limit. The lower half belongs to talks with the pool."""

    __slots__ = (
        "caps",
        "degraded",
        "free",
        "frees",
        "in_doubt",
        "is_idle",
        "last_freed_at",
        "leased_since",
        "limit",
        "looked_at",
        "mean_s",
        "need",
        "pool",
        "replied_at",
        "report_no",
        "requests_freed",
        "requests_left",
        "requests_low",
        "requests_pace",
        "requests_used",
        "running",
        "second",
        "spare",
        "spare_elsewhere",
        "synced_at",
        "taken",
        "taken_seen",
        "tokens_drawn",
        "tokens_freed",
        "tokens_left",
        "tokens_low",
        "tokens_pace",
        "tokens_used",
        "unleased",
        "untold",
        "used_at",
        "valid_until",
    )

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.pool = limit.pool
        self.caps = caps_of(limit)
        self.requests_left = self.tokens_left = self.spare = 0
        self.requests_low = self.tokens_low = 0  # below this, more is fetched ahead of need
        self.running = 0
        self.valid_until = 0.0
        self.second = 0  # which `requests_used` and `tokens_used` are of
        self.requests_used = self.tokens_used = 0
        self.is_idle = False  # since the last tick,
        self.taken_seen = 0  # at which it had this many `taken`
        self.taken = 0  # requests and
        self.tokens_drawn = 0  # tokens since the last report
        self.requests_pace = self.tokens_pace = 0.0  # per second, lately
        self.looked_at = -math.inf  # when the next three were worked out
        self.requests_freed = self.tokens_freed = 0
        self.last_freed_at = 0.0
        self.mean_s = 1.0  # duration of a request
        self.used_at = 0.0
        self.untold: dict[int, list[int]] = {}  # second -> requests, tokens
        self.unleased: dict[int, list[int]] = {}  # the same, used without a lease
        self.in_doubt: list[Use] = []  # told, and not known to have arrived
        self.report_no = 0
        self.leased_since = 0.0
        self.synced_at = 0.0
        self.need = Amount()
        self.replied_at = float("-inf")  # the rest is what the pool said then
        self.free = Amount()
        self.frees: list[Freed] = []  # at local moments
        self.spare_elsewhere = 0
        self.degraded: Degraded | None = None
        self._unlimit()

    def change(self, limit: Limit) -> None:
        """Gives back what was leased under other numbers: the new ones hold at once."""
        caps = caps_of(limit)
        self.limit = limit
        if caps != self.caps:
            self.caps = caps
            self.drop_lease()
            self.replied_at = float("-inf")
            self.degraded = None

    def drop_lease(self) -> None:
        self.requests_left = self.tokens_left = self.spare = 0
        self._unlimit()

    def end(self) -> None:
        """Wants nothing any more: the next report gives everything back."""
        self.drop_lease()
        self.taken = self.taken_seen = self.tokens_drawn = 0
        self.requests_pace = self.tokens_pace = 0.0

    def _unlimit(self) -> None:
        if self.caps.requests is None:
            self.requests_left = ENDLESS
        if self.caps.tokens is None:
            self.tokens_left = ENDLESS
        if self.caps.running is None:
            self.spare = ENDLESS

    # --- uses ---------------------------------------------------------------------------------
    def turn(self, second: int) -> None:
        """A new second begins, or a report is due."""
        if self.requests_used or self.tokens_used:
            add(self.untold, self.second, self.requests_used, self.tokens_used)
            self.requests_used = self.tokens_used = 0
        self.second = second

    def correct(self, second: int, requests: int, tokens: int) -> None:
        """Takes back (below zero) or adds to what was counted."""
        self.requests_left -= requests
        self.tokens_left -= tokens
        add(self.untold, second, requests, tokens)

    # --- talking to the pool ------------------------------------------------------------------
    def tick(self) -> None:
        self.is_idle = self.taken == self.taken_seen
        self.taken_seen = self.taken

    def is_due(self, now: float) -> bool:
        tells = self.requests_used or self.tokens_used or self.untold or self.unleased
        if (tells or self.in_doubt) and (self.is_idle or now - self.synced_at >= SYNC_S):
            return True
        if self._holds() and (self.is_idle or is_scarce(self.caps.running, self.free.places)):
            return True
        return bool(self.running or self._holds()) and now >= self.valid_until - LEASE_S + RENEW_S

    def is_forgettable(self, now: float) -> bool:
        since = max(self.used_at, self.synced_at)
        return 0 < since < now - FORGET_S and not (
            self.running or self._holds() or self.untold or self.unleased or self.in_doubt
        )

    def _holds(self) -> bool:
        caps = self.caps
        return bool(
            (caps.requests is not None and self.requests_left > 0)
            or (caps.tokens is not None and self.tokens_left > 0)
            or (caps.running is not None and self.spare > 0)
        )

    def report(self, process: str, now: float, offset_s: float) -> Report:
        """What is given back is no longer drawn on from here, whether or not the report arrives."""
        self.turn(int(now + offset_s))
        if now >= self.valid_until:
            self.drop_lease()
        self.report_no += 1
        self._tell(self.untold, leased=True)
        self._tell(self.unleased, leased=False)
        target = self._target(now)
        self._give_back(target)
        left = self._left()
        need, want = beyond(self.need, left, self.caps), beyond(target, left, self.caps)
        if self.taken or self.need.requests:
            self.used_at = now
        self.need, self.taken, self.taken_seen, self.tokens_drawn = Amount(), 0, 0, 0
        self.requests_low, self.tokens_low = target.requests // 4, target.tokens // 4
        self.synced_at = now
        return Report(
            pool=self.pool,
            process=process,
            no=self.report_no,
            caps=self.caps,
            held=left,
            running=self.running if self.caps.running is not None else min(self.running, 1),
            uses=list(self.in_doubt),
            need=need,
            want=want,
        )

    def _tell(self, uses: dict[int, list[int]], *, leased: bool) -> None:
        self.in_doubt += [
            Use(self.report_no, second, requests, tokens, leased)
            for second, (requests, tokens) in uses.items()
            if requests or tokens
        ]
        uses.clear()

    def _target(self, now: float) -> Amount:
        """What to hold: the needed, and ahead of it as much as the last second's pace asks for."""
        free, caps, need = self.free, self.caps, self.need
        fade = math.exp(-max(0.0, now - self.synced_at) / PACE_S)
        self.requests_pace = self.requests_pace * fade + self.taken / PACE_S
        self.tokens_pace = self.tokens_pace * fade + self.tokens_drawn / PACE_S
        if self.is_idle and self.taken == self.taken_seen:
            return need
        taken = int(self.requests_pace * AHEAD_S)
        return Amount(
            need.requests + (0 if is_scarce(caps.requests, free.requests) else taken),
            need.tokens
            + (0 if is_scarce(caps.tokens, free.tokens) else int(self.tokens_pace * AHEAD_S)),
            need.places
            + (0 if is_scarce(caps.running, free.places) else int(self.requests_pace * PACE_S)),
        )

    def _give_back(self, target: Amount) -> None:
        """What was overdrawn is told as used by now: the pool makes up for it."""
        if self.caps.requests is not None:
            self.requests_left = max(0, min(self.requests_left, target.requests))
        if self.caps.tokens is not None:
            self.tokens_left = max(0, min(self.tokens_left, target.tokens))
        if self.caps.running is not None:
            self.spare = max(0, min(self.spare, target.places))

    def _left(self) -> Amount:
        caps = self.caps
        return Amount(
            0 if caps.requests is None else self.requests_left,
            0 if caps.tokens is None else self.tokens_left,
            0 if caps.running is None else self.spare,
        )

    def accept(self, report: Report, reply: Reply, sent_at: float, offset_s: float) -> None:
        if report.caps != self.caps or report.no != self.report_no:
            return  # overtaken: what was granted comes back with the next report
        self.in_doubt = [use for use in self.in_doubt if use.report_no > report.no]
        if reply.is_new:
            self.drop_lease()
            self.leased_since = sent_at
        granted, free, caps = reply.granted, reply.free, self.caps
        if caps.requests is not None:
            self.requests_left += granted.requests
            if granted.requests < report.want.requests:
                self.requests_low = 0
        if caps.tokens is not None:
            self.tokens_left += granted.tokens
            if granted.tokens < report.want.tokens:
                self.tokens_low = 0
        if caps.running is not None:
            self.spare += granted.places
        self.valid_until = sent_at + LEASE_S
        self.replied_at, self.free = sent_at, free
        self.looked_at = -math.inf
        self.frees = [
            Freed(freed.at - offset_s, freed.requests, freed.tokens) for freed in reply.frees
        ]
        self.spare_elsewhere = reply.spare_elsewhere
        self.degraded = None

    # --- verdicts -----------------------------------------------------------------------------
    def lacks(self, tokens: int, now: float) -> list[tuple[str, int]]:
        """Meter and how many units are missing here."""
        stale = now >= self.valid_until
        caps = self.caps
        wanted = (
            (REQUESTS, caps.requests, 1, self.requests_left),
            (TOKENS, caps.tokens, tokens, self.tokens_left),
            (RUNNING, caps.running, 1, self.spare),
        )
        missing = [
            (meter, units - (min(left, 0) if stale else left))
            for meter, cap, units, left in wanted
            if cap is not None
        ]
        return [(meter, units) for meter, units in missing if units > 0]

    def knows(self, meter: str) -> bool:
        """Whether the pool said when more comes free: it does when it had not enough."""
        return meter == RUNNING or bool(self.frees)

    def wait_s(self, meter: str, missing: int, now: float) -> float:
        """By what the pool said last; 0 if it said that there is enough."""
        if meter == RUNNING:
            return self._place_wait_s(missing)
        is_requests = meter == REQUESTS
        available = self.free.requests if is_requests else self.free.tokens
        if available >= missing:
            return 0.0
        for freed in self.frees:
            available += freed.requests if is_requests else freed.tokens
            if available >= missing:
                return max(0.0, freed.at - now)
        return WINDOW_S + 1.0

    def _place_wait_s(self, missing: int) -> float:
        """Nobody knows when a request ends: the mean duration over all that run is a fair guess."""
        if self.free.places >= missing:
            return 0.0
        if self.spare_elsewhere:
            return RETURN_S
        expected_s = self.mean_s / (self.caps.running or 1)
        return min(max(expected_s, LEAST_WAIT_S), MOST_WAIT_S)

    def standings(self, now: float, offset_s: float) -> Standings:
        """What is left of the caller's view; units that come back are looked for now and then."""
        if not self.looked_at <= now < self.looked_at + LOOK_S:
            self._look(now)
        caps = self.caps
        just_used_s = self.second + 1 + WINDOW_S - (now + offset_s)
        reset_s = max(self.last_freed_at - now, just_used_s, 0.0)
        return Standings(
            _standing(caps.requests, self.requests_left, self.requests_freed, reset_s),
            _standing(caps.tokens, self.tokens_left, self.tokens_freed, reset_s),
        )

    def _look(self, now: float) -> None:
        back = [freed for freed in self.frees if freed.at <= now]
        self.looked_at = now
        self.requests_freed = self.free.requests + sum([freed.requests for freed in back])
        self.tokens_freed = self.free.tokens + sum([freed.tokens for freed in back])
        self.last_freed_at = max([freed.at for freed in self.frees], default=now)


def _standing(cap: int | None, left: int, freed: int, reset_s: float) -> Standing | None:
    if cap is None:
        return None
    remaining = (max(0, left)) + (max(0, freed))
    return Standing(cap, remaining, reset_s) if remaining < cap else Standing(cap, cap, 0.0)


def caps_of(limit: Limit) -> Caps:
    return Caps(limit.requests_per_minute, limit.tokens_per_minute, limit.concurrent_requests)


def beyond(wanted: Amount, has: Amount, caps: Caps) -> Amount:
    return Amount(
        0 if caps.requests is None else max(0, wanted.requests - has.requests),
        0 if caps.tokens is None else max(0, wanted.tokens - has.tokens),
        0 if caps.running is None else max(0, wanted.places - has.places),
    )


def add(uses: dict[int, list[int]], second: int, requests: int, tokens: int) -> None:
    found = uses.setdefault(second, [0, 0])
    found[0] += requests
    found[1] += tokens


def is_scarce(cap: int | None, free: int) -> bool:
    return cap is not None and free * SCARCE < cap
