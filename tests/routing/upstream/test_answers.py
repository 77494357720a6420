"""What both clients make of whole answers, sound and broken."""

from __future__ import annotations

import asyncio

import pytest

from routing.core.errors import BrokenAnswer
from routing.gateway.upstream.base import UpstreamClient
from tests.routing.upstream.helpers import asking, collect, fetch, opened, stream
from tests.routing.upstream.scripted import Peer, Provider, answering, chunked, plain, serving

BIG = bytes(range(256)) * 4096

SOUND = {
    "length": (plain(b"hello"), 200, b"hello"),
    "empty": (plain(b""), 200, b""),
    "chunked": (chunked(b"hel", b"lo"), 200, b"hello"),
    "chunk extensions": (
        chunked(end=b'3;name=value\r\nhel\r\n2;q="x"\r\nlo\r\n0\r\n\r\n'),
        200,
        b"hello",
    ),
    "trailers": (chunked(b"hello", end=b"0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n"), 200, b"hello"),
    "until the connection ends": (b"HTTP/1.1 200 OK\r\n\r\nhello", 200, b"hello"),
    "http 1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", 200, b"hello"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b""),
    "no reason": (b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + plain(b"hello"), 200, b"hello"),
    "early hints": (b"HTTP/1.1 103 Hints\r\nlink: </x>\r\n\r\n" + plain(b"hello"), 200, b"hello"),
    "named identity": (plain(b"hello", "200 OK", "content-encoding: identity"), 200, b"hello"),
    "rate limited": (plain(b"{}", "429 Too Many Requests", "retry-after: 3"), 429, b"{}"),
    "server error": (plain(b"oops", "503 Service Unavailable"), 503, b"oops"),
    "odd status": (plain(b"", "529 Overloaded"), 529, b""),
    "bytes beyond the length": (plain(b"hello") + b"surplus", 200, b"hello"),
    "a second answer": (plain(b"hello") + plain(b"world"), 200, b"hello"),
    "a megabyte": (plain(BIG), 200, BIG),
    "a megabyte in chunks": (
        chunked(*[BIG[at : at + 999] for at in range(0, len(BIG), 999)]),
        200,
        BIG,
    ),
    "nul and high bytes": (plain(b"\x00\xff\r\n\r\n\x85"), 200, b"\x00\xff\r\n\r\n\x85"),
}


@pytest.mark.parametrize("case", SOUND)
async def test_it_reads_every_sound_answer(case: str, client: UpstreamClient) -> None:
    wire, status, body = SOUND[case]
    async with Provider(answering(wire)) as provider:
        assert await fetch(client, asking(provider.url)) == (status, body)


@pytest.mark.parametrize("case", SOUND)
async def test_it_streams_every_sound_answer(case: str, client: UpstreamClient) -> None:
    wire, _, body = SOUND[case]
    async with Provider(answering(wire)) as provider:
        assert await stream(client, asking(provider.url)) == body


@pytest.mark.parametrize("case", ["length", "chunk extensions", "trailers", "continue"])
async def test_it_does_not_matter_how_an_answer_is_sliced(
    case: str, client: UpstreamClient
) -> None:
    wire, status, body = SOUND[case]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.drip(wire)

    async with Provider(script) as provider:
        assert await fetch(client, asking(provider.url)) == (status, body)


BROKEN = {
    "closed at once": (b"", "no_answer"),
    "half a head": (b"HTTP/1.1 200 OK\r\ncontent-le", "no_answer"),
    "tls record": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "malformed"),
    "html without a head": (b"<html><body>502</body></html>\r\n\r\n", "malformed"),
    "json without a head": (b'{"error": {"message": "no"}}\r\n\r\n', "malformed"),
    "letters for a status": (b"HTTP/1.1 abc OK\r\n\r\n", "malformed"),
    "status 99": (b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n", "malformed"),
    "status 600": (b"HTTP/1.1 600 Odd\r\ncontent-length: 0\r\n\r\n", "malformed"),
    "switching protocols": (
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "malformed",
    ),
    "header without a colon": (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "malformed"),
    "nul in a header": (b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n", "malformed"),
    "negative length": (b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello", "malformed"),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "malformed",
    ),
    "length and chunks": (
        plain(b"5\r\nhello\r\n0\r\n\r\n", "200 OK", "transfer-encoding: chunked"),
        "malformed",
    ),
    "unknown transfer": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nx", "malformed"),
    "length too large": (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", "truncated"),
    "chunks cut between": (chunked(b"hello", end=b""), "truncated"),
    "chunks cut inside": (chunked(end=b"") + b"ff\r\nhello", "truncated"),
    "chunk size of letters": (chunked(end=b"") + b"zz\r\nhello\r\n", "malformed"),
    "chunk size overflow": (chunked(end=b"") + b"f" * 40 + b"\r\nhello\r\n", "malformed"),
    "chunk too long": (chunked(end=b"") + b"2\r\nhello\r\n0\r\n\r\n", "malformed"),
    "gzip": (plain(b"\x1f\x8b\x08", "200 OK", "content-encoding: gzip"), "encoded"),
    "brotli": (plain(b"\x0b", "200 OK", "content-encoding: br"), "encoded"),
    "zstd": (plain(b"\x28\xb5", "200 OK", "content-encoding: identity, zstd"), "encoded"),
    "one huge header": (
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
        "headers_too_large",
    ),
    "101 headers": (
        b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 100 + b"content-length: 0\r\n\r\n",
        "headers_too_large",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_it_names_what_is_broken(case: str, client: UpstreamClient) -> None:
    wire, code = BROKEN[case]
    async with Provider(answering(wire)) as provider:
        with pytest.raises(BrokenAnswer) as caught:
            await fetch(client, asking(provider.url))
        assert caught.value.code == code
        assert caught.value.was_sent
        assert str(provider.port) in caught.value.message
        assert provider.accepted == 1  # nothing is sent a second time


async def test_a_reset_before_the_answer_is_no_answer(client: UpstreamClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with Provider(script) as provider:
        with pytest.raises(BrokenAnswer) as caught:
            await fetch(client, asking(provider.url))
        assert caught.value.code == "no_answer"


async def test_what_came_before_a_reset_is_delivered_first(client: UpstreamClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"hello", end=b""))
        await asyncio.sleep(0.05)
        peer.reset()

    got: list[bytes] = []
    async with Provider(script) as provider, opened(client, asking(provider.url)) as answer:
        with pytest.raises(BrokenAnswer) as caught:
            await collect(answer, got)
    assert got == [b"hello"]
    assert caught.value.code == "truncated"
    assert caught.value.status == 200


@pytest.mark.parametrize("endless", [b"x-y: " + b"z" * 1000 + b"\r\n", b"z" * 1000])
async def test_a_head_without_end_is_given_up(endless: bytes, client: UpstreamClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nx: ")
        while True:
            await peer.send(endless)

    async with Provider(script) as provider:
        with pytest.raises(BrokenAnswer) as caught:
            await fetch(client, asking(provider.url))
        assert caught.value.code == "headers_too_large"
        await provider.until_closed(1)


async def test_interim_answers_without_end_are_given_up(client: UpstreamClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 40)

    async with Provider(script) as provider:
        with pytest.raises(BrokenAnswer) as caught:
            await fetch(client, asking(provider.url))
        assert caught.value.code == "headers_too_large"


async def test_an_answer_beyond_the_limit_is_refused(client: UpstreamClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(end=b""))
        while True:
            await peer.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")

    async with Provider(script) as provider:
        async with opened(client, asking(provider.url)) as answer:
            with pytest.raises(BrokenAnswer) as caught:
                await answer.read(100_000)
        assert caught.value.code == "too_large"
        await provider.until_closed(1)


async def test_an_answer_of_exactly_the_limit_is_read(client: UpstreamClient) -> None:
    async with (
        Provider(serving(plain(b"x" * 1000))) as provider,
        opened(client, asking(provider.url)) as answer,
    ):
        assert await answer.read(1000) == b"x" * 1000


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_an_answer_like_any_other(status: str, client: UpstreamClient) -> None:
    async with Provider(serving(plain(b"elsewhere"))) as elsewhere:
        there = f"location: {elsewhere.url}/stolen"
        async with Provider(serving(plain(b"go", status, there))) as provider:
            got = await fetch(client, asking(provider.url))
        assert got == (int(status[:3]), b"go")
        assert elsewhere.accepted == 0


async def test_trailers_are_not_headers(client: UpstreamClient) -> None:
    wire = chunked(b"hello", end=b"0\r\nx-sum: 1\r\n\r\n")
    async with (
        Provider(serving(wire)) as provider,
        opened(client, asking(provider.url)) as answer,
    ):
        assert await answer.read(100) == b"hello"
        assert answer.headers == [(b"transfer-encoding", b"chunked")]


async def test_header_names_come_in_lower_case_and_in_order(client: UpstreamClient) -> None:
    wire = plain(b"", "200 OK", "X-Request-ID: Abc", "Set-Cookie: a=1", "Set-Cookie: b=2")
    async with (
        Provider(serving(wire)) as provider,
        opened(client, asking(provider.url)) as answer,
    ):
        assert answer.headers == [
            (b"content-length", b"0"),
            (b"x-request-id", b"Abc"),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
        ]
