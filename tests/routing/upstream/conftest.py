from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from routing.gateway.upstream.base import UpstreamClient
from routing.gateway.upstream.fast import FastUpstream
from routing.gateway.upstream.guard import AllowList
from routing.gateway.upstream.httpx_client import HttpxUpstream
from tests.routing.upstream.helpers import LOOPBACK, Make

NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading the system's takes 30 ms


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=[FastUpstream, HttpxUpstream], ids=["fast", "httpx"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Builds clients of one kind and closes them after the test."""
    made: list[UpstreamClient] = []

    def build(allow: AllowList = LOOPBACK, limit: int = 100, **options: Any) -> UpstreamClient:
        options.setdefault("ssl_context", NO_TRUST)
        made.append(request.param(allow, max_connections_per_host=limit, **options))
        return made[-1]

    yield build
    for client in made:
        await client.aclose()


@pytest.fixture
def client(make: Make) -> UpstreamClient:
    return make()
