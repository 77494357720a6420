"""What a request says that only an endpoint speaking the client's own dialect can be told."""

from __future__ import annotations

from routing.core.request import RequestFacts, needing
from routing.surfaces.base import Voice


def with_essentials(facts: RequestFacts, voice: Voice) -> RequestFacts:
    """Facts by which no endpoint is planned that would be asked another question."""
    if voice.native is None or not voice.essential:
        return facts
    return needing(facts, voice.native.dialect, voice.essential)
