"""Drawing the order of attempts: a weighted draw without replacement, of as many as are tried.

The tree of possible orders is grown only where draws lead, and each end is worked out once: a
question that comes again costs one random number and one look-up per attempt.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import accumulate
from math import log
from typing import TypeVar

import msgspec

from routing.core.catalog import Endpoint
from routing.core.decision import Plan
from routing.core.policies import PolicyDocument

T = TypeVar("T")


class Group(msgspec.Struct, frozen=True):
    """Endpoints tried before those of the next group; without weights in their given order."""

    endpoints: tuple[Endpoint, ...]
    weights: tuple[float, ...] | None = None  # all above zero


class Fork(msgspec.Struct, frozen=True):
    """One of two ways to go on: with this share the first."""

    share: float
    first: tuple[Group, ...]
    second: tuple[Group, ...]


Step = Group | Fork


class DrawTree:
    """`finish` turns the endpoints to try into the plan; it is asked once per order."""

    __slots__ = ("_finish", "_limit", "_root", "settings")

    def __init__(
        self,
        groups: Sequence[Step],
        limit: int,
        finish: Callable[[tuple[Endpoint, ...]], Plan],
        settings: PolicyDocument,
    ) -> None:
        self.settings = settings
        self._limit = limit
        self._finish = finish
        self._root = self._node((), tuple(groups))

    def draw(self, random: Callable[[], float]) -> Plan:
        node = self._root
        while node.plan is None:
            place = bisect_right(node.ends, random() * node.total)
            node = node.nexts[place] or self._grow(node, place)
        return node.plan

    def draw_for(self, identity: str) -> Plan:
        """The same plan for the same identity, which moves only where a weight or an endpoint does.

        Each endpoint waits an exponential time with its weight as the rate, by a clock of its own
        for each identity; the order of arrival is a weighted draw (Efraimidis and Spirakis, 2006).
        """
        node = self._root
        while node.plan is None:
            step = node.groups[0]
            if isinstance(step, Fork):
                place = 0 if _chance(identity, "fork") < step.share else 1
            else:
                place = _first_to_arrive(identity, step)
            node = node.nexts[place] or self._grow(node, place)
        return node.plan

    def _grow(self, node: _Node, place: int) -> _Node:
        step, *later = node.groups
        if isinstance(step, Fork):
            child = self._node(node.chosen, (*(step.second if place else step.first), *later))
        else:
            left = Group(_without(step.endpoints, place), _without(step.weights or (), place))
            child = self._node((*node.chosen, step.endpoints[place]), (left, *later))
        node.nexts[place] = child
        return child

    def _node(self, chosen: tuple[Endpoint, ...], groups: tuple[Step, ...]) -> _Node:
        """Takes what needs no draw: groups in a given order, and the last one of a draw."""
        while groups and len(chosen) < self._limit:
            first = groups[0]
            if isinstance(first, Fork):
                return _Node(chosen, groups, None)
            if first.weights is not None and len(first.endpoints) > 1:
                return _Node(chosen, groups, None)
            chosen += first.endpoints
            groups = groups[1:]
        return _Node(chosen, (), self._finish(chosen[: self._limit]))


class _Node:
    """After some endpoints were chosen: the plan, or the shares of those that may come next."""

    __slots__ = ("chosen", "ends", "groups", "nexts", "plan", "total")

    def __init__(
        self, chosen: tuple[Endpoint, ...], groups: tuple[Step, ...], plan: Plan | None
    ) -> None:
        self.chosen = chosen
        self.groups = groups
        self.plan = plan
        weights = _weights(groups[0]) if groups else ()
        ends = list(accumulate(weights)) or [0.0]
        self.total = ends.pop()
        self.ends = ends  # without the last one, so that every number up to it finds a place
        self.nexts: list[_Node | None] = [None] * len(weights)


def _weights(step: Step) -> tuple[float, ...]:
    if isinstance(step, Fork):
        return (step.share, 1.0 - step.share)
    return step.weights or ()


def _first_to_arrive(identity: str, group: Group) -> int:
    waits = [
        -log(_chance(identity, str(endpoint.id))) / weight
        for endpoint, weight in zip(group.endpoints, group.weights or (), strict=True)
    ]
    return waits.index(min(waits))


def _chance(identity: str, what: str) -> float:
    """A number between 0 and 1, both excluded, that never changes."""
    digest = blake2b(f"{identity}\0{what}".encode(), digest_size=6).digest()
    return (int.from_bytes(digest) + 0.5) / 2**48


def _without(values: tuple[T, ...], place: int) -> tuple[T, ...]:
    return values[:place] + values[place + 1 :]
