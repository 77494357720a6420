"""Drawing the order of attempts: a weighted draw without replacement, of as many as are tried.

The tree of possible orders is grown only where draws lead, and each end is worked out once: a
question that comes again costs one random number and one look-up per attempt.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from math import log

from routing.core.catalog import Endpoint
from routing.core.decision import Plan
from routing.core.forks import Fork, Group, Step
from routing.core.policies import PolicyDocument

Finish = Callable[[tuple[Endpoint, ...]], Plan]


class DrawTree:
    """`finish` turns the endpoints to try into the plan; it is asked once per order."""

    __slots__ = (
        "_finish",
        "_finish_at",
        "_from_home",
        "_limit",
        "_root",
        "_steps",
        "homes",
        "settings",
    )

    def __init__(
        self,
        steps: Sequence[Step],
        limit: int,
        finish: Finish,
        settings: PolicyDocument,
        homes: Mapping[int, Endpoint] | None = None,
        finish_at: Callable[[Endpoint], Finish] | None = None,
    ) -> None:
        """`homes` are those that a conversation may stay at, by id; `finish_at` is theirs."""
        self.settings = settings
        self.homes = homes or {}
        self._finish_at = finish_at
        self._steps = tuple(steps)
        self._from_home: dict[int, DrawTree] = {}
        self._limit = limit
        self._finish = finish
        self._root = self._go_on((), tuple(steps))

    def draw(self, random: Callable[[], float]) -> Plan:
        node = self._root
        while isinstance(node, _Node):
            place = bisect_right(node.ends, random() * node.total)
            node = node.nexts[place] or self._grow(node, place)
        return node

    def draw_for(self, identity: str) -> Plan:
        """The same plan for the same identity, which moves only where a weight or an endpoint does.

        Each endpoint waits an exponential time with its weight as the rate, by a clock of its own
        for each identity; the order of arrival is a weighted draw (Efraimidis and Spirakis, 2006).
        """
        node = self._root
        while isinstance(node, _Node):
            if node.fork is not None:
                place = bisect_right(node.ends, _chance(identity, "fork") * node.total)
            else:
                place = _first_to_arrive(identity, node.endpoints, node.weights)
            node = node.nexts[place] or self._grow(node, place)
        return node

    def staying_at(self, home_id: int) -> DrawTree:
        """The draw of those that come after this one of `homes`."""
        found = self._from_home.get(home_id)
        if found is None:
            home = self.homes[home_id]
            steps = (Group((home,)), *(_without(home, step) for step in self._steps))
            finish = self._finish if self._finish_at is None else self._finish_at(home)
            found = DrawTree(steps, self._limit, finish, self.settings)
            self._from_home[home_id] = found
        return found

    def _grow(self, node: _Node, place: int) -> _Node | Plan:
        chosen, endpoints, weights = node.chosen, node.endpoints, node.weights
        grown: _Node | Plan
        if node.fork is not None:
            grown = self._go_on(chosen, (*node.fork.ways[place], *node.later))
        else:
            chosen = (*chosen, endpoints[place])
            left = endpoints[:place] + endpoints[place + 1 :]
            if len(left) > 1 and len(chosen) < self._limit:
                rest = weights[:place] + weights[place + 1 :]
                grown = _Node(chosen, left, rest, None, node.later)
            else:
                grown = self._go_on(chosen + left, node.later)
        node.nexts[place] = grown
        return grown

    def _go_on(self, chosen: tuple[Endpoint, ...], steps: tuple[Step, ...]) -> _Node | Plan:
        """Takes what needs no draw: groups in a given order, and groups of one."""
        while steps and len(chosen) < self._limit:
            step, steps = steps[0], steps[1:]
            if isinstance(step, Fork):
                return _Node(chosen, (), step.shares, step, steps)
            if step.weights is not None and len(step.endpoints) > 1:
                return _Node(chosen, step.endpoints, step.weights, None, steps)
            chosen += step.endpoints
        return self._finish(chosen[: self._limit])


class _Node:
    """After some endpoints were chosen: what may come next, with which shares."""

    __slots__ = ("chosen", "endpoints", "ends", "fork", "later", "nexts", "total", "weights")

    def __init__(
        self,
        chosen: tuple[Endpoint, ...],
        endpoints: tuple[Endpoint, ...],
        weights: tuple[float, ...],
        fork: Fork | None,
        later: tuple[Step, ...],
    ) -> None:
        self.chosen = chosen
        self.endpoints = endpoints
        self.weights = weights
        self.fork = fork
        self.later = later
        ends = list(accumulate(weights))
        self.total = ends.pop()
        self.ends = ends  # without the last one, so that every number up to it finds a place
        self.nexts: list[_Node | Plan | None] = [None] * len(weights)


def _without(gone: Endpoint, step: Step) -> Step:
    if isinstance(step, Fork):
        ways = tuple([tuple([_fewer(gone, group) for group in way]) for way in step.ways])
        return Fork(step.shares, ways)
    return _fewer(gone, step)


def _fewer(gone: Endpoint, group: Group) -> Group:
    kept = [i for i, one in enumerate(group.endpoints) if one is not gone]
    weights = group.weights
    return Group(
        tuple([group.endpoints[i] for i in kept]),
        None if weights is None else tuple([weights[i] for i in kept]),
    )


def _first_to_arrive(identity: str, endpoints: Sequence[Endpoint], weights: Sequence[float]) -> int:
    waits = [
        -log(_chance(identity, str(endpoint.id))) / weight
        for endpoint, weight in zip(endpoints, weights, strict=True)
    ]
    return waits.index(min(waits))


def _chance(identity: str, what: str) -> float:
    """A number between 0 and 1, both excluded, that never changes."""
    digest = blake2b(f"{identity}\0{what}".encode(), digest_size=6).digest()
    return (int.from_bytes(digest) + 0.5) / 2**48
