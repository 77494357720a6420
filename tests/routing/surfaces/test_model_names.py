"""What an answer names as its model, whoever asks and whoever answers.

In every dialect it is the provider's own word, as in an answer of chat, which passes byte for byte;
the hub's name for the model is in a header.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from typing_extensions import override

from routing.adapters.registry import spoken_beside
from routing.core.catalog import Endpoint
from routing.gateway.app import GatewayApp
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from routing.surfaces.base import Surface
from routing.surfaces.completions import CompletionsSurface
from routing.surfaces.messages.surface import MessagesSurface
from routing.surfaces.responses import ResponsesSurface
from tests.routing.factories import policy
from tests.routing.gateway.played import AUTH, ServedHub
from tests.routing.kinds.support import catalog, endpoint_of, record_of

SURFACES: dict[str, Surface] = {
    "/v1/messages": MessagesSurface(),
    "/v1/responses": ResponsesSurface(),
    "/v1/completions": CompletionsSurface(),
}
SAID = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
ASKED: dict[str, dict[str, Any]] = {
    "/chat/completions": SAID,
    "/messages": SAID,
    "/responses": {"input": "hi"},
    "/completions": {"prompt": "hi", "max_tokens": 20},
}
MODELS = {  # a provider of each dialect that answers
    "openai": "gpt-4o-mini",
    "groq": "llama-3.1-8b-instant",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
}


def _endpoint(simulator: ThreadedSimulator, slug: str, number: int) -> Endpoint:
    made = endpoint_of(record_of(slug, MODELS[slug]), simulator.base_url(slug), number)
    speaks = spoken_beside(made.provider.quirks)
    home = msgspec.structs.replace(made.provider, also_speaks=speaks)
    return msgspec.structs.replace(made, provider=home)


class Hub(ServedHub):
    def __init__(self, simulator: ThreadedSimulator) -> None:
        endpoints = [_endpoint(simulator, slug, i) for i, slug in enumerate(MODELS, 1)]
        super().__init__(simulator, endpoints, policy())
        self.names = {one.provider.slug: one.model.name for one in endpoints}

    @override
    def app(self) -> GatewayApp:
        return GatewayApp(self.gateway, SURFACES)

    async def ask(self, path: str, slug: str, **more: Any) -> httpx.Response:
        asked = {"model": f"{self.names[slug]}:cheapest", **ASKED[path], **more}
        async with httpx.AsyncClient(trust_env=False, headers=AUTH) as http:
            return await http.post(self.url + path, json=asked)


@pytest.fixture(scope="module")
def simulator() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(catalog(), Options(speed=0)) as running:
        yield running


@pytest.fixture
async def hub(simulator: ThreadedSimulator) -> AsyncIterator[Hub]:
    hub = Hub(simulator)
    async with hub.served():
        yield hub


def names_in(content: bytes) -> set[str]:
    """Every model that an answer names, whole or in the events of a stream."""
    lines = [line.removeprefix(b"data: ") for line in content.splitlines()]
    found = set()
    for document in (json.loads(line) for line in lines if line.startswith(b"{")):
        for holder in (document, document.get("message"), document.get("response")):
            if isinstance(holder, dict) and "model" in holder:
                found.add(holder["model"])
    return found


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("slug", MODELS)
@pytest.mark.parametrize("path", ASKED)
async def test_an_answer_names_the_model_as_its_provider_does(
    hub: Hub, path: str, slug: str, stream: bool
) -> None:
    answer = await hub.ask(path, slug, stream=stream)
    assert answer.status_code == 200, answer.text
    assert names_in(answer.content) == {hub.finish.response_model}
    assert hub.finish.response_model.startswith(MODELS[slug])
    assert answer.headers["x-panelboard-model"] == hub.names[slug]
