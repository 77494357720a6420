from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import httpx
import pytest

from tests.support.fast_hub import fast_hub
from tests.support.hub_tools import MODEL, raw_client

EMBEDDING_MODEL = "openai/text-embedding-3-small"


@pytest.fixture(scope="module")
def told() -> Iterator[Mapping[str, str]]:
    """What a client's script has to know of a hub, as its environment."""
    with fast_hub() as hub:
        with raw_client(hub) as http:
            models = _one_of_each_dialect(http)
        yield {
            "HUB_URL": hub.url,
            "HUB_KEY": hub.api_key,
            "HUB_MODELS": json.dumps(models),
            "HUB_EMBEDDING_MODEL": EMBEDDING_MODEL,
        }


def _one_of_each_dialect(http: httpx.Client) -> dict[str, str]:
    listed = {
        model["id"]: {entry["provider"] for entry in model["providers"]}
        for model in http.get("/v1/models").json()["data"]
    }
    return {
        "openai_compat": f"{MODEL}:groq",
        "anthropic": next(name for name, hosts in listed.items() if hosts == {"anthropic"}),
        "gemini": next(name for name, hosts in listed.items() if hosts == {"gemini"}),
    }
