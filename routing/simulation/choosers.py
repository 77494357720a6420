"""The ways to choose that are compared: the hub's own policies, simple rules, and hindsight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from typing_extensions import override

from routing.core.catalog import Endpoint, Policy, PolicyDocument
from routing.core.health import HealthBook
from routing.core.learning import Learning
from routing.core.memo import PlanMemo
from routing.core.plan import NoEndpointLeft
from routing.simulation.script import Script
from routing.simulation.traffic import Request
from routing.simulation.world import Answer, World, moment

MOST_ATTEMPTS = 3
SHARED_EVERY_S = 2.0  # what the processes saw of the providers


class Chooser(Protocol):
    def choose(self, request: Request, at_s: float) -> Sequence[Endpoint]:
        """Whom to try, in order; none where nobody can be tried."""
        ...

    def started(self, request: Request, endpoint: Endpoint, at_s: float) -> bool:
        """Whether the attempt may be made."""
        ...

    def ended(self, request: Request, endpoint: Endpoint, answer: Answer, at_s: float) -> None: ...

    def may_retry(self, request: Request, endpoint: Endpoint) -> bool:
        """Whether the last endpoint may be asked once more."""
        ...


class Hub:
    """The gateway's own code: each process learns, and tells the others every two seconds, or at
    once where a breaker turned."""

    def __init__(self, policy: Policy, world: World, seed: int) -> None:
        self.policy = policy
        self.world = world
        self.rng = Random(f"hub {seed}")
        processes = range(world.script.processes)
        self.processes = [Learning(HealthBook(self.rng)) for _ in processes]
        for one in self.processes:
            one.meet(len(processes))
        self.memos = [PlanMemo() for _ in processes]
        self._shared_at_s = 0.0

    def _share(self, at_s: float) -> None:
        now = moment(at_s).monotonic_s
        told = [one.tell(now) for one in self.processes]
        for listener, one in enumerate(self.processes):
            for teller, news in enumerate(told):
                if teller != listener and news:
                    one.hear(news, now, age_s=0.0)
        self._shared_at_s = at_s

    def choose(self, request: Request, at_s: float) -> Sequence[Endpoint]:
        is_due = at_s >= self._shared_at_s + SHARED_EVERY_S
        if is_due or any(one.is_urgent for one in self.processes):
            self._share(at_s)
        learning = self.processes[request.process]
        try:
            plan = self.memos[request.process].plan(
                request.facts,
                self.policy,
                self.world.snapshot,
                learning.health,
                moment(at_s),
                self.rng,
                learning.expected_output(request.facts, request.facts.key_id),
            )
        except NoEndpointLeft:
            return ()
        return plan.attempts

    def started(self, request: Request, endpoint: Endpoint, at_s: float) -> bool:
        return self.processes[request.process].health.on_start(
            endpoint.id, moment(at_s).monotonic_s
        )

    def ended(self, request: Request, endpoint: Endpoint, answer: Answer, at_s: float) -> None:
        learning, now = self.processes[request.process], moment(at_s).monotonic_s
        if answer.failure is None:
            learning.health.on_success(endpoint.id, now, answer.ttft_ms, answer.speed_tps)
            facts = request.facts
            learning.on_answer(endpoint.id, facts.key_id, facts, answer.usage, now)
        else:
            learning.health.on_failure(endpoint.id, now, answer.failure, None)

    def may_retry(self, request: Request, endpoint: Endpoint) -> bool:
        return self.processes[request.process].health.may_retry(endpoint.id)


class Simple:
    """Knows the price list and the usual speeds, looks at nothing that happens."""

    def __init__(self, order: Callable[[], list[Endpoint]]) -> None:
        self._order = order

    def choose(self, request: Request, at_s: float) -> Sequence[Endpoint]:
        return self._order()[:MOST_ATTEMPTS]

    def started(self, request: Request, endpoint: Endpoint, at_s: float) -> bool:
        return True

    def ended(self, request: Request, endpoint: Endpoint, answer: Answer, at_s: float) -> None:
        return None

    def may_retry(self, request: Request, endpoint: Endpoint) -> bool:
        return False


class Hindsight(Simple):
    """Knows how each attempt would go: the cheapest that answers in time, else the earliest.

    What it uses of the hidden limit is gone for the others, and it does not think ahead.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    @override
    def choose(self, request: Request, at_s: float) -> Sequence[Endpoint]:
        foreseen = [
            self.world.foresee(place, at_s, request, luck)
            for place, luck in enumerate(request.luck)
        ]
        return (
            self.world.endpoints[min(range(len(foreseen)), key=lambda n: self._key(foreseen[n]))],
        )

    def _key(self, answer: Answer) -> tuple[bool, float, float]:
        if answer.ttft_ms is None:
            return True, float("inf"), 0.0
        is_late = not self.world.script.within_slo(answer.ttft_ms)
        cost_usd = float(answer.cost_usd)
        return is_late, (answer.ttft_ms if is_late else cost_usd), cost_usd


def all_choosers(script: Script) -> dict[str, Callable[[World, int], Chooser]]:
    """By name, in the order they are shown in."""
    return {
        "balanced": _hub(PolicyDocument(objective="balanced")),
        "slo-cheapest": _hub(PolicyDocument(objective="slo-cheapest", slo=script.slo)),
        "cheapest": _hub(PolicyDocument(objective="cheapest")),
        "fastest": _hub(PolicyDocument(objective="fastest")),
        "always-cheapest": lambda world, seed: Simple(lambda: _by_price(world)),
        "always-fastest": lambda world, seed: Simple(lambda: _by_speed(world)),
        "random": _shuffled,
        "hindsight": lambda world, seed: Hindsight(world),
    }


def _hub(document: PolicyDocument) -> Callable[[World, int], Chooser]:
    policy = Policy(1, document.objective, 1, document)
    return lambda world, seed: Hub(policy, world, seed)


def _by_price(world: World) -> list[Endpoint]:
    personas = world.script.personas
    return sorted(world.endpoints, key=lambda one: personas[world.place(one)].list_price_usd)


def _by_speed(world: World) -> list[Endpoint]:
    personas = world.script.personas
    return sorted(world.endpoints, key=lambda one: -personas[world.place(one)].speed_tps)


def _shuffled(world: World, seed: int) -> Chooser:
    rng = Random(f"shuffled {seed}")
    return Simple(lambda: rng.sample(world.endpoints, len(world.endpoints)))
