"""Every phase of an exchange ends at its limit, names its phase and closes the connection."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import msgspec
import pytest

from routing.core.deadlines import Deadlines
from routing.core.errors import FailureClass, UpstreamTimeout
from routing.gateway.upstream.base import UpstreamClient
from routing.gateway.upstream.guard import AllowList, Guard
from tests.routing.upstream.helpers import (
    LOOPBACK,
    PATIENT,
    Make,
    asking,
    collect,
    fetch,
    opened,
    stream,
)
from tests.routing.upstream.scripted import Peer, Provider, Script, chunked, hanging, plain, serving

SHORT_S = 0.15


async def silent_after_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    await peer.gone()


async def silent_in_body(peer: Peer) -> None:
    await peer.request()
    await peer.send(chunked(b"hello", end=b"5\r\nwor"))
    await peer.gone()


async def silent_in_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-le")
    await peer.gone()


async def dripping_head(peer: Peer) -> None:
    await peer.request()
    await peer.drip(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000, pause_s=0.01)


async def interim_for_ever(peer: Peer) -> None:
    await peer.request()
    while True:
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(0.01)


async def dripping_body(peer: Peer) -> None:
    await peer.request()
    await peer.send(chunked(end=b""))
    while True:
        await peer.send(b"1\r\nx\r\n")
        await asyncio.sleep(0.01)


async def never_reading(peer: Peer) -> None:
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(60)


@dataclass
class Case:
    script: Script
    limit: str
    body: bytes = b"{}"

    @property
    def phase(self) -> str:
        return self.limit.removesuffix("_s")


CASES = {
    "no answer": Case(hanging, "first_content_s"),
    "half a head": Case(silent_in_head, "first_content_s"),
    "a head byte by byte": Case(dripping_head, "first_content_s"),
    "interim answers only": Case(interim_for_ever, "first_content_s"),
    "no body": Case(silent_after_head, "idle_s"),
    "stall in the body": Case(silent_in_body, "idle_s"),
    "a body without end": Case(dripping_body, "total_s"),
    "no answer in total": Case(hanging, "total_s"),
    "stall in total": Case(silent_in_body, "total_s"),
    "nobody reads": Case(never_reading, "write_s", b"x" * 2**25),
}


@pytest.mark.parametrize("name", CASES)
async def test_it_ends_at_the_limit_of_the_phase(name: str, client: UpstreamClient) -> None:
    case = CASES[name]
    deadlines = msgspec.structs.replace(PATIENT, **{case.limit: SHORT_S})
    async with Provider(case.script) as provider:
        begin = time.monotonic()
        with pytest.raises(UpstreamTimeout) as caught:
            await stream(client, asking(provider.url, deadlines, case.body))
        took_s = time.monotonic() - begin
        if case.limit != "write_s":
            await provider.until_closed(1)
    assert caught.value.phase == case.phase
    assert caught.value.was_sent
    assert caught.value.failure is FailureClass.TIMEOUT
    assert SHORT_S * 0.9 < took_s < 3


async def test_bytes_in_between_start_the_idle_clock_anew(client: UpstreamClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(end=b""))
        for _ in range(10):
            await peer.send(b"1\r\nx\r\n")
            await asyncio.sleep(SHORT_S / 3)
        await peer.send(b"0\r\n\r\n")

    async with Provider(script) as provider:
        deadlines = msgspec.structs.replace(PATIENT, idle_s=SHORT_S)
        assert await stream(client, asking(provider.url, deadlines)) == b"x" * 10


async def test_what_came_before_a_stall_is_delivered_first(client: UpstreamClient) -> None:
    got: list[bytes] = []
    deadlines = msgspec.structs.replace(PATIENT, idle_s=SHORT_S)
    async with (
        Provider(silent_in_body) as provider,
        opened(client, asking(provider.url, deadlines)) as answer,
    ):
        with pytest.raises(UpstreamTimeout):
            await collect(answer, got)
    assert b"".join(got) == b"hellowor"


async def test_a_slow_request_after_a_fast_one_has_its_own_limits(client: UpstreamClient) -> None:
    """A kept connection's timer was set for another request."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain())
        await peer.request()
        await peer.gone()

    async with Provider(script) as provider:
        await fetch(client, asking(provider.url))
        short = msgspec.structs.replace(PATIENT, first_content_s=SHORT_S)
        with pytest.raises(UpstreamTimeout) as caught:
            await fetch(client, asking(provider.url, short))
        assert caught.value.phase == "first_content"


async def test_a_patient_request_after_a_hasty_one_has_its_own_limits(
    client: UpstreamClient,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain())
        await peer.request()
        await asyncio.sleep(SHORT_S * 2)
        await peer.send(plain(b"late"))

    async with Provider(script) as provider:
        hasty = Deadlines(first_content_s=SHORT_S, idle_s=SHORT_S, total_s=SHORT_S)
        await fetch(client, asking(provider.url, hasty))
        assert await fetch(client, asking(provider.url)) == (200, b"late")


async def test_a_timer_that_fires_for_an_earlier_request_is_set_anew(
    client: UpstreamClient,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain())
        await peer.request()
        await peer.gone()

    async with Provider(script) as provider:
        hasty = Deadlines(first_content_s=SHORT_S, idle_s=0, total_s=0)
        await fetch(client, asking(provider.url, hasty))
        longer = Deadlines(first_content_s=SHORT_S * 2, idle_s=0, total_s=0)
        async with asyncio.timeout(5):
            with pytest.raises(UpstreamTimeout) as caught:
                await fetch(client, asking(provider.url, longer))
        assert caught.value.phase == "first_content"


async def test_the_silence_of_a_lagging_reader_does_not_count(client: UpstreamClient) -> None:
    part = b"x" * 300_000  # enough to hold the provider back

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (2 * len(part)))
        await peer.send(part)
        await asyncio.sleep(SHORT_S * 2.5)
        await peer.send(part)

    async with Provider(script) as provider:
        deadlines = msgspec.structs.replace(PATIENT, idle_s=SHORT_S)
        async with opened(client, asking(provider.url, deadlines)) as answer:
            await asyncio.sleep(SHORT_S * 2)
            assert sum([len(got) async for got in answer.chunks()]) == 2 * len(part)


async def test_an_address_that_hangs_leaves_time_for_the_next(make: Make) -> None:
    """The first one's queue of connections is full, so it never answers."""
    allow = AllowList.parse(["hub.test"])
    client = make(guard=Guard(allow, lambda host: ["::1", "127.0.0.1"]))
    async with Provider(serving(plain())) as provider:
        with full_listener(provider.port):
            deadlines = msgspec.structs.replace(PATIENT, connect_s=SHORT_S * 4)
            url = f"http://hub.test:{provider.port}"
            assert await fetch(client, asking(url, deadlines)) == (200, b"ok")


@contextmanager
def full_listener(port: int) -> Iterator[None]:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET6))
        try:
            listener.bind(("::1", port))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket(socket.AF_INET6))
            waiting.setblocking(False)
            waiting.connect_ex(("::1", port))
        yield


async def test_a_handshake_that_hangs_was_not_sent(client: UpstreamClient) -> None:
    async with Provider(hanging) as provider:
        url = provider.url.replace("http:", "https:")
        deadlines = msgspec.structs.replace(PATIENT, connect_s=SHORT_S)
        with pytest.raises(UpstreamTimeout) as caught:
            await client.send(asking(url, deadlines))
        assert caught.value.phase == "connect"
        assert not caught.value.was_sent
        assert caught.value.failure is FailureClass.CONNECT
        await provider.until_closed(1)


async def test_the_total_limit_covers_connecting(client: UpstreamClient) -> None:
    async with Provider(hanging) as provider:
        url = provider.url.replace("http:", "https:")
        deadlines = msgspec.structs.replace(PATIENT, total_s=SHORT_S)
        with pytest.raises(UpstreamTimeout) as caught:
            await client.send(asking(url, deadlines))
        assert caught.value.phase == "total"
        assert not caught.value.was_sent


async def test_a_name_that_resolves_slowly_ends_at_the_connect_limit(make: Make) -> None:
    def resolver(host: str) -> list[str]:
        time.sleep(SHORT_S * 3)
        return ["127.0.0.1"]

    client = make(guard=Guard(LOOPBACK, resolver))
    deadlines = msgspec.structs.replace(PATIENT, connect_s=SHORT_S)
    with pytest.raises(UpstreamTimeout) as caught:
        await client.send(asking("http://slow.test:9", deadlines))
    assert caught.value.phase == "connect"
    assert not caught.value.was_sent
