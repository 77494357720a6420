"""The brake on one endpoint: closed, open after failures, half-open for one try at a time.

A 429 is capacity, not ill health: it starts a cool-down and never opens the breaker. A refusal of
the hub's own account is neither: after some in a row the endpoint rests, until it is asked again.
What other processes tell is a hint: see `hear_open` and `hear_closed`. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from math import inf

CONSECUTIVE_FAILURES = 5
WINDOW_S = 30.0
WINDOW_MIN_SAMPLES = 20
WINDOW_FAILURE_SHARE = 0.5
FIRST_EJECTION_S = 15.0
LONGEST_EJECTION_S = 300.0
JITTER_SHARE = 0.2
SUCCESSES_TO_CLOSE = 2
FORGIVE_AFTER_S = 60.0
DEFAULT_COOLDOWN_S = 5.0
PROBE_EVERY_S = 1.0  # over all processes
FORCED_EVERY_S = 1.0  # an endpoint that is out is tried this often where there is no other
ACCEPTED_FACTOR = 2.0  # such tries may be this many times those that succeed
REFUSALS_TO_REST = 3
REFUSED_REST_S = 60.0
LONGEST_COOLDOWN_S = 60.0
MOST_EJECTIONS = int(LONGEST_EJECTION_S / FIRST_EJECTION_S)  # more would not lengthen it


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


Gate = tuple[BreakerState, float, float, float | None, float]


class Breaker:
    __slots__ = (
        "_clean_since",
        "_consecutive",
        "_deaf_until",
        "_ejections",
        "_heard_at",
        "_is_hearsay",
        "_next_probe_at",
        "_probe_started",
        "_probe_wins",
        "_refusals",
        "_window",
        "cooling_until",
        "is_calm",
        "last_failure_at",
        "last_success_at",
        "open_until",
        "probe_every_s",
        "reason",
        "refused_until",
        "state",
        "turned_at",
    )

    def __init__(self) -> None:
        self.state = BreakerState.CLOSED
        self.open_until = 0.0
        self.reason = ""  # why it opened last
        self.cooling_until = 0.0
        self.refused_until = 0.0
        self.last_failure_at = 0.0
        self.last_success_at = -inf  # as far as they were noted: not while it is calm
        self.turned_at: float | None = None  # opened or closed by what was seen here; not told yet
        self._refusals = 0
        self._consecutive = 0
        self._ejections = 0
        self._probe_wins = 0
        self._probe_started: float | None = None
        self.probe_every_s = PROBE_EVERY_S  # longer where processes take turns
        self._next_probe_at = -inf
        self._heard_at = -inf  # when that happened which was heard of last
        self._is_hearsay = False  # it is tried because it recovered elsewhere
        self._deaf_until = -inf  # what recovered elsewhere did not recover from here
        self._clean_since = 0.0
        self._window: deque[_Second] = deque()
        self.is_calm = True  # closed, and a success would change nothing

    def is_quiet(self, now: float) -> bool:
        """Neither brake is on: the common case, asked for every candidate of every request."""
        return self.state is BreakerState.CLOSED and now >= self.cooling_until

    def is_cooling(self, now: float) -> bool:
        return now < self.cooling_until

    def allows(self, now: float) -> bool:
        """Half-open lets one try through at a time; a try that never ended is forgotten."""
        if self.state is BreakerState.CLOSED:
            return True
        if now < self.open_until or now < self._next_probe_at:
            return False
        started = self._probe_started
        return started is None or now - started > FIRST_EJECTION_S

    def next_release(self, now: float) -> float:
        """The next moment at which time alone lets a try through; infinite where none is held."""
        times = [self.cooling_until]
        if self.state is not BreakerState.CLOSED:
            times += (self.open_until, self._next_probe_at)
            if self._probe_started is not None:
                times.append(self._probe_started + FIRST_EJECTION_S)
        return min((at for at in times if at > now), default=inf)

    @property
    def gate(self) -> Gate:
        """All that decides whether tries are let through, now and later."""
        return (
            self.state,
            self.open_until,
            self.cooling_until,
            self._probe_started,
            self._next_probe_at,
        )

    def on_start(self, now: float, chance: float = 0.0) -> bool:
        """Whether a try may begin now; if so, it has begun. `chance` is a random number in 0..1.

        An endpoint that is out and yet chosen (there is no other) is tried once a second, and more
        often only as far as tries succeed.
        """
        if self.state is BreakerState.CLOSED:
            return True
        if not self._has_free_try(now) and chance < self._reject_share(now):
            return False
        if now >= self.open_until:
            self.state = BreakerState.HALF_OPEN
            self._next_probe_at = now + self.probe_every_s
        self._probe_started = now
        return True

    def _has_free_try(self, now: float) -> bool:
        started = self._probe_started
        if started is not None and now - started <= FIRST_EJECTION_S:
            return False
        return now >= self.open_until or now - self.last_failure_at >= FORCED_EVERY_S

    def _reject_share(self, now: float) -> float:
        """Client-side throttling as in Google's SRE book, over the window of the breaker."""
        failures, successes = self._recent(now)
        tries = failures + successes
        return max(0.0, (tries - ACCEPTED_FACTOR * successes) / (tries + 1))

    def on_success(self, now: float) -> None:
        self._consecutive = self._refusals = 0
        self.last_success_at = now
        if self.state is BreakerState.CLOSED:
            if now - self.last_failure_at > WINDOW_S:
                self._window.clear()
            if self._window:
                self._second(now).successes += 1
            self._forgive(now)
            self.is_calm = not self._window and not self._ejections
            return
        self._second(now).successes += 1
        if self._probe_started is None:
            return  # it was begun before the breaker opened, and says little of what is now
        self._probe_started = None
        self._probe_wins += 1
        if self._probe_wins >= SUCCESSES_TO_CLOSE:
            self._close(now)

    def on_failure(self, now: float, jitter: float, before: int = 0) -> None:
        """`jitter` is a random number in 0..1, so that many processes do not return together.

        `before` is how many tries of the window's length succeeded, as far as they were not told
        here because it was calm.
        """
        if self.state is BreakerState.CLOSED:
            self._forgive(now)
        if self.is_calm and before:
            self._window.append(_Second(now - 1.0, before))
        self.is_calm = False
        self.last_failure_at = now
        self._clean_since = now
        self._second(now).failures += 1
        if self.state is BreakerState.OPEN and now < self.open_until:
            self._probe_started = None  # it was forced, and takes nothing from the endpoint's time
            return
        if self.state is not BreakerState.CLOSED:
            self._eject(now, jitter, "failed again when it was tried")
            return
        self._consecutive += 1
        if self._consecutive >= CONSECUTIVE_FAILURES:
            self._eject(now, jitter, f"failed {CONSECUTIVE_FAILURES} times in a row")
        elif self._mostly_failing():
            self._eject(now, jitter, f"half of the requests of {WINDOW_S:.0f} s failed")

    def on_neutral(self) -> None:
        """A try that says nothing about health (a client error, a client that left)."""
        self._probe_started = None

    def on_refused(self, now: float, jitter: float) -> None:
        """The provider refused the hub's account: its key, or its money."""
        self.is_calm = False
        self._probe_started = None
        self._refusals += 1
        if self._refusals >= REFUSALS_TO_REST:
            rest = REFUSED_REST_S * (1 + JITTER_SHARE * jitter)
            self.refused_until = max(self.refused_until, now + rest)
            self.cooling_until = max(self.cooling_until, self.refused_until)

    def on_capacity(self, now: float, retry_after_s: float | None) -> None:
        wait = DEFAULT_COOLDOWN_S if retry_after_s is None else retry_after_s
        wait = min(max(wait, 1.0), LONGEST_COOLDOWN_S)
        self.cooling_until = max(self.cooling_until, now + wait)
        self._probe_started = None

    # --- what other processes tell ------------------------------------------------------------
    def hear_open(
        self, now: float, at: float, until: float, ejections: int, *, seems_well: bool
    ) -> None:
        """It failed elsewhere at the moment `at`, and is left alone there until `until`.

        Where it `seems_well` here it is tried carefully, and what is seen then decides. Whatever
        was seen or heard of it later than `at` counts for more.
        """
        if at <= self._heard_at or at < self.last_success_at:
            return
        self._heard_at = at
        self.last_failure_at = max(self.last_failure_at, at)
        self._ejections = min(max(self._ejections, ejections), MOST_EJECTIONS)
        was_closed, self.is_calm = self.state is BreakerState.CLOSED, False
        self._clean_since = now
        if was_closed:
            self.state = BreakerState.OPEN
            self.reason = "failed in another gateway process"
            self._probe_started, self._probe_wins = None, 0
        if not seems_well:
            self.open_until = max(self.open_until, until)
        elif was_closed:
            self.open_until = now

    def hear_closed(self, now: float, at: float) -> None:
        """It recovered elsewhere at the moment `at`: one success of our own is enough then.

        Where such a try failed here, no other is made on hearsay until its time out is over: an
        endpoint may be out of reach for one process alone.
        """
        if at <= self._heard_at or at < self.last_failure_at or now < self._deaf_until:
            return
        self._heard_at = at
        if self.state is not BreakerState.CLOSED:
            self._is_hearsay = True
            self.open_until = min(self.open_until, now)
            self._next_probe_at = -inf
            self._probe_wins = SUCCESSES_TO_CLOSE - 1

    def hear_rest(self, until: float) -> None:
        """A provider refused another process for want of room, and is left alone until then."""
        self.cooling_until = max(self.cooling_until, until)

    @property
    def ejections(self) -> int:
        return self._ejections

    # --- counting -----------------------------------------------------------------------------
    def _second(self, now: float) -> _Second:
        """Outcomes are counted by the second, so that the window stays small under any load."""
        window = self._window
        if not window or now - window[-1].began_at >= 1.0:
            window.append(_Second(now))
        while window[0].began_at < now - WINDOW_S:
            window.popleft()
        return window[-1]

    def _mostly_failing(self) -> bool:
        failures, successes = self._recent(self._window[-1].began_at)
        n = failures + successes
        return n >= WINDOW_MIN_SAMPLES and failures >= n * WINDOW_FAILURE_SHARE

    def _recent(self, now: float) -> tuple[int, int]:
        """Failures and successes of the window."""
        seconds = [one for one in self._window if one.began_at >= now - WINDOW_S]
        return sum(one.failures for one in seconds), sum(one.successes for one in seconds)

    def _eject(self, now: float, jitter: float, reason: str) -> None:
        self._ejections = min(self._ejections + 1, MOST_EJECTIONS)
        length = FIRST_EJECTION_S * self._ejections
        self.open_until = max(self.open_until, now + length * (1 + JITTER_SHARE * jitter))
        if self._is_hearsay:
            self._deaf_until, self._is_hearsay = self.open_until, False
        self.state = BreakerState.OPEN
        self.turned_at = now
        self.reason = reason
        self._probe_started = None
        self._probe_wins = 0

    def _close(self, now: float) -> None:
        self.state = BreakerState.CLOSED
        self.turned_at = now
        self._is_hearsay = False
        self._window.clear()
        self._probe_wins = 0
        self._clean_since = now

    def _forgive(self, now: float) -> None:
        if self._ejections and now - self._clean_since >= FORGIVE_AFTER_S:
            spans = int((now - self._clean_since) // FORGIVE_AFTER_S)
            self._ejections = max(self._ejections - spans, 0)
            self._clean_since += spans * FORGIVE_AFTER_S


class _Second:
    __slots__ = ("began_at", "failures", "successes")

    def __init__(self, began_at: float, successes: int = 0) -> None:
        self.began_at = began_at
        self.failures = 0
        self.successes = successes
