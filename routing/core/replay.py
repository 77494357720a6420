"""A request that was answered with the kept answer of another one (see `Idempotency-Key`).

It has a row of its own in the log, of its own kind, so that no sum of traffic, success or cost counts
the answer twice. Nothing was decided for it: where the decision would stand is whose answer it was.
"""

from __future__ import annotations

from typing import Any

import msgspec

KIND = "replay"
_ORIGINAL = "replay_of"


def replay_json(original: str) -> bytes:
    """`original` is the id of the request that was answered first."""
    return msgspec.json.encode({_ORIGINAL: original})


def original_in(stored: Any) -> str:
    """From what the log has in the place of a decision; "" for a decision."""
    found = stored.get(_ORIGINAL) if isinstance(stored, dict) else None
    return found if isinstance(found, str) else ""
