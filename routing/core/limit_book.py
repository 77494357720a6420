"""All shares of limits that one process holds, and what the request path asks of them.

`take` draws on leases and asks nobody; when they do not cover a request, `ask` notes what it needs
and the process talks with the pools: `collect`, then `accept`. Local moments are monotonic seconds;
`offset_s` leads from them to the database's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from routing.core.limit_outage import Degraded
from routing.core.limit_pool import Caps, Reply, Report
from routing.core.limit_share import LEAST_WAIT_S, Share, add
from routing.core.limits import (
    REQUESTS,
    RUNNING,
    TOKENS,
    Denied,
    Grant,
    Limit,
    Limits,
    Standing,
    Standings,
)

ASK_AGAIN_S = 0.25  # a refusal is believed for so long at most: others may give back early
REFUND_S = 40.0  # tokens reserved too much are taken back while they surely still count
DURATION_WEIGHT = 0.125  # of one request in the mean duration
CLOCK_SLACK_S = 0.05  # a difference that grew by more is a clock that was set, not a slow answer


class Lane:
    """One caller's way: the shares of all limits it is held to."""

    __slots__ = ("limits", "shares")

    def __init__(self, limits: Limits, shares: tuple[Share, ...]) -> None:
        self.limits = limits
        self.shares = shares


class LimitBook:
    """All shares of one process. Not for several threads."""

    def __init__(self, process: str) -> None:
        self.process = process
        self.offset_s = 0.0  # from local seconds to the database's, never too small
        self.is_hungry = False  # a share runs low: the next talk should not wait for the clock
        self.waiting: set[Share] = set()
        self._shares: dict[str, Share] = {}
        self._lanes: dict[int, Lane] = {}

    # --- the request path ---------------------------------------------------------------------
    def take(self, limits: Limits, tokens: int, now: float) -> Grant | None:
        """All or nothing. None when one of the leases does not cover it."""
        lane = self._lanes.get(limits.key_id)
        if lane is None or lane.limits is not limits:
            lane = self._lane(limits)
        shares = lane.shares
        for share in shares:
            if (
                share.requests_left < 1
                or share.tokens_left < tokens
                or share.spare < 1
                or now >= share.valid_until
            ):
                return None
        second = int(now + self.offset_s)
        for share in shares:
            if share.second != second:
                share.turn(second)
            share.requests_left -= 1
            share.tokens_left -= tokens
            share.spare -= 1
            share.running += 1
            share.requests_used += 1
            share.tokens_used += tokens
            share.taken += 1
            share.tokens_drawn += tokens
            if share.requests_left < share.requests_low or share.tokens_left < share.tokens_low:
                self.waiting.add(share)
                self.is_hungry = True
        return Grant(shares, tokens, now, second)

    def settle(self, grant: Grant, tokens: int, now: float) -> None:
        if grant.ended:
            return
        grant.ended = True
        difference = tokens - grant.tokens
        second = int(now + self.offset_s)
        for share in grant.shares:
            share.running -= 1
            share.spare += 1
            share.mean_s += (now - grant.at - share.mean_s) * DURATION_WEIGHT
            if not difference:
                continue
            if grant.second == share.second == second and grant.at >= share.leased_since:
                share.tokens_left -= difference  # the common case: `_correct` within one second
                share.tokens_used += difference
            else:
                self._correct(share, grant, 0, difference, now)

    def release(self, grant: Grant, now: float) -> None:
        if grant.ended:
            return
        grant.ended = True
        for share in grant.shares:
            share.running -= 1
            share.spare += 1
            self._correct(share, grant, -1, -grant.tokens, now)

    def _correct(self, share: Share, grant: Grant, requests: int, tokens: int, now: float) -> None:
        if tokens > 0:
            share.correct(int(now + self.offset_s), 0, tokens)
        elif grant.at >= share.leased_since and now - grant.at < REFUND_S:
            share.correct(grant.second, requests, tokens)

    def _lane(self, limits: Limits) -> Lane:
        lane = self._lanes.get(limits.key_id)
        if lane is None or lane.limits is not limits:
            lane = Lane(limits, tuple(self._share(part) for part in limits.parts))
            self._lanes[limits.key_id] = lane
        return lane

    def _share(self, limit: Limit) -> Share:
        share = self._shares.get(limit.pool)
        if share is None:
            share = self._shares[limit.pool] = Share(limit)
        elif share.limit is not limit:
            share.change(limit)
        return share

    # --- when leases do not cover it ----------------------------------------------------------
    def known_refusal(self, limits: Limits, tokens: int, now: float) -> Denied | None:
        """Without asking: the pool said a moment ago that there is nothing."""
        lane = self._lanes.get(limits.key_id)
        if lane is None or lane.limits is not limits:
            return None
        for share in lane.shares:
            if now - share.replied_at < ASK_AGAIN_S and any(
                share.knows(meter) and share.wait_s(meter, missing, now) > 0
                for meter, missing in share.lacks(tokens, now)
            ):
                return self.refusal(limits, tokens, now)
        return None

    def refusal(self, limits: Limits, tokens: int, now: float) -> Denied:
        """By what the pools said last. Names the limit that has to be waited for longest."""
        waits = [
            (share.wait_s(meter, missing, now), share, meter)
            for share in self._lane(limits).shares
            for meter, missing in share.lacks(tokens, now)
        ]
        return self._denied(waits, limits, tokens, now)

    def ask(self, limits: Limits, tokens: int, now: float) -> None:
        """Notes what a waiting request needs, for the next talk."""
        for share in self._lane(limits).shares:
            if not share.lacks(tokens, now):
                continue
            share.need.requests += 1
            share.need.tokens += tokens
            share.need.places += 1
            self.waiting.add(share)

    def take_degraded(
        self, limits: Limits, tokens: int, now: float, processes: int, since: float
    ) -> Grant | Denied:
        """The pool cannot be asked: leases while they last, then an even part of the limit."""
        shares = self._lane(limits).shares
        uncovered = [share for share in shares if share.lacks(tokens, now)]
        waits: list[tuple[float, Share, str]] = []
        for share in uncovered:
            if share.degraded is None:
                share.degraded = Degraded(share.caps, processes, since)
            share.degraded.fill(now)
            for meter, units in capped(share.caps, tokens):
                wait_s = share.degraded.wait_s(meter, units, share.running)
                if wait_s > 0:
                    waits.append((wait_s, share, meter))
        if waits:
            return self._denied(waits, limits, tokens, now)
        second = int(now + self.offset_s)
        for share in shares:
            self._draw_degraded(share, tokens, second, is_leased=share not in uncovered)
        return Grant(shares, tokens, now, second)

    def _draw_degraded(self, share: Share, tokens: int, second: int, *, is_leased: bool) -> None:
        share.running += 1
        share.spare -= 1
        if is_leased:
            share.correct(second, 1, tokens)
        else:
            assert share.degraded is not None
            share.degraded.draw(tokens)
            add(share.unleased, second, 1, tokens)

    def _denied(
        self, waits: Sequence[tuple[float, Share, str]], limits: Limits, tokens: int, now: float
    ) -> Denied:
        # Nothing is missing if units arrived after the last look: the next try will find them.
        first = self._lane(limits).shares[0]
        wait_s, share, meter = max(waits, key=wait_of, default=(0.0, first, REQUESTS))
        standing = share.standings(now, self.offset_s).tokens
        return Denied(
            limit=share.limit,
            meter=meter,
            retry_after_s=max(wait_s, LEAST_WAIT_S),
            needed=tokens,
            left=standing.remaining if standing is not None else 0,
            standings=self.standings(self._lane(limits).shares, now),
        )

    def standings(self, shares: Sequence[Share], now: float) -> Standings:
        if len(shares) == 1:
            return shares[0].standings(now, self.offset_s)
        every = [share.standings(now, self.offset_s) for share in shares]
        return Standings(
            tightest(one.requests for one in every), tightest(one.tokens for one in every)
        )

    # --- talking to the pools -----------------------------------------------------------------
    def collect(self, now: float, *, tick: bool) -> list[Report]:
        """Reports to be brought to the pools in this order: those that requests wait for first."""
        shares = dict.fromkeys(self.waiting)
        self.waiting.clear()
        self.is_hungry = False
        if tick:
            for share in self._shares.values():
                share.tick()
                if share.is_due(now):
                    shares[share] = None
        return [share.report(self.process, now, self.offset_s) for share in shares]

    def accept(self, report: Report, reply: Reply, sent_at: float) -> None:
        share = self._shares.get(report.pool)
        if share is not None:
            share.accept(report, reply, sent_at, self.offset_s)

    def hear_clock(self, database_now: float, sent_at: float) -> None:
        """`sent_at` is before the database looked at its clock, so the difference is never too
        small. The smallest is the best, unless a clock was set."""
        offset_s = database_now - sent_at
        if not self.offset_s <= offset_s <= self.offset_s + CLOCK_SLACK_S:
            self.offset_s = offset_s

    def give_all_back(self) -> None:
        """Before the process ends: the next reports return whatever is not in use."""
        for share in self._shares.values():
            share.end()
            self.waiting.add(share)

    def forget(self, now: float) -> None:
        gone = {pool for pool, share in self._shares.items() if share.is_forgettable(now)}
        for pool in gone:
            del self._shares[pool]
        lanes = self._lanes
        if gone:
            self._lanes = {
                key_id: lane
                for key_id, lane in lanes.items()
                if not any(share.pool in gone for share in lane.shares)
            }


def capped(caps: Caps, tokens: int) -> list[tuple[str, int]]:
    """What one request needs of each meter that is limited."""
    needs = (
        (REQUESTS, caps.requests, 1),
        (TOKENS, caps.tokens, tokens),
        (RUNNING, caps.running, 1),
    )
    return [(meter, units) for meter, cap, units in needs if cap is not None]


def wait_of(wait: tuple[float, Share, str]) -> float:
    return wait[0]


def tightest(standings: Iterable[Standing | None]) -> Standing | None:
    known = [standing for standing in standings if standing is not None]
    return min(known, key=lambda standing: standing.remaining / standing.limit, default=None)
