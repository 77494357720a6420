"""Requests that go elsewhere so that every endpoint stays measured: few, and at a bounded cost.

An endpoint that was seen lately needs hardly any. A dear one gets so few that all of exploration
adds no more than a small share to the expected cost of a request; what it adds is in the decision.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from routing.core.policies import Exploration

BALANCED = Exploration(share=0.02)
SERVICE_LEVEL = Exploration(share=0.01)
NONE = Exploration(share=0.0)
SEEN_LATELY = 5.0  # observations of the last minutes: with so many
LEAST_NEED = 0.1  # this part of the share is left


class Spread(msgspec.Struct, frozen=True):
    shares: Sequence[float]  # by index: of all requests, to be tried there for its own sake
    extra_cost_pico: int  # what that adds to the expected cost of a request, or saves
    usual_cost_pico: int = 0  # what it is expected to cost without

    @property
    def total(self) -> float:
        return sum(self.shares)


def need(seen_lately: float) -> float:
    """From 1 for an endpoint of which nothing was seen lately down to LEAST_NEED."""
    return max(1.0 - seen_lately / SEEN_LATELY, LEAST_NEED)


def spread(
    wanted: Exploration,
    shares: Sequence[float],
    costs_pico: Sequence[int],
    needs: Sequence[float],
) -> Spread:
    """`shares` are those without exploration; who has all of them is not explored."""
    n = len(shares)
    usual_pico = sum(share * cost for share, cost in zip(shares, costs_pico, strict=True))
    most = min(wanted.share, 1.0 / n)
    each_pico = wanted.max_extra_cost * usual_pico / n  # that a single one may add
    found = [
        0.0 if share >= 1.0 else _bounded(most * lack, cost - usual_pico, each_pico)
        for share, cost, lack in zip(shares, costs_pico, needs, strict=True)
    ]
    pairs = zip(found, costs_pico, strict=True)
    extra_pico = sum(share * (cost - usual_pico) for share, cost in pairs)
    return Spread(found, round(extra_pico), round(usual_pico))


def _bounded(share: float, extra_pico: float, most_pico: float) -> float:
    return share if share * extra_pico <= most_pico else most_pico / extra_pico


def mixed(shares: Sequence[float], explored: Spread) -> list[float]:
    """The chance of being tried first, for either reason."""
    left = 1.0 - explored.total
    return [own + left * share for own, share in zip(explored.shares, shares, strict=True)]
