"""What one process saw of an endpoint since it last told, for the others to add to their own.

Sums of weights and of logarithms merge by adding; all are as of the moment they were told, decayed
like everything the teller keeps.
"""

from __future__ import annotations

from collections.abc import Callable

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
    endpoint_id: int
    success: Sums  # of 1 for a success and 0 for a failure
    log_ttft: Sums  # of the logarithm of milliseconds
    log_speed: Sums  # of the logarithm of tokens per second

    @property
    def is_sound(self) -> bool:
        return self.success.is_sound and self.log_ttft.is_sound and self.log_speed.is_sound


MOST_WEIGHT = 1e7  # observations between two tellings
MOST_LOG = 50.0
NEGLIGIBLE_WEIGHT = 1e-6

encode: Callable[[list[Sighting]], bytes] = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(list[Sighting])


def decode(data: bytes | str) -> list[Sighting]:
    """Raises msgspec.MsgspecError on what is no such list."""
    return [one for one in _decoder.decode(data) if one.is_sound]
