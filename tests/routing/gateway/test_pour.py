"""The short way of a stream's bytes, over real sockets on both sides, and what leaves it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest

from routing.core.deadlines import Deadlines
from routing.core.record import Outcome
from routing.gateway.attempt import Attempt
from routing.gateway.pour import Pour
from routing.gateway.upstream.fast import FastUpstream
from routing.gateway.upstream.guard import AllowList
from tests.routing.factories import MODEL, endpoint, provider
from tests.routing.gateway.scripted import DONE, END, HELLO, ROLE, Bench, frame, usage_frame
from tests.routing.gateway.test_hot_protocol import raw_request, serving

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
Piece = bytes | float


class Provider:
    """Answers each request with the same pieces: bytes to send, or seconds to wait."""

    def __init__(self, pieces: Sequence[Piece], *, cut: bool = False) -> None:
        self.pieces = pieces
        self.cut = cut
        self.sent = 0
        self.hung_up = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
            writer.write(HEAD)
            for piece in self.pieces:
                if isinstance(piece, float):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(piece):
                            assert await reader.read() == b""
                            return
                    continue
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
                self.sent += 1
            if not self.cut:
                writer.write(b"0\r\n\r\n")
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.hung_up.set()
            writer.close()


@contextlib.asynccontextmanager
async def pouring(
    pieces: Sequence[Piece], *, cut: bool = False, **settings: Any
) -> AsyncIterator[tuple[Bench, Provider, int]]:
    """A hub on a port, in front of one provider."""
    source = Provider(pieces, cut=cut)
    listener = await asyncio.start_server(source.serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    bench = Bench(endpoints=(endpoint("first", 1, at=provider("first", 1, address)),), **settings)
    bench.gateway.upstream = FastUpstream(AllowList.parse(["127.0.0.0/8"]))
    async with serving(bench) as port:
        yield bench, source, port
    listener.close()


async def ask(port: int, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    messages = [{"role": "user", "content": "hi"}]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
    writer.write(
        raw_request(orjson.dumps({"model": MODEL, "messages": messages, "stream": True, **more}))
    )
    return reader, writer


def words(count: int, pause_s: float = 0.001, text: str = "word ") -> list[Piece]:
    found: list[Piece] = []
    for _ in range(count):
        found += [frame({"content": text}), pause_s]
    return found


async def ended(bench: Bench) -> None:
    for _ in range(500):
        if bench.spool.finishes:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the attempt was not written down")


async def test_every_piece_of_a_stream_arrives_in_order_and_is_metered() -> None:
    pieces = [ROLE, *words(50), END, usage_frame(10, 50), DONE]
    async with pouring(pieces) as (bench, _, port):
        reader, writer = await ask(port)
        got = await reader.readuntil(b"0\r\n\r\n")
        writer.close()
    assert got.count(b'"content":"word "') == 50
    assert got.index(b'"finish_reason":"stop"') < got.index(b"[DONE]")
    (finish,) = bench.spool.finishes
    assert finish.outcome is Outcome.OK
    assert finish.usage.output_total == 50
    assert finish.content_frames == 50
    assert finish.ttft_ms is not None
    assert finish.last_chunk_ms is not None
    assert finish.ttft_ms < finish.last_chunk_ms


async def test_a_provider_that_breaks_off_gives_an_error_event_and_no_done() -> None:
    async with pouring([ROLE, *words(20)], cut=True) as (bench, _, port):
        reader, writer = await ask(port)
        got = await reader.readuntil(b"0\r\n\r\n")
        writer.close()
    assert got.count(b'"content":"word "') == 20
    assert b'"error"' in got
    assert b"[DONE]" not in got
    assert bench.spool.finishes[0].outcome is Outcome.PROVIDER_ERROR


async def test_an_error_frame_after_content_ends_the_answer() -> None:
    error = b'data: {"error":{"message":"overloaded","code":"overloaded"}}\n\n'
    async with pouring([ROLE, *words(5), error, 0.05]) as (bench, _, port):
        reader, writer = await ask(port)
        got = await reader.readuntil(b"0\r\n\r\n")
        writer.close()
    assert got.count(b'"content":"word "') == 5
    assert b'"error"' in got
    assert bench.spool.finishes[0].outcome is not Outcome.OK


async def test_a_client_that_does_not_read_holds_the_provider_back_until_it_does() -> None:
    pieces = [ROLE, HELLO, 0.02, *words(400, 0.0, "x" * 60_000), END, DONE]
    async with pouring(pieces) as (bench, source, port):
        reader, writer = await ask(port)
        await reader.readuntil(b"Hello")
        await asyncio.sleep(0.5)
        held_back = source.sent
        got = bytearray()
        while not got.endswith(b"0\r\n\r\n"):
            got += await reader.read(2**20)
        writer.close()
    assert held_back < 350
    assert got.count(b"x" * 60_000) == 400
    assert bench.spool.finishes[0].outcome is Outcome.OK


async def test_a_client_that_leaves_hangs_up_on_the_provider() -> None:
    async with pouring([ROLE, *words(5), 60.0]) as (bench, source, port):
        reader, writer = await ask(port)
        await reader.readuntil(b"word ")
        writer.close()
        await asyncio.wait_for(source.hung_up.wait(), 5)
        await ended(bench)
    assert bench.spool.finishes[0].outcome is Outcome.CLIENT_CANCELLED


async def test_silence_after_content_is_noticed() -> None:
    limits = Deadlines(progress_s=0.1)
    async with pouring([ROLE, *words(5), 60.0], deadlines=limits) as (bench, _, port):
        reader, writer = await ask(port)
        got = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
        writer.close()
    assert got.count(b'"content":"word "') == 5
    assert bench.spool.finishes[0].outcome is Outcome.TIMEOUT


async def test_progress_is_written_down_on_the_way() -> None:
    pieces = [ROLE, *words(30, 0.001, "y" * 500), 0.05, END, DONE]
    async with pouring(pieces) as (bench, _, port):
        reader, writer = await ask(port)
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()
    assert [one.output_chars for one in bench.spool.progress if one.output_chars >= 4096]


def test_what_a_reader_raises_is_raised_where_the_exchange_is_woken() -> None:
    def feed(data: bytes) -> bytes:
        raise ValueError("no")

    attempt = Attempt(endpoint("first", 1), 1, 0.0, 0.0)
    pour = Pour(attempt, None, feed, lambda data: True, lambda: 0.0, 10)  # type: ignore[arg-type]
    assert pour(b"x") is False
    with pytest.raises(ValueError, match="no"):
        pour.take()
