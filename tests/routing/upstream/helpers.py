"""Shared by the tests of both clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from routing.core.deadlines import Deadlines
from routing.gateway.upstream.base import UpstreamAnswer, UpstreamClient, UpstreamRequest
from routing.gateway.upstream.guard import AllowList

LOOPBACK = AllowList.parse(["127.0.0.0/8", "::1"])
PATIENT = Deadlines(connect_s=5, pool_s=5, write_s=5, first_content_s=5, idle_s=5, total_s=10)

Make = Callable[..., UpstreamClient]


def asking(url: str, deadlines: Deadlines = PATIENT, body: bytes = b"{}") -> UpstreamRequest:
    headers = [(b"authorization", b"Bearer sk"), (b"content-type", b"application/json")]
    return UpstreamRequest("POST", f"{url}/v1/chat/completions", headers, body, deadlines)


@asynccontextmanager
async def opened(client: UpstreamClient, request: UpstreamRequest) -> AsyncIterator[UpstreamAnswer]:
    answer = await client.send(request)
    try:
        yield answer
    finally:
        await answer.aclose()


async def fetch(client: UpstreamClient, request: UpstreamRequest) -> tuple[int, bytes]:
    async with opened(client, request) as answer:
        return answer.status, await answer.read(2**24)


async def stream(client: UpstreamClient, request: UpstreamRequest) -> bytes:
    async with opened(client, request) as answer:
        return b"".join([part async for part in answer.chunks()])


async def collect(answer: UpstreamAnswer, into: list[bytes]) -> None:
    async for part in answer.chunks():
        into.append(part)  # noqa: PERF401 - must keep what came before an error
