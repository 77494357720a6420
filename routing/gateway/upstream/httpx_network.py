"""Below httpx: connections to judged addresses only, which report what they see.

Each stream follows the framing of what it receives. Bytes behind the end of an answer belong to
nothing that was asked, and httpcore would read them as the next answer on a kept connection.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextvars import ContextVar
from typing import Any, Protocol

import httpcore
import httptools
import httpx
from typing_extensions import override

from routing.core.deadlines import Deadlines
from routing.core.errors import UpstreamError
from routing.gateway.upstream.guard import Guard, Target

_Options = Iterable[
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
]


class Watcher(Protocol):
    """Whoever wants to know about the exchange that this task is busy with."""

    target: Target
    deadlines: Deadlines
    refusal: UpstreamError | None  # why no connection was made, where we know better

    def is_head_too_large(self) -> bool: ...

    def saw(self, data: bytes) -> None: ...


watching: ContextVar[Watcher | None] = ContextVar("upstream_exchange", default=None)


class Transport(httpx.AsyncBaseTransport):
    """httpx's own cannot be given a network backend."""

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pool = pool

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        url = request.url
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    @override
    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._answer.aiter_stream():
            yield part

    @override
    async def aclose(self) -> None:
        await self._answer.aclose()


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the guard has judged, and to nothing else."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._network = httpcore.AnyIOBackend()

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _Options | None = None,
    ) -> httpcore.AsyncNetworkStream:
        watcher = watching.get()
        assert watcher is not None
        try:
            addresses = await self._guard.addresses(watcher.target)
        except UpstreamError as refusal:
            watcher.refusal = refusal
            raise httpcore.ConnectError(refusal.message) from refusal
        return WatchedStream(await self._first(addresses, port, watcher.deadlines.connect_s))

    async def _first(
        self, addresses: list[str], port: int, limit_s: float
    ) -> httpcore.AsyncNetworkStream:
        """One address after the other, each with its share of the time that is left."""
        problem: Exception = httpcore.ConnectError("no address")
        loop = asyncio.get_running_loop()
        due = loop.time() + limit_s
        for tried, address in enumerate(addresses):
            share_s = (due - loop.time()) / (len(addresses) - tried) if limit_s else None
            try:
                return await self._network.connect_tcp(address, port, timeout=share_s)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                problem = exc
        raise problem

    @override
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class WatchedStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._framing: _Framing | None = None if _is_http2(stream) else _Framing()

    @override
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        watcher = watching.get()
        if watcher is not None and watcher.is_head_too_large():
            raise httpcore.RemoteProtocolError("the head does not end")
        data = await self._stream.read(max_bytes, timeout)
        if watcher is not None:
            watcher.saw(data)
        if self._framing is not None:
            self._framing.feed(data)
        return data

    @override
    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()

    @override
    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._stream.aclose()  # httpcore forgets to when it is cancelled
            raise
        return WatchedStream(stream)

    @override
    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._framing is not None and self._framing.has_surplus:
            return True  # to httpcore this means: not fit for another request
        return self._stream.get_extra_info(info)


class _Framing:
    """Notices bytes that follow a complete answer within the same read."""

    def __init__(self) -> None:
        self.has_surplus = False
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._ended = 0

    def feed(self, data: bytes) -> None:
        if self._parser is None:
            return
        self._ended = 0
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._parser = None
            self.has_surplus = True

    def on_message_begin(self) -> None:
        self.has_surplus = self.has_surplus or self._ended > 0

    def on_message_complete(self) -> None:
        assert self._parser is not None
        self._ended += self._parser.get_status_code() >= 200


def _is_http2(stream: httpcore.AsyncNetworkStream) -> bool:
    tls = stream.get_extra_info("ssl_object")
    return tls is not None and tls.selected_alpn_protocol() == "h2"
