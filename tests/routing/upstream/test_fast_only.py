"""What only the fast client has: its own pool, its own flow control."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from math import inf

import pytest

from routing.core.deadlines import Deadlines
from routing.core.errors import BrokenAnswer, UpstreamTimeout
from routing.gateway.upstream import fast as fast_module
from routing.gateway.upstream import pool as pool_module
from routing.gateway.upstream.base import UpstreamAnswer, UpstreamRequest
from routing.gateway.upstream.connection import Connection
from routing.gateway.upstream.fast import FastUpstream
from routing.gateway.upstream.guard import Guard, parse_target
from routing.gateway.upstream.pool import Pool
from tests.routing.upstream.helpers import LOOPBACK, PATIENT, asking, fetch, opened, stream
from tests.routing.upstream.scripted import (
    Peer,
    Provider,
    chunked,
    eventually,
    hanging,
    plain,
    serving,
)


@pytest.fixture
async def client() -> AsyncIterator[FastUpstream]:
    client = FastUpstream(LOOPBACK, max_connections_per_host=2)
    yield client
    await client.aclose()


async def test_it_counts_its_connections(client: FastUpstream) -> None:
    async with Provider(serving(plain())) as provider:
        assert client.stats() == (0, 0, 0)
        await fetch(client, asking(provider.url))
        assert client.stats() == (1, 1, 0)
    await eventually(lambda: client.stats() == (0, 0, 0))


async def test_one_who_gave_up_waiting_is_not_counted(client: FastUpstream) -> None:
    async with Provider(hanging) as provider:
        holders = [asyncio.create_task(fetch(client, asking(provider.url))) for _ in range(2)]
        await eventually(lambda: provider.accepted == 2)
        with pytest.raises(UpstreamTimeout):
            await client.send(asking(provider.url, Deadlines(pool_s=0.05)))
        assert client.stats() == (2, 0, 0)
        for holder in holders:
            holder.cancel()
        await asyncio.gather(*holders, return_exceptions=True)


async def test_closing_lets_a_running_answer_end(client: FastUpstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"hello", end=b""))
        await asyncio.sleep(0.1)
        await peer.send(b"0\r\n\r\n")
        await peer.gone()

    async with Provider(script) as provider:
        task = asyncio.create_task(stream(client, asking(provider.url)))
        await asyncio.sleep(0.05)
        begin = time.monotonic()
        await client.aclose()
        assert time.monotonic() - begin < pool_module.CLOSE_GRACE_S / 2
        assert await task == b"hello"


async def test_closing_cuts_off_what_does_not_end(
    client: FastUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "CLOSE_GRACE_S", 0.05)
    async with Provider(hanging) as provider:
        task = asyncio.create_task(fetch(client, asking(provider.url)))
        await asyncio.sleep(0.05)
        await client.aclose()
        with pytest.raises(BrokenAnswer, match="shutting down"):
            await task


async def test_a_retry_does_not_take_the_next_dead_connection(client: FastUpstream) -> None:
    served = 0

    async def script(peer: Peer) -> None:
        nonlocal served
        await peer.request()
        served += 1
        await eventually(lambda: served >= 2)
        await peer.send(plain())
        await peer.request()

    async with Provider(script) as provider:
        await asyncio.gather(*(fetch(client, asking(provider.url)) for _ in range(2)))
        assert client.stats() == (2, 2, 0)
        assert await fetch(client, asking(provider.url)) == (200, b"ok")
        assert provider.accepted == 3


async def test_a_connection_that_still_owes_bytes_is_not_used_again(client: FastUpstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(plain(b"too large", "413 Too Large"))
        await peer.gone()

    async with Provider(script) as provider:
        request = asking(provider.url, body=b"x" * 8_000_000)
        assert await fetch(client, request) == (413, b"too large")
        assert await fetch(client, request) == (413, b"too large")
        assert provider.accepted == 2


async def test_who_reads_is_told_when_another_closes(client: FastUpstream) -> None:
    async def read(answer: UpstreamAnswer) -> None:
        async for _ in answer.chunks():
            pass

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"hello", end=b""))
        await peer.gone()

    async with Provider(script) as provider, opened(client, asking(provider.url)) as answer:
        reading = asyncio.create_task(read(answer))
        await asyncio.sleep(0.02)
        await answer.aclose()
        with pytest.raises(BrokenAnswer) as caught:
            await asyncio.wait_for(reading, 1)
        assert caught.value.code == "closed"


async def test_chunks_that_came_together_are_handed_over_together(client: FastUpstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(end=b""))
        await asyncio.sleep(0.02)
        await peer.send(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n")
        await peer.gone()

    async with Provider(script) as provider, opened(client, asking(provider.url)) as answer:
        assert await anext(answer.chunks()) == b"abc"


async def test_who_gave_up_waiting_for_bytes_can_wait_again(client: FastUpstream) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(end=b""))
        await go_on.wait()
        await peer.send(b"5\r\nhello\r\n")
        await asyncio.sleep(0.02)
        await peer.send(b"5\r\nworld\r\n0\r\n\r\n")
        await peer.gone()

    async with Provider(script) as provider, opened(client, asking(provider.url)) as answer:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await anext(answer.chunks())
        go_on.set()
        await asyncio.sleep(0.05)
        assert b"".join([part async for part in answer.chunks()]) == b"helloworld"
        assert [part async for part in answer.chunks()] == []


async def test_an_answer_that_has_arrived_is_read_without_waiting(client: FastUpstream) -> None:
    async with (
        Provider(serving(plain(b"all of it"))) as provider,
        opened(client, asking(provider.url)) as answer,
    ):
        reading = answer.read(100)
        with pytest.raises(StopIteration) as caught:
            reading.send(None)
        assert caught.value.value == b"all of it"


async def test_it_remembers_only_so_many_heads(
    client: FastUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_module, "_MAX_READY", 3)
    async with Provider(serving(plain())) as provider:
        for number in range(10):
            key = (b"authorization", b"%d" % (number % 5))
            for headers in ((key,), [key]):
                request = UpstreamRequest("POST", provider.url, headers, b"{}", PATIENT)
                assert await fetch(client, request) == (200, b"ok")
            assert 0 < len(client._ready) <= 3
        got = [received.values("authorization") for received in provider.requests]
    assert got == [[str(number % 5)] for number in range(10) for _ in range(2)]


class TestPool:
    """Turns that end in the very moment they are given; the stand-ins are never sent on."""

    @pytest.fixture
    def pool(self) -> Pool:
        """Whose single connection is in use."""
        pool = Pool(parse_target("http://127.0.0.1:9/"), Guard(LOOPBACK), None, 1, 30.0)
        pool._slots = 1
        return pool

    @pytest.fixture
    async def connection(self, pool: Pool) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(pool, loop, "127.0.0.1:9", 30.0)
        pool._open.add(connection)
        return connection

    async def test_one_cancelled_before_the_turn_is_passed_over(
        self, pool: Pool, connection: Connection
    ) -> None:
        leaving, staying = [asyncio.create_task(pool.acquire(PATIENT, inf)) for _ in range(2)]
        await asyncio.sleep(0)
        leaving.cancel()
        pool.freed(connection)
        assert await staying is connection
        assert leaving.cancelled()

    @pytest.mark.parametrize("granted", ["connection", "place"])
    async def test_one_cancelled_after_the_turn_passes_it_on(
        self, granted: str, pool: Pool, connection: Connection
    ) -> None:
        leaving = asyncio.create_task(pool.acquire(PATIENT, inf))
        await asyncio.sleep(0)
        if granted == "connection":
            pool.freed(connection)
        else:
            pool.lost(connection)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert pool.stats() == ((1, 1, 0) if granted == "connection" else (0, 0, 0))

    async def test_a_granted_connection_that_died_is_not_used(
        self, pool: Pool, connection: Connection
    ) -> None:
        waiting = asyncio.create_task(pool.acquire(PATIENT, inf))
        await asyncio.sleep(0)
        pool.freed(connection)
        connection.is_closed = True
        pool.lost(connection)
        with pytest.raises(Exception, match="cannot connect"):  # nobody listens on port 9
            await waiting
        assert pool.stats() == (0, 0, 0)

    async def test_a_connection_at_its_end_is_not_handed_out(
        self, pool: Pool, connection: Connection
    ) -> None:
        pool.freed(connection)
        connection.eof_received()  # the loop closes it a moment later
        assert pool.take() is None
