"""What all gateway processes share of one limit: the uses of the last minute, and the leases.

    uses of the last 60 s  +  units leased and not yet used  <=  limit

A process tells what it used and asks for more in one step (`sync`). A lease that is not renewed
ends; whatever was left in it counts as used at that moment, because its holder may have used it.
So the sum over all processes keeps to the limit whoever dies and whichever message gets lost:

    requests    never more in any 60 s
    tokens      more by what running requests use beyond their reservations, which is made up for
    concurrent  more only when the pool was out of reach for longer than a lease, until all told
    lost pool   see core.limit_outage: less than twice the limit in the minute of the loss

All moments here are seconds of the database's clock.
"""

from __future__ import annotations

import msgspec

from routing.core.limits import WINDOW_S

LEASE_S = 15.0  # a lease that is not renewed for so long ends
RETURN_S = 1.25  # an idle process has given back by then what it does not need
SHARE_OF_FREE = 4  # a lease ahead of need takes at most a fourth of what is free


class Caps(msgspec.Struct, frozen=True, array_like=True):
    requests: int | None = None
    tokens: int | None = None
    running: int | None = None


class Slot(msgspec.Struct, array_like=True):
    """What was used within one second. It counts until a minute after that second's end."""

    second: int
    requests: int
    tokens: int

    @property
    def frees_at(self) -> float:
        return self.second + 1 + WINDOW_S


class Lease(msgspec.Struct, array_like=True):
    requests: int = 0  # units that are held and not used
    tokens: int = 0
    spare: int = 0  # places for concurrent requests: held and empty,
    running: int = 0  # and taken
    expires_at: float = 0.0
    report_no: int = 0  # the last one that was counted


class Use(msgspec.Struct, frozen=True, array_like=True):
    """Negative amounts take back what was reserved too much."""

    report_no: int  # the report that told of it first
    second: int
    requests: int
    tokens: int
    leased: bool = True  # False: used without a lease, so it counts whatever became of the lease


class Amount(msgspec.Struct, array_like=True):
    requests: int = 0
    tokens: int = 0
    places: int = 0


class Report(msgspec.Struct):
    """`held` and `running` are what the process has now; `uses` what it has not seen confirmed."""

    pool: str
    process: str
    no: int
    caps: Caps
    held: Amount
    running: int
    uses: list[Use]
    need: Amount  # of requests that wait for it
    want: Amount  # of requests that will probably come


class Freed(msgspec.Struct, frozen=True, array_like=True):
    at: float
    requests: int
    tokens: int


class Reply(msgspec.Struct, frozen=True):
    granted: Amount
    free: Amount  # after that; meaningless where there is no limit
    now: float
    is_new: bool  # there was no lease: what the process thought it held is gone
    frees: list[Freed]  # when more will be free, in order; empty if all that was needed was granted
    spare_elsewhere: int = 0


class Pool(msgspec.Struct):
    """Kept as one row; `version` makes two writers notice each other."""

    slots: list[Slot] = []  # by second
    leases: dict[str, Lease] = {}

    def sync(self, report: Report, now: float) -> Reply:
        """Counts what is told, then grants what is free. Changes the pool."""
        self.forget(now)
        lease = self.leases.get(report.process)
        is_new = lease is None
        if lease is None:
            lease = self.leases[report.process] = Lease()
        else:
            lease.requests, lease.tokens = report.held.requests, report.held.tokens
            lease.spare = report.held.places
        for use in report.uses:
            if use.report_no > lease.report_no and not (is_new and use.leased):
                self._count(use.second, use.requests, use.tokens, now)
        lease.running = report.running
        lease.report_no = report.no
        lease.expires_at = now + LEASE_S
        granted = self._grant(lease, report)
        reply = self._reply(report, granted, now, is_new=is_new)
        if not (lease.requests or lease.tokens or lease.spare or lease.running):
            del self.leases[report.process]
        return reply

    def free(self, caps: Caps) -> Amount:
        """Below zero where more is used or held than the limit allows by now."""
        slots, leases = self.slots, self.leases.values()
        requests = sum(slot.requests for slot in slots) + sum(held.requests for held in leases)
        tokens = sum(slot.tokens for slot in slots) + sum(held.tokens for held in leases)
        places = sum(held.running + held.spare for held in leases)
        return Amount(
            (caps.requests or 0) - requests,
            (caps.tokens or 0) - tokens,
            (caps.running or 0) - places,
        )

    def _grant(self, lease: Lease, report: Report) -> Amount:
        free, need, want, caps = self.free(report.caps), report.need, report.want, report.caps
        granted = Amount(
            portion(caps.requests, need.requests, want.requests, free.requests),
            portion(caps.tokens, need.tokens, want.tokens, free.tokens),
            portion(caps.running, need.places, want.places, free.places),
        )
        lease.requests += granted.requests
        lease.tokens += granted.tokens
        lease.spare += granted.places
        return granted

    def _reply(self, report: Report, granted: Amount, now: float, *, is_new: bool) -> Reply:
        need, free = report.need, self.free(report.caps)
        is_short = granted.requests < need.requests or granted.tokens < need.tokens
        others = [held for process, held in self.leases.items() if process != report.process]
        return Reply(
            granted=granted,
            free=free,
            now=now,
            is_new=is_new,
            frees=self._frees(others, now) if is_short else [],
            spare_elsewhere=sum(held.spare for held in others),
        )

    def _frees(self, others: list[Lease], now: float) -> list[Freed]:
        found = [Freed(slot.frees_at, slot.requests, slot.tokens) for slot in self.slots]
        held = sum(lease.requests for lease in others), sum(lease.tokens for lease in others)
        if any(held):
            found.append(Freed(now + RETURN_S, *held))
        return sorted(found, key=_by_moment)

    def forget(self, now: float) -> None:
        """Drops what no longer counts; a lease that ended becomes a use at its end."""
        for process, lease in list(self.leases.items()):
            # A clock that was set back must not keep a lease for longer than it was meant to be.
            lease.expires_at = min(lease.expires_at, now + LEASE_S)
            if lease.expires_at <= now:
                del self.leases[process]
                self._count(int(lease.expires_at), lease.requests, lease.tokens, now)
        if self.slots and self.slots[-1].second > now:
            late = [slot for slot in self.slots if slot.second > now]
            self.slots = [slot for slot in self.slots if slot.second <= now]
            for slot in late:
                self._count(int(now), slot.requests, slot.tokens, now)
        if self.slots and self.slots[0].frees_at <= now:
            self.slots = [slot for slot in self.slots if slot.frees_at > now]

    def _count(self, second: int, requests: int, tokens: int, now: float) -> None:
        if not requests and not tokens:
            return
        second = min(second, int(now))
        if second + 1 + WINDOW_S <= now:
            return
        at = len(self.slots)
        while at and self.slots[at - 1].second > second:
            at -= 1
        if at and self.slots[at - 1].second == second:
            slot = self.slots[at - 1]
            slot.requests = max(0, slot.requests + requests)
            slot.tokens = max(0, slot.tokens + tokens)
        elif requests > 0 or tokens > 0:
            self.slots.insert(at, Slot(second, max(0, requests), max(0, tokens)))


def portion(cap: int | None, need: int, want: int, free: int) -> int:
    """All that is needed if it is there; ahead of need only a part of what is free, so that near
    the limit a lease is what one request reserves."""
    if cap is None or free <= 0:
        return 0
    return min(free, max(need, min(want, free // SHARE_OF_FREE)))


def _by_moment(freed: Freed) -> float:
    return freed.at
