"""What the second client is there for: a proxy, and HTTP/2."""

from __future__ import annotations

import asyncio
import ssl

import h2.config
import h2.connection
import h2.events
import pytest

from routing.gateway.upstream.fast import FastUpstream
from routing.gateway.upstream.guard import AllowList, Forbidden, Guard
from routing.gateway.upstream.httpx_client import HttpxUpstream
from routing.gateway.upstream.registry import make_upstream
from tests.routing.upstream.certificates import Authority
from tests.routing.upstream.helpers import LOOPBACK, asking, fetch
from tests.routing.upstream.scripted import Peer, Provider, plain, serving


async def test_it_goes_through_a_proxy() -> None:
    """Only the proxy can resolve the name, so it is asked for the whole URL."""
    async with Provider(serving(plain(b"by proxy"))) as proxy:
        allow = AllowList.parse(["only.known.to.the.proxy"])
        client = HttpxUpstream(allow, proxy=f"http://user:secret@127.0.0.1:{proxy.port}")
        got = await fetch(client, asking("http://only.known.to.the.proxy:8000"))
        await client.aclose()
        [received] = proxy.requests
    assert got == (200, b"by proxy")
    target = "http://only.known.to.the.proxy:8000/v1/chat/completions"
    assert received.line == f"POST {target} HTTP/1.1"
    assert received.values("proxy-authorization") == ["Basic dXNlcjpzZWNyZXQ="]


@pytest.mark.parametrize("host", ["169.254.169.254", "127.0.0.1", "[::1]", "10.0.0.1"])
async def test_a_proxy_is_not_asked_for_a_forbidden_address(host: str) -> None:
    async with Provider(serving(plain())) as proxy:
        client = HttpxUpstream(AllowList(), proxy=proxy.url)
        with pytest.raises(Forbidden):
            await client.send(asking(f"https://{host}"))
        await client.aclose()
        assert proxy.accepted == 0


async def test_a_proxy_must_speak_http() -> None:
    with pytest.raises(ValueError, match="http:// or https://"):
        HttpxUpstream(LOOPBACK, proxy="socks5://127.0.0.1:1080")


async def test_it_speaks_http_2_where_the_provider_does(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    authority = Authority(tmp_path_factory.mktemp("h2"))
    context = authority.server_context("hub.test", alpn="h2")
    allow = AllowList.parse(["hub.test"])
    client = HttpxUpstream(
        allow,
        http2=True,
        ssl_context=authority.client_context(),
        guard=Guard(allow, lambda host: ["127.0.0.1"]),
    )
    async with Provider(answering_http2, context) as provider:
        url = f"https://hub.test:{provider.port}"
        both = await asyncio.gather(
            *(fetch(client, asking(url, body=b"x" * size)) for size in (10, 100_000))
        )
        await client.aclose()
        assert both == [(200, b"10"), (200, b"100000")]
        assert provider.accepted == 1


async def answering_http2(peer: Peer) -> None:
    """Answers each request with the size of its body."""
    http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    http2.initiate_connection()
    sizes: dict[int, int] = {}
    await peer.send(http2.data_to_send())
    while data := await peer.reader.read(65536):
        for event in http2.receive_data(data):
            match event:
                case h2.events.DataReceived(stream_id=stream, data=part):
                    assert stream is not None
                    sizes[stream] = sizes.get(stream, 0) + len(part or b"")
                    http2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                case h2.events.StreamEnded(stream_id=stream):
                    assert stream is not None
                    http2.send_headers(stream, [(":status", "200")])
                    http2.send_data(stream, b"%d" % sizes[stream], end_stream=True)
        await peer.send(http2.data_to_send())


class TestRegistry:
    async def test_it_makes_either_client(self) -> None:
        for kind, expected in (("fast", FastUpstream), ("httpx", HttpxUpstream)):
            client = make_upstream(kind, LOOPBACK)
            assert type(client) is expected
            await client.aclose()

    async def test_it_makes_a_client_with_a_proxy(self) -> None:
        client = make_upstream("httpx", LOOPBACK, proxy="http://127.0.0.1:3128")
        await client.aclose()

    def test_it_says_which_kinds_there_are(self) -> None:
        with pytest.raises(ValueError, match="fast, httpx"):
            make_upstream("curl", LOOPBACK)

    def test_a_proxy_needs_httpx(self) -> None:
        with pytest.raises(ValueError, match="PANELBOARD_UPSTREAM=httpx"):
            make_upstream("fast", LOOPBACK, proxy="http://127.0.0.1:3128")

    async def test_both_trust_the_system_by_default(self) -> None:
        context = FastUpstream(LOOPBACK)._ssl_context
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
