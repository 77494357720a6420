"""A gateway over sockets between OpenAI's client and two played providers of the same models.

`openai` takes Responses as they are; `plain` takes chat only.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from decimal import Decimal
from random import Random
from typing import Any

import httpx
import msgspec
import uvicorn
from openai import AsyncOpenAI

from routing.adapters.quirks import Quirks
from routing.adapters.registry import spoken_beside
from routing.core.catalog import Endpoint, Model
from routing.core.deadlines import Deadlines
from routing.core.pricing import PriceSheet
from routing.core.record import Finish
from routing.gateway.app import GatewayApp
from routing.gateway.service import Gateway, GatewaySettings
from routing.gateway.upstream.guard import AllowList
from routing.gateway.upstream.registry import make_upstream
from routing.simulator.server import ThreadedSimulator
from routing.surfaces.responses import ResponsesSurface
from tests.routing import factories
from tests.routing.gateway.scripted import PEPPER, TOKEN, MemorySpool, Snapshots
from tests.routing.simulator import plays
from tests.routing.surfaces.responses.support import MemoryStore

AUTH = {"authorization": f"Bearer {TOKEN.decode()}"}
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


class LiveHub:
    def __init__(self, simulator: ThreadedSimulator, **rules: Any) -> None:
        self.simulator = simulator
        self.spool = MemorySpool()
        self.store = MemoryStore()
        policy = factories.policy(objective="ordered", order=("openai", "plain"), **rules)
        self.gateway = Gateway(
            snapshots=Snapshots(self._endpoints(), policy),
            upstream=make_upstream("fast", AllowList.parse(["127.0.0.1"])),
            spool=self.spool,
            settings=GatewaySettings(pepper=PEPPER, tick_s=0.02, deadlines=Deadlines(total_s=10)),
            rng=Random(5),
        )
        self.url = ""

    def _endpoints(self) -> list[Endpoint]:
        made = []
        for number, row in enumerate(CATALOG["endpoints"], 1):
            slug, name = row["provider"], row["model"]
            quirks = Quirks(**QUIRKS) if slug == "openai" else Quirks()  # type: ignore[arg-type]
            home = factories.provider(
                slug,
                1 if slug == "openai" else 2,
                self.simulator.base_url(slug),
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

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        await self.gateway.start()
        surfaces = {"/v1/responses": ResponsesSurface(self.store)}
        config = uvicorn.Config(
            GatewayApp(self.gateway, surfaces, self.store),  # type: ignore[arg-type]
            http="httptools",
            lifespan="off",
            log_config=None,
            ws="none",
        )
        server = uvicorn.Server(config)
        listener = socket.create_server(("127.0.0.1", 0))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        try:
            yield
        finally:
            await self.gateway.stop(drain_s=0)
            server.should_exit = server.force_exit = True
            await task

    def client(self) -> AsyncOpenAI:
        return AsyncOpenAI(
            api_key=TOKEN.decode(),
            base_url=self.url,
            max_retries=0,
            http_client=httpx.AsyncClient(trust_env=False),
        )

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

    @property
    def finish(self) -> Finish:
        """Of the last attempt."""
        return self.spool.finishes[-1]

    def billed(self) -> Decimal:
        return sum((Decimal(row.cost_usd) for row in self.simulator.journal()), Decimal(0))

    def booked(self) -> Decimal:
        return sum((one.cost_usd for one in self.spool.finishes), Decimal(0))
