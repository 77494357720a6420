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

    @property
    def is_sound(self) -> bool:
        """What another process wrote is not taken on trust."""
        return 0.0 <= self.weight < MOST_WEIGHT and abs(self.total) < MOST_WEIGHT * MOST_LOG


class Sighting(msgspec.Struct, frozen=True, array_like=True):
    """`sums` are those of `EndpointHealth.means`, in that order; a newer process may tell more."""

    endpoint_id: int
    sums: tuple[Sums, ...]

    @property
    def is_sound(self) -> bool:
        return all(one.is_sound for one in self.sums)


MOST_WEIGHT = 1e7  # observations between two tellings
MOST_LOG = 50.0
NEGLIGIBLE_WEIGHT = 1e-6
