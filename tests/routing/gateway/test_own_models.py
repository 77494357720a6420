"""Models of one's own: fine-tuned, LoRA adapters and tuned ones, by ids full of colons and slashes.

They are catalog records like all others. What the provider calls them goes out as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from routing.catalog.files import SHIPPED, read
from routing.core.catalog import Endpoint
from routing.services import catalog as catalog_service
from routing.services.snapshots import load_snapshot
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from tests.routing import factories
from tests.routing.kinds.live import LiveHub
from tests.routing.kinds.support import catalog, endpoint_of, record_of

# provider -> (a model of it, one's own as the provider calls it, and as clients of the hub do)
OWN = {
    "openai": ("gpt-4.1", "ft:gpt-4.1-2025-04-14:acme:panel:Bx1", None),
    "fireworks": (
        "accounts/fireworks/models/gpt-oss-120b",
        "accounts/acme/models/panel-lora#accounts/acme/deployments/d1",
        "acme/panel-lora",
    ),
    "together": ("openai/gpt-oss-120b", "acme/gpt-oss-120b-panel-1a2b3c", None),
    "gemini": ("gemini-2.5-flash", "tunedModels/panel-abc123", "acme/panel-gemini"),
}


def name_of(slug: str) -> str:
    _, upstream, own_name = OWN[slug]
    return own_name or upstream


def documents() -> list[dict[str, Any]]:
    """The shipped catalog, and one's own models at the prices of those that they were made of."""
    endpoints = [
        {**record_of(slug, base), "model": name_of(slug), "upstream_model": upstream}
        for slug, (base, upstream, _) in OWN.items()
    ]
    models = [{"name": name_of(slug)} for slug in OWN]
    own = {"format": "panelboard-catalog/1", "models": models, "endpoints": endpoints}
    return [*catalog(), own]


def own_endpoint(slug: str, number: int, simulator: ThreadedSimulator) -> Endpoint:
    base, upstream, _ = OWN[slug]
    made = endpoint_of(record_of(slug, base), simulator.base_url(slug), number)
    return msgspec.structs.replace(
        made, upstream_model=upstream, model=factories.model(name_of(slug), number)
    )


@pytest.fixture(scope="module")
def played() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(documents(), Options(speed=0, keep_requests=True)) as running:
        yield running


@pytest.fixture
async def hub(played: ThreadedSimulator) -> AsyncIterator[LiveHub]:
    played.clear()
    own = [own_endpoint(slug, 9000 + at, played) for at, slug in enumerate(OWN)]
    hub = LiveHub(played, more=own)
    async with hub.served():
        yield hub
    assert played.violations() == []
    assert hub.cost() == hub.billed() > 0


@pytest.mark.parametrize("slug", OWN)
@pytest.mark.parametrize("suffix", ["", ":cheapest", ":{slug}"])
async def test_ones_own_model_is_asked_for_by_its_id(hub: LiveHub, slug: str, suffix: str) -> None:
    async with hub.client() as client:
        answer = await client.chat.completions.create(
            model=name_of(slug) + suffix.format(slug=slug),
            messages=[{"role": "user", "content": "hi"}],
        )
    assert answer.choices[0].message.content
    (row,) = hub.simulator.journal()
    assert row.model == OWN[slug][1]
    assert hub.spool.done.requested_model.startswith(name_of(slug))


@pytest.mark.parametrize("slug", OWN)
async def test_ones_own_model_streams(hub: LiveHub, slug: str) -> None:
    async with hub.client() as client:
        stream = await client.chat.completions.create(
            model=name_of(slug), messages=[{"role": "user", "content": "hi"}], stream=True
        )
        pieces = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
    assert "".join(filter(None, pieces))


@pytest.mark.django_db
def test_such_ids_may_be_loaded_into_the_catalog() -> None:
    catalog_service.load_all(read(SHIPPED))
    catalog_service.load(documents()[-1])
    snapshot = load_snapshot()
    for slug, (_, upstream, _) in OWN.items():
        (endpoint,) = snapshot.endpoints_of[name_of(slug)]
        assert (endpoint.provider.slug, endpoint.upstream_model) == (slug, upstream)
