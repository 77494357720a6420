"""Drawing the order of attempts: a weighted draw without replacement, over as many as are tried.

The tree of possible orders is grown only where draws lead, and each end is worked out once: a
question that comes again costs one random number and one look-up per attempt.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TypeVar

import msgspec

from routing.core.catalog import Endpoint
from routing.core.decision import Plan

T = TypeVar("T")


class Group(msgspec.Struct, frozen=True):
    """Endpoints tried before those of the next group; without weights in their given order."""

    endpoints: tuple[Endpoint, ...]
    weights: tuple[float, ...] | None = None  # all above zero


class DrawTree:
    """`finish` turns the endpoints to try into the plan; it is asked once per order."""

    __slots__ = ("_finish", "_limit", "_root")

    def __init__(
        self,
        groups: Sequence[Group],
        limit: int,
        finish: Callable[[tuple[Endpoint, ...]], Plan],
    ) -> None:
        self._limit = limit
        self._finish = finish
        self._root = self._node((), tuple(groups))

    def draw(self, random: Callable[[], float]) -> Plan:
        node = self._root
        while node.plan is None:
            place = bisect_right(node.ends, random() * node.total)
            node = node.nexts[place] or self._grow(node, place)
        return node.plan

    def _grow(self, node: _Node, place: int) -> _Node:
        first, *later = node.groups
        weights = first.weights or ()
        left = Group(_without(first.endpoints, place), _without(weights, place))
        child = self._node((*node.chosen, first.endpoints[place]), (left, *later))
        node.nexts[place] = child
        return child

    def _node(self, chosen: tuple[Endpoint, ...], groups: tuple[Group, ...]) -> _Node:
        """Takes what needs no draw: groups in a given order, and the last one of a draw."""
        while groups and len(chosen) < self._limit:
            first = groups[0]
            if first.weights is not None and len(first.endpoints) > 1:
                return _Node(chosen, groups, None)
            chosen += first.endpoints
            groups = groups[1:]
        return _Node(chosen, (), self._finish(chosen[: self._limit]))


class _Node:
    """After some endpoints were chosen: the plan, or the shares of those that may come next."""

    __slots__ = ("chosen", "ends", "groups", "nexts", "plan", "total")

    def __init__(
        self, chosen: tuple[Endpoint, ...], groups: tuple[Group, ...], plan: Plan | None
    ) -> None:
        self.chosen = chosen
        self.groups = groups
        self.plan = plan
        weights = (groups[0].weights or ()) if groups else ()
        ends = list(accumulate(weights)) or [0.0]
        self.total = ends.pop()
        self.ends = ends  # without the last one, so that every number up to it finds a place
        self.nexts: list[_Node | None] = [None] * len(weights)


def _without(values: tuple[T, ...], place: int) -> tuple[T, ...]:
    return values[:place] + values[place + 1 :]
