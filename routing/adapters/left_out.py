"""Naming what could not be carried over: clients choose the names, and the log keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

MOST_NAMES = 256
MOST_NAME_CHARS = 80


def named(names: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order they came; no more of it than a log can hold."""
    return tuple(islice(dict.fromkeys(name[:MOST_NAME_CHARS] for name in names), MOST_NAMES))
