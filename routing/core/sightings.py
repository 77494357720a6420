"""What one process saw of an endpoint since it last told, for the others to add to their own.

Sums of weights and of logarithms merge by adding; all are as of the moment they were told, decayed
like everything the teller keeps.
"""

from __future__ import annotations

import msgspec


class Sums(msgspec.Struct, frozen=True, array_like=True):
    weight: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def is_of(self, least: float, most: float) -> bool:
        """Whether observations from `least` to `most` can add up to this."""
        weight, slack = self.weight, ROUNDING * self.weight
        largest = max(least * least, most * most)
        return (
            0.0 <= weight < MOST_WEIGHT
            and least * weight - slack <= self.total <= most * weight + slack
            and -slack <= self.squares <= largest * weight + slack
        )


class Sighting(msgspec.Struct, frozen=True, array_like=True):
    """`sums` are those of `EndpointHealth.means`, in that order; a newer process may tell more."""

    endpoint_id: int
    sums: tuple[Sums, ...]

    @property
    def is_sound(self) -> bool:
        """What another process wrote is not taken on trust."""
        return all(one.is_of(*bounds) for one, bounds in zip(self.sums, RANGES, strict=False))


MOST_WEIGHT = 1e7  # observations between two tellings
ROUNDING = 1e-6  # of the weight: differences of large sums are told
SHARE, LOGARITHM = (0.0, 1.0), (-50.0, 50.0)
RANGES = (SHARE, LOGARITHM, LOGARITHM, SHARE, SHARE)  # of `EndpointHealth.means`
NEGLIGIBLE_WEIGHT = 1e-6


LONGEST_ANSWER = 1e7  # tokens


class LengthSighting(msgspec.Struct, frozen=True, array_like=True):
    key_id: int
    model: str
    answers: float
    tokens: float

    @property
    def is_sound(self) -> bool:
        return 0.0 < self.answers < 1e7 and 0.0 <= self.tokens < self.answers * LONGEST_ANSWER
