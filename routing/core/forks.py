"""The steps of a draw: who is tried before whom, and where ways part."""

from __future__ import annotations

import msgspec

from routing.core.catalog import Endpoint


class Group(msgspec.Struct, frozen=True):
    """Endpoints tried before those of the next group; without weights in their given order."""

    endpoints: tuple[Endpoint, ...]
    weights: tuple[float, ...] | None = None  # all above zero


class Fork(msgspec.Struct, frozen=True):
    """One of several ways to go on, each with its share."""

    shares: tuple[float, ...]  # all above zero, and one in all
    ways: tuple[tuple[Group, ...], ...]


Step = Group | Fork
