"""What the quirks of a provider mean for plain calls."""

from __future__ import annotations

import msgspec

from routing.adapters.quirks import Quirks


class Way(msgspec.Struct, frozen=True):
    """How plain calls go to the providers of one quirk record."""

    quirks: Quirks  # kept, so that nothing else can have its id
    carried: frozenset[str]  # plain fields that go as they are, but for the limit's name
    limit: str  # the limit's name there; "" for the one it came under
    other_limit: str
    asks_usage: bool  # in `stream_options`
