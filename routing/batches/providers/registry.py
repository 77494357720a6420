"""Which ways there are: a provider's quirk `batches` names one."""

from __future__ import annotations

from routing.adapters.quirks import Quirks
from routing.batches.providers.anthropic_way import AnthropicWay
from routing.batches.providers.gemini_way import GeminiWay
from routing.batches.providers.mistral_way import MistralWay
from routing.batches.providers.openai_way import OpenAIWay
from routing.batches.providers.ways import Way
from routing.core.catalog import Endpoint

WAYS: dict[str, Way] = {
    "openai": OpenAIWay(),
    "anthropic": AnthropicWay(),
    "gemini": GeminiWay(),
    "mistral": MistralWay(),
}


def way_of(endpoint: Endpoint) -> Way | None:
    """None where batches cannot go there."""
    quirks: Quirks = endpoint.provider.quirks
    way = WAYS.get(quirks.batches)
    fits = way is not None and endpoint.kind in way.kinds and endpoint.credentials
    return way if fits else None
