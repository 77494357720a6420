"""A gateway over sockets between OpenAI's client and two played providers of the same models.

`openai` takes Responses as they are; `plain` takes chat only.
"""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
from typing_extensions import override

from routing.adapters.quirks import Quirks
from routing.adapters.registry import spoken_beside
from routing.core.catalog import Endpoint, Model
from routing.core.pricing import PriceSheet
from routing.gateway.app import GatewayApp
from routing.simulator.server import ThreadedSimulator
from routing.surfaces.responses import ResponsesSurface
from tests.routing import factories
from tests.routing.gateway.played import AUTH, ServedHub
from tests.routing.simulator import plays
from tests.routing.surfaces.responses.support import MemoryStore

QUIRKS = {"responses_path": "/responses", "max_tokens_field": "max_completion_tokens"}
THINKER, TALKER = "openai/gpt-thinks", "openai/gpt-talks"
PRICES = {"input": "2", "cache_read": "0.5", "output": "8", "search": "0.01"}
PRIORITY = {"input": "3", "cache_read": "0.7", "output": "12"}
WHAT_IT_CAN = {
    THINKER: [*plays.EVERYTHING, "reasoning", "vision", "prompt_cache"],
    TALKER: [*plays.EVERYTHING, "vision"],
}


def _rows() -> list[tuple[str, str, str]]:
    usual = [(meter, usd, "") for meter, usd in PRICES.items()]
    return usual + [(meter, usd, "priority") for meter, usd in PRIORITY.items()]


CATALOG: dict[str, Any] = {
    "format": "panelboard-catalog/1",
    "providers": [
        plays.provider("openai", "https://api.openai.com/v1", quirks=QUIRKS),
        plays.provider("plain", "https://api.plain.example/v1"),
    ],
    "models": [],
    "endpoints": [
        plays.endpoint(
            slug,
            model,
            [plays.price(meter, usd, service_tier=tier) for meter, usd, tier in _rows()],
            model,
            capabilities=capabilities,
        )
        for slug in ("openai", "plain")
        for model, capabilities in WHAT_IT_CAN.items()
    ],
}


class LiveHub(ServedHub):
    def __init__(self, simulator: ThreadedSimulator, **rules: Any) -> None:
        policy = factories.policy(objective="ordered", order=("openai", "plain"), **rules)
        super().__init__(simulator, _endpoints(simulator), policy)
        self.store = MemoryStore()

    @override
    def app(self) -> GatewayApp:
        surfaces = {"/v1/responses": ResponsesSurface(self.store)}
        return GatewayApp(self.gateway, surfaces, self.store)

    async def post(self, *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        asked = {"model": TALKER, "input": "hi", **body}
        async with httpx.AsyncClient(trust_env=False, headers=AUTH) as http:
            return await http.post(f"{self.url}/responses", json=asked, headers=headers)

    def sent(self, place: int = -1) -> dict[str, Any]:
        """A body as a provider received it."""
        body: dict[str, Any] = self.simulator.received()[place]["body"]
        return body

    def asked_at(self) -> list[str]:
        """Which provider at which address, in order."""
        return [
            f"{one['provider']} {one['path'].rpartition('/v1')[2]}"
            for one in self.simulator.received()
        ]


def _endpoints(simulator: ThreadedSimulator) -> list[Endpoint]:
    made = []
    for number, row in enumerate(CATALOG["endpoints"], 1):
        slug, name = row["provider"], row["model"]
        quirks = Quirks(**QUIRKS) if slug == "openai" else Quirks()  # type: ignore[arg-type]
        home = factories.provider(
            slug,
            1 if slug == "openai" else 2,
            simulator.base_url(slug),
            quirks,
            also_speaks=spoken_beside(quirks),
        )
        rows = [
            factories.price(meter, usd, 100 * number + place, service_tier=tier)
            for place, (meter, usd, tier) in enumerate(_rows())
        ]
        made.append(
            factories.endpoint(
                slug,
                number,
                of=Model(id=number, name=name, maker="OpenAI", created=1),
                at=home,
                capabilities=frozenset(WHAT_IT_CAN[name]),
            )
        )
        made[-1] = msgspec.structs.replace(made[-1], prices=PriceSheet(rows))
    return made
