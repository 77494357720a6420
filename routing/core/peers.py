"""Figures of endpoints that little is known of, drawn towards what is typical of their peers.

Three slow answers do not make an endpoint slow for ever, nor three quick ones the quickest.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

import msgspec

from routing.core.measures import Numbers

PEERS_COUNT_AS = 4.0  # observations, for an endpoint that has none of its own
ENOUGH = 20.0  # observations of its own: with so many peers say nothing


def numbers_among_peers(found: Sequence[Numbers]) -> Sequence[Numbers]:
    """The same objects where nothing is to be changed, the common case."""
    if len(found) < 2 or all(not 0.0 < one.weight < ENOUGH for one in found):
        return found
    typical = _Typical(found)
    return [typical.drawn(one) if 0.0 < one.weight < ENOUGH else one for one in found]


class _Typical:
    def __init__(self, found: Sequence[Numbers]) -> None:
        self.log_ttft = _mean([(_log(one.ttft_ms), one.weight) for one in found])
        self.log_speed = _mean([(_log(one.speed_tps), one.weight) for one in found])
        self.success = _mean([(one.success_rate, one.weight) for one in found])

    def drawn(self, one: Numbers) -> Numbers:
        pull = PEERS_COUNT_AS * (1.0 - one.weight / ENOUGH)
        own = one.weight / (one.weight + pull)
        return msgspec.structs.replace(
            one,
            ttft_ms=_exp(_between(_log(one.ttft_ms), self.log_ttft, own)),
            speed_tps=_exp(_between(_log(one.speed_tps), self.log_speed, own)),
            success_rate=_between(one.success_rate, self.success, own),
        )


def _mean(pairs: Sequence[tuple[float | None, float]]) -> float | None:
    known = [(value, min(weight, ENOUGH)) for value, weight in pairs if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None


def _between(value: float | None, typical: float | None, own: float) -> float | None:
    """What was never measured stays unmeasured."""
    if value is None or typical is None:
        return value
    return own * value + (1.0 - own) * typical


def _log(value: float | None) -> float | None:
    return log(value) if value else None


def _exp(value: float | None) -> float | None:
    return None if value is None else exp(value)
