"""A whole gateway before the played providers, and its books beside theirs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from random import Random

import httpx
import uvicorn
from openai import AsyncOpenAI

from routing.core.catalog import Endpoint, Policy
from routing.core.deadlines import Deadlines
from routing.core.record import Finish
from routing.gateway.app import GatewayApp
from routing.gateway.service import Gateway
from routing.gateway.settings import GatewaySettings
from routing.gateway.upstream.guard import AllowList
from routing.gateway.upstream.registry import make_upstream
from routing.simulator.server import ThreadedSimulator
from tests.routing.gateway.scripted import PEPPER, TOKEN, MemorySpool, Snapshots

AUTH = {"authorization": f"Bearer {TOKEN.decode()}"}


class PlayedHub:
    def __init__(
        self, simulator: ThreadedSimulator, endpoints: Sequence[Endpoint], rules: Policy
    ) -> None:
        self.simulator = simulator
        self.spool = MemorySpool()
        self.gateway = Gateway(
            snapshots=Snapshots(endpoints, rules),
            upstream=make_upstream("fast", AllowList.parse(["127.0.0.1"])),
            spool=self.spool,
            settings=GatewaySettings(pepper=PEPPER, tick_s=0.02, deadlines=Deadlines(total_s=10)),
            rng=Random(5),
        )

    def app(self) -> GatewayApp:
        return GatewayApp(self.gateway)

    @property
    def finish(self) -> Finish:
        """Of the last attempt."""
        return self.spool.finishes[-1]

    def cost(self) -> Decimal:
        return sum((finish.cost_usd for finish in self.spool.finishes), Decimal(0))

    def billed(self) -> Decimal:
        """By the providers' own books."""
        return sum((Decimal(row.cost_usd) for row in self.simulator.journal()), Decimal(0))


class ServedHub(PlayedHub):
    """Over sockets: what streams has to be seen there."""

    url = ""  # while it is served

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        await self.gateway.start()
        config = uvicorn.Config(
            self.app(),  # type: ignore[arg-type]
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
