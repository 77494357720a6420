"""A provider that does exactly what a test tells it, byte by byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field


async def eventually(condition: Callable[[], object]) -> None:
    """For what no event tells."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@dataclass
class Received:
    """One request as it came over the wire."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


@dataclass
class Peer:
    """One connection, seen from the provider's side."""

    number: int  # 1, 2, ... in the order they were accepted
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[Received]

    async def request(self) -> Received:
        """The next request. Raises IncompleteReadError when the hub closes instead."""
        head = await self.head()
        size = int((head.values("content-length") or ["0"])[0])
        head.body = await self.reader.readexactly(size)
        return head

    async def head(self) -> Received:
        data = await self.reader.readuntil(b"\r\n\r\n")
        line, *rest = data.decode("latin-1").strip().split("\r\n")
        pairs = [entry.split(": ", 1) for entry in rest]
        received = Received(line, [(name, value) for name, value in pairs], b"")
        self.requests.append(received)
        return received

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes, pause_s: float = 0.0) -> None:
        for at in range(len(data)):
            await self.send(data[at : at + 1])
            await asyncio.sleep(pause_s)

    async def gone(self) -> None:
        """Returns when the hub has closed its side."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Provider:
    """Runs one script per connection, then closes it."""

    script: Script
    context: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    accepted: int = 0
    closed: int = 0  # connections whose script ended
    requests: list[Received] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Provider:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._server = await asyncio.start_server(
            self._accept, self.host, 0, family=family, ssl=self.context, limit=2**20
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def until_closed(self, connections: int) -> None:
        await eventually(lambda: self.closed >= connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            await self.script(Peer(self.accepted, reader, writer, self.requests))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:  # the test is over
            writer.transport.abort()
        finally:
            self.closed += 1
            self._tasks.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


def answering(data: bytes) -> Script:
    """Answers every request with these bytes, and then closes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)

    return script


def serving(data: bytes) -> Script:
    """Answers every request of a kept connection with these bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(data)

    return script


async def hanging(peer: Peer) -> None:
    await peer.gone()


def plain(body: bytes = b"ok", status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end
