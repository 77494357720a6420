"""Where requests wait a moment while all places of this gateway are taken.

It costs nothing while there is room: `Gateway.room` is the number of places then, and zero as long
as somebody waits, so that nobody comes first who came later. Nor does a request that ends say so:
while somebody waits, a task looks every few milliseconds whether a place has become free.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

from routing.core.errors import HubError
from routing.core.record import Outcome
from routing.core.waiting import LONGEST_WAIT_S, SHARE, Line, Pace, Urgency, Waiter, urgency_of
from routing.gateway.asgi import ClientGone, Sink
from routing.gateway.errors import our_fault, stopping, unavailable

if TYPE_CHECKING:
    from routing.gateway.scribe import Scribe
    from routing.gateway.service import Gateway

logger = logging.getLogger("panelboard.gateway")

LOOK_S = 0.005
TELL_EVERY_S = 10.0


class _Guest(Waiter):
    """One request: it waits, then it holds a place until it runs or has ended."""

    __slots__ = ("scribe", "sink", "turn")

    def __init__(self, scribe: Scribe, sink: Sink, urgency: Urgency, until: float) -> None:
        super().__init__(urgency, until)
        self.scribe = scribe
        self.sink = sink
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_counted_elsewhere(self) -> bool:
        """It is among the gateway's running exchanges, or over."""
        return self.scribe.decision is not None or self.scribe.done or self.sink.finished

    def call(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)

    def turn_away(self, error: Exception) -> None:
        if not self.turn.done():
            self.turn.set_exception(error)


class WaitingRoom:
    """Of one gateway process. `turned_away` counts since its start."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._places = gateway.settings.max_running
        self._line: Line[_Guest] = Line(max(self._places // SHARE, 1))
        self._held: list[_Guest] = []  # they were called, and do not run yet
        self._pace = Pace()
        self._taken = 0
        self._porter: asyncio.Task[None] | None = None
        self._told_at = float("-inf")
        self._untold: Counter[str] = Counter()
        self.turned_away = 0

    def __len__(self) -> int:
        return len(self._line)

    async def wait(self, scribe: Scribe, sink: Sink, raw: bytes) -> None:
        """Returns once there is a place. Raises HubError 503, and ClientGone."""
        now = self._gateway.monotonic()
        self._drop_counted()
        urgency = urgency_of(scribe.caller.kind, raw)
        guest = _Guest(scribe, sink, urgency, now + self._patience_s(scribe, now))
        if self._free() > 0 and not self._line:
            self._begin(now)
            self._held.append(guest)
            return
        self._check_hope(guest, now)
        self._begin(now)
        gone = self._line.enter(guest)
        if gone is not None:
            self._turn_away(gone, now)
        sink.watch(lambda: guest.turn_away(ClientGone()))
        try:
            await guest.turn
        except ClientGone:
            scribe.request_done(Outcome.CLIENT_CANCELLED, 499, "client_closed")
            raise
        finally:
            self._line.leave(guest)
        self._gateway._admit()  # much may have changed meanwhile

    def close(self) -> None:
        """The gateway is stopping: nobody is called any more."""
        for guest in list(self._line):
            self._line.leave(guest)
            guest.turn_away(stopping())

    # --- who may wait -------------------------------------------------------------------------
    def _patience_s(self, scribe: Scribe, now: float) -> float:
        total_s = self._gateway.settings.deadlines.total_s or float("inf")
        return max(min(LONGEST_WAIT_S, scribe.received_at + total_s - now), 0.0)

    def _check_hope(self, guest: _Guest, now: float) -> None:
        """Raises HubError at once for one that would wait in vain."""
        ahead = self._line.ahead_of(guest.urgency)
        if not ahead or not self._pace.is_known:
            return
        if self._pace.wait_s(ahead + 1) > guest.until - now:
            raise self._refusal(guest.urgency, now)

    def _turn_away(self, guest: _Guest, now: float) -> None:
        guest.turn_away(self._refusal(guest.urgency, now))

    def _refusal(self, urgency: Urgency, now: float) -> HubError:
        self.turned_away += 1
        self._untold[urgency.name.lower()] += 1
        if now - self._told_at >= TELL_EVERY_S:
            self._tell(now)
        again_s = self._pace.retry_after_s(len(self._line), self._gateway.rng.random())
        return unavailable(
            "gateway_busy",
            f"This gateway is at its limit of {self._places} running requests. "
            f"Try again in {again_s:.0f} s",
            again_s,
        )

    def _tell(self, now: float) -> None:
        if not self._untold:
            return
        counts = ", ".join(f"{name} {n}" for name, n in sorted(self._untold.items()))
        logger.warning(
            "turned away %d requests (%s): all %d places are taken and %d requests wait",
            self._untold.total(),
            counts,
            self._places,
            len(self._line),
        )
        self._untold.clear()
        self._told_at = now

    # --- places -------------------------------------------------------------------------------
    def _begin(self, now: float) -> None:
        self._gateway.room = 0
        if self._porter is None:
            self._pace.begin(now)
            self._taken = self._count()
            self._porter = asyncio.get_running_loop().create_task(self._attend(), name="porter")

    async def _attend(self) -> None:
        try:
            while self._line or self._held:
                await asyncio.sleep(LOOK_S)
                self.look(self._gateway.monotonic())
        finally:
            self._porter = None
            self._gateway.room = self._places
            for guest in list(self._line):  # none, unless the above failed
                guest.turn_away(our_fault())
            self._tell(self._gateway.monotonic())

    def look(self, now: float) -> None:
        """Calls as many as there are places, and turns those away who have waited long enough."""
        if self._gateway.is_draining:
            self.close()
        self._drop_counted()
        taken = self._count()
        self._pace.note(max(self._taken - taken, 0), now)
        for _ in range(self._free()):
            guest = self._line.serve()
            if guest is None:
                break
            self._held.append(guest)
            guest.call()
        self._taken = self._count()
        for late in self._line.take_late(now):
            self._turn_away(late, now)

    def _drop_counted(self) -> None:
        if self._held:
            self._held = [guest for guest in self._held if not guest.is_counted_elsewhere]

    def _count(self) -> int:
        gateway = self._gateway
        return len(gateway.running) - len(gateway.shadows.running) + len(self._held)

    def _free(self) -> int:
        return self._places - self._count()
