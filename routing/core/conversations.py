"""Where conversations were answered last: there the provider's cache still holds their beginning.

In this process's memory alone, bounded, and forgotten after a while without a request. Processes
that know nothing of a conversation all draw the same endpoint for it (see core.draw).
"""

from __future__ import annotations

from collections import OrderedDict

from routing.core.request import RequestFacts

MOST_KEPT = 50_000

_Key = tuple[int, str, str]


class Conversations:
    """One per gateway process. Times are monotonic seconds."""

    __slots__ = ("_homes",)

    def __init__(self) -> None:
        self._homes: OrderedDict[_Key, tuple[int, float]] = OrderedDict()

    def note(self, facts: RequestFacts, endpoint_id: int, now: float) -> None:
        """The endpoint answered a request of the conversation."""
        homes, key = self._homes, (facts.key_id, facts.model, facts.conversation)
        homes[key] = endpoint_id, now
        homes.move_to_end(key)
        if len(homes) > MOST_KEPT:
            homes.popitem(last=False)

    def home_of(self, facts: RequestFacts, now: float, most_idle_s: float) -> int:
        """The id of the endpoint, 0 where there is none or it was too long ago."""
        found = self._homes.get((facts.key_id, facts.model, facts.conversation))
        if found is None or now - found[1] > most_idle_s:
            return 0
        return found[0]

    def __len__(self) -> int:
        return len(self._homes)
