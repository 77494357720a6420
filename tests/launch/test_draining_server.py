"""A server that is told to stop, with a request running on it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson
import uvicorn

from dashboard import runtime
from dashboard.application import Application
from dashboard.launch.draining_server import DrainingServer
from routing.gateway.app import GatewayApp
from routing.gateway.hot_protocol import protocol_for
from tests.routing.factories import MODEL
from tests.routing.gateway.scripted import DONE, END, HELLO, ROLE, TOKEN, Bench, Step, stream


class Running:
    def __init__(self, bench: Bench, server: DrainingServer, port: int) -> None:
        self.bench = bench
        self.server = server
        self.port = port
        self.writers: list[asyncio.StreamWriter] = []

    def stop(self) -> None:
        self.server.handle_exit(signal.SIGTERM, None)

    async def ask(self) -> asyncio.StreamReader:
        body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        raw = orjson.dumps(body)
        reader, writer = await self._connect()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + TOKEN
        writer.write(head + b"\r\ncontent-length: %d\r\n\r\n" % len(raw) + raw)
        return reader

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def ready(self) -> bytes:
        reader, writer = await self._connect()
        writer.write(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return await reader.read()


@asynccontextmanager
async def running(*steps: Step, drain_s: float, notice_s: float = 0.0) -> AsyncIterator[Running]:
    bench = Bench(*[stream(*steps) for _ in range(3)])
    await bench.gateway.start()
    runtime.set_gateway(bench.gateway)
    app = Application.__new__(Application)
    app.gateway, app.gateway_app = bench.gateway, GatewayApp(bench.gateway)
    app.serves_gateway, app.serves_web = True, False
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=protocol_for(runtime.current_gateway),
        lifespan="off",
        log_config=None,
    )
    server = DrainingServer(config, drain_s=drain_s, notice_s=notice_s)
    serving = asyncio.create_task(server._serve([listener]))
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    hub = Running(bench, server, listener.getsockname()[1])
    try:
        yield hub
        await serving
    finally:
        for writer in hub.writers:
            writer.close()
        runtime.set_gateway(None)
        with suppress(asyncio.CancelledError):
            serving.cancel()
            await serving
        await bench.gateway.stop(drain_s=0)


async def test_a_request_that_runs_may_finish() -> None:
    async with running(ROLE, HELLO, 0.3, END, DONE, drain_s=10) as hub:
        answer = await hub.ask()
        await answer.readuntil(b"Hello")
        hub.stop()
        assert b"[DONE]" in await answer.read()
    assert hub.bench.spool.done.error_code == ""


async def test_one_that_does_not_finish_is_told_and_settled_before_the_end() -> None:
    async with running(ROLE, HELLO, asyncio.Event(), drain_s=1) as hub:
        answer = await hub.ask()
        await answer.readuntil(b"Hello")
        hub.stop()
        rest = await answer.read()
    assert b"gateway_stopping" in rest
    assert b"[DONE]" not in rest
    assert rest.endswith(b"0\r\n\r\n")
    assert hub.bench.spool.done.error_code == "gateway_stopping"


async def test_during_the_notice_it_is_not_ready_and_still_answers() -> None:
    async with running(ROLE, HELLO, END, DONE, drain_s=2, notice_s=0.5) as hub:
        assert b"200" in (await hub.ready()).partition(b"\r\n")[0]
        hub.stop()
        assert b"503" in (await hub.ready()).partition(b"\r\n")[0]
        assert b"[DONE]" in await (await hub.ask()).readuntil(b"[DONE]")


async def test_a_second_signal_ends_the_notice() -> None:
    async with running(ROLE, HELLO, END, DONE, drain_s=60, notice_s=30) as hub:
        hub.stop()
        hub.stop()
