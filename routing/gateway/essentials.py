"""What a request says that only an endpoint speaking the client's own dialect can be told."""

from __future__ import annotations

import msgspec

from routing.core.request import RequestFacts, needing
from routing.core.usage import Meter
from routing.surfaces.base import Voice

SEARCHES = "tools.web_search"  # one at least is expected, and has its price


def with_essentials(facts: RequestFacts, voice: Voice) -> RequestFacts:
    """Facts by which no endpoint is planned that would be asked another question."""
    if voice.native is None or not voice.essential:
        return facts
    if any(word.startswith(SEARCHES) for word in voice.essential):
        facts = msgspec.structs.replace(facts, pieces=(*facts.pieces, (Meter.SEARCH, 1)))
    return needing(facts, voice.native.dialect, voice.essential)
