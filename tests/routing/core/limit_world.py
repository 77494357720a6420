"""Several gateway processes and the pools they share, on a clock that only tests move."""

from __future__ import annotations

from random import Random

from routing.core.limit_book import LimitBook
from routing.core.limit_pool import Pool, Reply, Report
from routing.core.limits import WINDOW_S, Denied, Grant, Limit, Limits, limits_of

START = 1_800_000_000.0  # of the database's clock


def key_limit(**caps: int | None) -> Limit:
    return Limit("key", 7, "app", **caps)  # type: ignore[arg-type]


def only(limit: Limit) -> Limits:
    limits = limits_of(7, limit)
    assert limits is not None
    return limits


class Process:
    """Its monotonic clock starts anywhere. `talk` is what the keeper does at one go."""

    def __init__(self, world: World, name: str, monotonic_s: float) -> None:
        self.world = world
        self.book = LimitBook(name)
        self._clock_s = monotonic_s - world.now
        self.running: list[Grant] = []
        self.uses: dict[Grant, list[float]] = {}
        self.unheard: list[tuple[Report, Reply, float]] = []  # answers on their way

    @property
    def now(self) -> float:
        return self.world.now + self._clock_s

    def talk(self, *, tick: bool = False) -> None:
        self.send(tick=tick)
        self.hear()

    def send(self, *, tick: bool = False, arrives: bool = True) -> None:
        sent_at = self.now
        self.book.hear_clock(self.world.now, sent_at)
        for report in self.book.collect(sent_at, tick=tick):
            if arrives:
                pool = self.world.pools.setdefault(report.pool, Pool())
                self.unheard.append((report, pool.sync(report, self.world.now), sent_at))

    def hear(self) -> None:
        for report, reply, sent_at in self.unheard:
            self.book.accept(report, reply, sent_at)
        self.unheard.clear()

    def lose_answers(self) -> None:
        self.unheard.clear()

    def ask(self, limits: Limits, tokens: int = 0) -> Grant | Denied:
        """As a request does: from leases, else after one talk."""
        grant = self.book.take(limits, tokens, self.now)
        if grant is None:
            self.book.ask(limits, tokens, self.now)
            self.talk()
            grant = self.book.take(limits, tokens, self.now)
        if grant is None:
            return self.book.refusal(limits, tokens, self.now)
        return self.note(grant)

    def note(self, grant: Grant) -> Grant:
        self.running.append(grant)
        self.world.uses.append([self.world.now, grant.tokens])
        self.uses[grant] = self.world.uses[-1]
        return grant

    def settle(self, grant: Grant, tokens: int) -> None:
        self.running.remove(grant)
        self.book.settle(grant, tokens, self.now)
        self.uses[grant][1] = min(grant.tokens, tokens)
        if tokens > grant.tokens:
            self.world.excess.append([self.world.now, tokens - grant.tokens])


class World:
    def __init__(self, seed: int = 1) -> None:
        self.random = Random(seed)
        self.now = START + self.random.random()
        self.pools: dict[str, Pool] = {}
        self.processes: list[Process] = []
        self.uses: list[list[float]] = []  # moment of a grant, tokens used of its reservation
        self.excess: list[list[float]] = []  # moment, tokens used beyond a reservation
        self._made = 0

    def start(self) -> Process:
        self._made += 1
        process = Process(self, f"p{self._made}", self.random.uniform(0, 1e6))
        self.processes.append(process)
        process.book.hear_clock(self.now, process.now)
        return process

    def kill(self, process: Process) -> None:
        self.processes.remove(process)

    def running(self) -> int:
        return sum(len(process.running) for process in self.processes)

    def most_requests_in_a_window(self) -> float:
        return most_in_a_window([[at, 1] for at, _ in self.uses])

    def most_tokens_in_a_window(self, *, with_excess: bool = False) -> float:
        return most_in_a_window(self.uses + (self.excess if with_excess else []))

    def most_excess(self) -> float:
        return most_in_a_window(self.excess)


def most_in_a_window(uses: list[list[float]]) -> float:
    """The largest sum over any 60 seconds, both ends included."""
    uses = sorted(uses)
    most = total = 0.0
    first = 0
    for at, units in uses:
        total += units
        while uses[first][0] < at - WINDOW_S:
            total -= uses[first][1]
            first += 1
        most = max(most, total)
    return most
