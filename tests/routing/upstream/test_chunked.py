"""Chunks that need no parser: which are recognised, and that a stream is the same either way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from routing.core.errors import BrokenAnswer
from routing.gateway.upstream.chunked import data_start
from routing.gateway.upstream.fast import FastUpstream
from tests.routing.upstream.helpers import LOOPBACK, asking, opened
from tests.routing.upstream.scripted import Peer, Provider, eventually

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes, form: bytes = b"%x") -> bytes:
    return form % len(data) + b"\r\n" + data + b"\r\n"


@pytest.fixture
async def client() -> AsyncIterator[FastUpstream]:
    client = FastUpstream(LOOPBACK)
    yield client
    await client.aclose()


@pytest.mark.parametrize("form", [b"%x", b"%X"])
@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 171, 255, 256, 2748, 4000])
def test_a_whole_chunk_is_recognised(size: int, form: bytes) -> None:
    data = b"\n" * size
    piece = chunk(data, form)
    start = data_start(piece)
    assert start > 0
    assert piece[start:-2] == data


@pytest.mark.parametrize(
    "piece",
    [
        b"",
        b"\r\n",
        LAST,
        b"5\r\nhello",
        b"5\r\nhello\r",
        b"5\r\nhell\r\n",
        b"5\r\nhello!\r\n",
        b"5\nhello\r\n",
        b"05\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5;x=1\r\nhello\r\n",
        b"5\r\nhello\r\n5\r\nworld\r\n",
        b"5\r\nhello\r\n" + LAST,
        chunk(b"x" * 4096),
    ],
)
def test_whatever_is_not_one_whole_chunk_is_left_to_the_parser(piece: bytes) -> None:
    assert data_start(piece) == 0


async def poured(client: FastUpstream, pieces: list[bytes]) -> bytes:
    """The body of an answer whose wire comes in these pieces, by whichever way."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        for piece in pieces:
            await asyncio.sleep(0.002)  # so that each is read for itself
            await peer.send(piece)

    body = bytearray()

    def take(data: bytes) -> bool:
        body.extend(data)
        return True

    async with Provider(script) as provider, opened(client, asking(provider.url)) as answer:
        answer.pour_into(take, lambda piece, start: take(piece[start:-2]))
        async for data in answer.chunks():
            take(data)
    return bytes(body)


async def test_chunks_that_come_alone_are_handed_over_as_they_came(client: FastUpstream) -> None:
    texts = [b"data: %d\n\n" % number for number in range(20)]
    body, framed = bytearray(), []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        for number, text in enumerate(texts, 1):
            await peer.send(chunk(text))
            await eventually(lambda: len(body) == len(b"".join(texts[:number])))  # noqa: B023
        await peer.send(LAST)

    def take(data: bytes) -> bool:
        body.extend(data)
        return True

    def take_framed(piece: bytes, start: int) -> bool:
        framed.append(piece)
        return take(piece[start:-2])

    async with Provider(script) as provider, opened(client, asking(provider.url)) as answer:
        answer.pour_into(take, take_framed)
        async for data in answer.chunks():
            take(data)
    assert body == b"".join(texts)
    # The first goes to the parser, which sees where it ends.
    assert framed == [chunk(text) for text in texts[1:]]


@pytest.mark.parametrize("seed", range(8))
async def test_a_stream_is_the_same_in_any_slices(client: FastUpstream, seed: int) -> None:
    random = Random(seed)
    texts = [bytes(random.choices(b"ab5\r\n;", k=random.randint(1, 40))) for _ in range(40)]
    forms = [b"%x", b"%X", b"%03x", b"%x;a=b"]
    pieces, partial = [], b""
    for text in texts:
        wire = partial + chunk(text, random.choice(forms))
        partial = b""
        if random.random() < 0.4:
            cut = random.randrange(1, len(wire))
            wire, partial = wire[:cut], wire[cut:]
        pieces.append(wire)
    assert await poured(client, [*pieces, partial + LAST]) == b"".join(texts)


async def test_a_stream_cut_behind_whole_chunks_is_broken(client: FastUpstream) -> None:
    with pytest.raises(BrokenAnswer):
        await poured(client, [chunk(b"data: x\n\n")] * 10)


async def test_the_next_answer_on_the_connection_is_parsed_from_its_beginning(
    client: FastUpstream,
) -> None:
    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(HEAD)
            for _ in range(3):
                await asyncio.sleep(0.002)
                await peer.send(chunk(b"again"))
            await peer.send(LAST)
        await peer.gone()

    async with Provider(script) as provider:
        for _ in range(2):
            body = bytearray()
            async with opened(client, asking(provider.url)) as answer:
                answer.pour_into(
                    lambda data, into=body: into.extend(data) is None,
                    lambda piece, start, into=body: into.extend(piece[start:-2]) is None,
                )
                async for data in answer.chunks():
                    body.extend(data)
            assert body == b"again" * 3
        assert provider.accepted == 1
        await client.aclose()
