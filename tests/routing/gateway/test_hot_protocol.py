"""The hot route over real sockets, and that it tells the same as the ASGI route."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import weakref
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import orjson
import pytest
import uvicorn

from routing.core.record import Outcome
from routing.gateway.app import GatewayApp
from routing.gateway.hot_protocol import HotProtocol, protocol_for
from tests.routing.factories import MODEL
from tests.routing.gateway.scripted import (
    DONE,
    END,
    HELLO,
    ROLE,
    TOKEN,
    WHOLE,
    Bench,
    ScriptedAnswer,
    frame,
    plain,
    stream,
)

AUTH = {"authorization": f"Bearer {TOKEN.decode()}"}
CHAT = "/v1/chat/completions"


@contextlib.asynccontextmanager
async def serving(bench: Bench, *, hot: bool = True, keep_alive_s: int = 5) -> AsyncIterator[int]:
    gateway = bench.gateway
    await gateway.start()
    config = uvicorn.Config(
        GatewayApp(gateway),  # type: ignore[arg-type]
        http=protocol_for(lambda: gateway) if hot else "httptools",  # type: ignore[arg-type]
        lifespan="off",
        log_config=None,
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=keep_alive_s,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield listener.getsockname()[1]
    finally:
        await gateway.stop(drain_s=0)
        server.should_exit = True
        server.force_exit = True
        await task


def body(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **more}


def compared(answer: httpx.Response) -> tuple[Any, ...]:
    varying = {"x-request-id", "x-panelboard-overhead-ms", "date", "connection"}
    headers = sorted((k, v) for k, v in answer.headers.items() if k not in varying)
    text = answer.text
    if answer.status_code >= 400:
        error = answer.json()["error"]
        text = orjson.dumps({**error, "request_id": ""}).decode()
    return answer.status_code, headers, text


@pytest.mark.parametrize(
    ("request_body", "headers", "answer"),
    [
        (body(), AUTH, plain()),
        (body(stream=True), AUTH, stream(*WHOLE)),
        (body(stream=True, stream_options={"include_usage": True}), AUTH, stream(*WHOLE)),
        (body(), {}, plain()),
        (body(model="nope"), AUTH, plain()),
        (body(messages=[]), AUTH, plain()),
        (body(), {**AUTH, "content-encoding": "gzip"}, plain()),
        (body(), AUTH, plain(b'{"error":{"message":"no","code":"bad"}}', 400)),
    ],
)
async def test_both_ways_give_the_same_answer(
    request_body: dict[str, Any], headers: dict[str, str], answer: ScriptedAnswer
) -> None:
    answers = []
    for hot in (True, False):
        async with serving(Bench(answer), hot=hot) as port, httpx.AsyncClient() as client:
            answers.append(
                await client.post(
                    f"http://127.0.0.1:{port}{CHAT}", json=request_body, headers=headers
                )
            )
    assert compared(answers[0]) == compared(answers[1])


async def test_a_connection_is_used_again_and_other_routes_go_the_ordinary_way() -> None:
    bench = Bench(plain(), plain(), plain())
    async with (
        serving(bench) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        for _ in range(2):
            assert (await client.post(CHAT, json=body(), headers=AUTH)).status_code == 200
            assert (await client.get("/v1/models", headers=AUTH)).status_code == 200
            assert (await client.get(CHAT, headers=AUTH)).status_code == 405
    assert len(bench.spool.finishes) == 2


def raw_request(content: bytes, *extra: bytes) -> bytes:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n" % TOKEN
    return head + b"".join(extra) + b"content-length: %d\r\n\r\n%b" % (len(content), content)


async def read_answers(reader: asyncio.StreamReader, count: int) -> bytes:
    got = b""
    while got.count(b"HTTP/1.1 ") < count or not got.endswith((b"}", b"0\r\n\r\n")):
        piece = await asyncio.wait_for(reader.read(65536), 5)
        if not piece:
            break
        got += piece
    return got


async def test_a_request_sent_byte_by_byte_is_answered() -> None:
    async with serving(Bench(plain())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for byte in raw_request(orjson.dumps(body())):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert b"200 OK" in await read_answers(reader, 1)
        writer.close()


async def test_pipelined_requests_are_answered_in_order() -> None:
    bench = Bench(stream(ROLE, 0.05, HELLO, END, DONE), plain())
    async with serving(bench) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        first = raw_request(orjson.dumps(body(stream=True)))
        writer.write(first + raw_request(orjson.dumps(body())))
        got = await read_answers(reader, 2)
        writer.close()
    assert got.index(b"[DONE]") < got.index(b"Hello you")
    assert [done.outcome for done in bench.spool.finishes] == [Outcome.OK, Outcome.OK]


async def test_a_body_over_the_limit_is_refused_by_its_length_before_it_is_sent() -> None:
    bench = Bench(plain(), max_body_bytes=100)
    async with serving(bench) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw_request(b"x" * 200)[:-200])
        got = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert b"413 Request Entity Too Large" in got or b" 413 " in got
    assert b"request_too_large" in got


async def test_a_chunked_body_over_the_limit_is_refused_and_not_kept() -> None:
    bench = Bench(plain(), max_body_bytes=100)
    async with serving(bench) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = raw_request(b"").replace(b"content-length: 0\r\n", b"transfer-encoding: chunked\r\n")
        writer.write(head + b"c8\r\n" + b"x" * 200 + b"\r\n")
        got = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert b"request_too_large" in got


async def test_a_body_that_never_comes_is_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.gateway.hot_protocol.BODY_TIMEOUT_S", 0.05)
    async with serving(Bench(plain())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw_request(b"{}" * 50)[:-60])
        got = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert b" 408 " in got
    assert b"request_timeout" in got


async def test_a_client_that_leaves_cancels_the_provider_at_once() -> None:
    answer = stream(ROLE, HELLO, asyncio.Event())
    bench = Bench(answer)
    async with serving(bench) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw_request(orjson.dumps(body(stream=True))))
        await reader.readuntil(b"Hello")
        writer.close()
        for _ in range(200):
            if bench.spool.finishes:
                break
            await asyncio.sleep(0.01)
    assert answer.closed
    assert bench.spool.finishes[0].outcome is Outcome.CLIENT_CANCELLED


async def test_a_client_that_does_not_read_holds_the_provider_back_and_not_our_memory() -> None:
    pieces = [frame({"content": "x" * 60_000}) for _ in range(400)]
    answer = stream(ROLE, *pieces, END, DONE)
    bench = Bench(answer)
    async with serving(bench) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(raw_request(orjson.dumps(body(stream=True))))
        await reader.readexactly(100)
        await asyncio.sleep(0.3)
        held_back = answer.delivered
        while await reader.read(2**20):
            if bench.spool.finishes:
                break
        writer.close()
    assert held_back < 200
    assert bench.spool.finishes[0].outcome is Outcome.OK


async def test_a_client_that_asks_to_close_gets_its_answer_and_the_end() -> None:
    async with serving(Bench(plain())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw_request(orjson.dumps(body()), b"connection: close\r\n"))
        got = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert b"connection: close" in got
    assert got.endswith(b"}")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The addresses of the requests that went through the parser."""
    seen: list[bytes] = []
    original = HotProtocol.on_headers_complete

    def note(self: HotProtocol) -> None:
        seen.append(self.url)
        original(self)

    monkeypatch.setattr(HotProtocol, "on_headers_complete", note)
    return seen


def asking(text: str) -> bytes:
    messages = [{"role": "user", "content": text}]
    return raw_request(orjson.dumps({"model": MODEL, "messages": messages}))


async def test_a_head_is_parsed_once_per_connection_and_each_body_is_answered(
    parsed: list[bytes],
) -> None:
    bench = Bench(*(plain() for _ in range(4)))
    async with serving(bench) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for text in ("one", "two and more", "three", "x" * 3000):
            writer.write(asking(text))
            assert b"200 OK" in await read_answers(reader, 1)
        writer.close()
    assert len(parsed) == 1
    sent = [orjson.loads(request.body) for request in bench.upstream.requests]
    said = [body["messages"][0]["content"] for body in sent]
    assert said == ["one", "two and more", "three", "x" * 3000]


async def test_a_request_with_a_known_head_that_comes_in_pieces_is_parsed(
    parsed: list[bytes],
) -> None:
    async with serving(Bench(plain(), plain(), plain())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for pause_at in (None, 40, None):
            data = asking("hi")
            writer.write(data[:pause_at])
            if pause_at is not None:
                await writer.drain()
                await asyncio.sleep(0.02)
                writer.write(data[pause_at:])
            assert b"200 OK" in await read_answers(reader, 1)
        writer.close()
    assert len(parsed) == 2


async def test_other_routes_between_known_heads_go_the_ordinary_way(parsed: list[bytes]) -> None:
    listing = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n\r\n" % TOKEN
    async with serving(Bench(plain(), plain())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for data in (asking("one"), listing, asking("two")):
            writer.write(data)
            assert b"200 OK" in await read_answers(reader, 1)
        writer.close()
    assert parsed == [b"/v1/chat/completions", b"/v1/models"]


async def test_a_key_that_is_revoked_is_refused_on_the_connection_that_used_it() -> None:
    bench = Bench(plain(), plain())
    async with serving(bench) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asking("one"))
        assert b"200 OK" in await read_answers(reader, 1)
        without = msgspec.structs.replace(bench.gateway.snapshot, callers={})
        bench.gateway.snapshots.current = without
        writer.write(asking("two"))
        assert b"401 Unauthorized" in await read_answers(reader, 1)
        writer.close()
    assert len(bench.upstream.requests) == 1


async def test_a_known_head_does_not_lift_the_limit_of_a_body() -> None:
    async with serving(Bench(plain(), max_body_bytes=1000)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asking("one"))
        assert b"200 OK" in await read_answers(reader, 1)
        writer.write(asking("x" * 2000))
        assert b"request_too_large" in await asyncio.wait_for(reader.read(), 5)
        writer.close()


async def test_a_pipelined_request_with_a_known_head_waits_for_its_turn() -> None:
    bench = Bench(plain(), stream(ROLE, 0.05, HELLO, END, DONE), plain())
    async with serving(bench) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asking("one"))
        await read_answers(reader, 1)
        writer.write(raw_request(orjson.dumps(body(stream=True))))
        await asyncio.sleep(0.02)
        writer.write(asking("two"))
        got = await read_answers(reader, 2)
        writer.close()
    assert got.index(b"[DONE]") < got.index(b"Hello you")


async def test_a_connection_at_rest_is_closed_and_one_in_use_is_not() -> None:
    bench = Bench(plain(), stream(ROLE, 1.3, HELLO, END, DONE))
    async with serving(bench, keep_alive_s=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asking("one"))
        await read_answers(reader, 1)
        writer.write(raw_request(orjson.dumps(body(stream=True))))
        assert b"[DONE]" in await read_answers(reader, 1)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_client_that_leaves_before_anybody_looked_is_noticed_too() -> None:
    answer = stream(ROLE, HELLO, asyncio.Event())
    bench = Bench(answer, tick_s=0.2)
    async with serving(bench) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw_request(orjson.dumps(body(stream=True))))
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.close()
        for _ in range(300):
            if bench.spool.finishes:
                break
            await asyncio.sleep(0.01)
    assert answer.closed
    assert bench.spool.finishes[0].outcome is Outcome.CLIENT_CANCELLED


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_lost_connection_leaves_nothing_for_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    """A full round comes rarely: what waited for it would be memory of thousands of connections."""
    made: list[weakref.ref[HotProtocol]] = []
    heard = HotProtocol.connection_made

    def noted(self: HotProtocol, transport: asyncio.BaseTransport) -> None:
        made.append(weakref.ref(self))
        heard(self, transport)  # type: ignore[arg-type]

    monkeypatch.setattr(HotProtocol, "connection_made", noted)
    asked = raw_request(orjson.dumps(body(stream=True)))
    answers = [stream(*WHOLE) for _ in range(3)]
    async with serving(Bench(*answers)) as port:
        gc.disable()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(1 if leaves else 2):
                writer.write(asked)
                await (reader.read(10) if leaves else read_answers(reader, 1))
            writer.close()
            async with asyncio.timeout(5):
                while made[0]() is not None:  # noqa: ASYNC110 - nothing tells it
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()
