"""A gateway before the played providers, served over sockets: what streams has to be seen there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from random import Random
from typing import Any

import httpx
import uvicorn
from openai import AsyncOpenAI

from routing.core.catalog import Endpoint
from routing.core.deadlines import Deadlines
from routing.core.record import Finish
from routing.gateway.app import GatewayApp
from routing.gateway.service import Gateway, GatewaySettings
from routing.gateway.upstream.guard import AllowList
from routing.gateway.upstream.registry import make_upstream
from routing.simulator.server import ThreadedSimulator
from tests.routing.factories import policy
from tests.routing.gateway.scripted import PEPPER, TOKEN, MemorySpool, Snapshots
from tests.routing.kinds.support import endpoint_of, kind_of, records

RULES = policy(objective="ordered", order=("openai", "mistral", "groq", "xai"))
AUTH = {"authorization": f"Bearer {TOKEN.decode()}"}


class LiveHub:
    """All that is not chat, and the chat models that are named as their providers do."""

    def __init__(
        self, simulator: ThreadedSimulator, *chat_models: str, more: Sequence[Endpoint] = ()
    ) -> None:
        endpoints = [
            endpoint_of(record, simulator.base_url(record["provider"]), number)
            for number, record in enumerate(records("endpoints"), 1)
            if kind_of(record) != "chat" or record["upstream_model"] in chat_models
        ]
        self.simulator = simulator
        self.spool = MemorySpool()
        self.gateway = Gateway(
            snapshots=Snapshots([*endpoints, *more], RULES),
            upstream=make_upstream("fast", AllowList.parse(["127.0.0.1"])),
            spool=self.spool,
            settings=GatewaySettings(pepper=PEPPER, tick_s=0.02, deadlines=Deadlines(total_s=10)),
            rng=Random(5),
        )
        self.url = ""

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        await self.gateway.start()
        config = uvicorn.Config(
            GatewayApp(self.gateway),  # type: ignore[arg-type]
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

    async def post(self, path: str, **body: Any) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, headers=AUTH) as http:
            return await http.post(self.url + path, json=body)

    @property
    def finish(self) -> Finish:
        """Of the last attempt."""
        return self.spool.finishes[-1]

    def cost(self) -> Decimal:
        return sum((finish.cost_usd for finish in self.spool.finishes), Decimal(0))

    def billed(self) -> Decimal:
        """By the providers' own books."""
        return sum((Decimal(row.cost_usd) for row in self.simulator.journal()), Decimal(0))


def data_of(content: bytes) -> list[bytes]:
    """What the events of a stream hold."""
    lines = content.replace(b"\r\n", b"\n").split(b"\n")
    return [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
