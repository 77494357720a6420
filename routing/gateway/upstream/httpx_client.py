"""The second upstream client, on httpx: for networks that need a proxy, or providers on HTTP/2.

It keeps the same promises as the fast one and passes the same tests; it costs far more per request.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from math import inf
from typing import Any, NoReturn

import httpcore
import httpx

from routing.adapters.base import Headers, header
from routing.core.deadlines import Deadlines
from routing.core.errors import BrokenAnswer, ConnectFailed, UpstreamError, UpstreamTimeout
from routing.gateway.upstream.base import UpstreamRequest
from routing.gateway.upstream.guard import AllowList, Guard, Target, check_literal, parse_target
from routing.gateway.upstream.heads import (
    MAX_HEAD_BYTES,
    broken,
    head_fault,
    head_too_large,
    size_of,
)
from routing.gateway.upstream.httpx_network import GuardedBackend, Transport, watching
from routing.gateway.upstream.sending import (
    OWN_HEADERS,
    STALE_WINDOW_S,
    after,
    check_headers,
    connect_problem,
    has_body,
    too_large,
)


class HttpxUpstream:
    """See `UpstreamClient` for what it raises. Behind a proxy the names are the proxy's to resolve:
    the guard then judges only the URL and addresses written in it."""

    def __init__(
        self,
        allow: AllowList,
        proxy: str | None = None,
        http2: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        max_connections_per_host: int = 2048,
        idle_expiry_s: float = 30.0,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard or Guard(allow)
        self._is_proxied = proxy is not None
        options: dict[str, Any] = {
            "ssl_context": ssl_context or ssl.create_default_context(),
            "max_connections": None,  # httpcore loses a place when its taker is cancelled
            "max_keepalive_connections": None,
            "keepalive_expiry": idle_expiry_s,
            "http2": http2,
            "retries": 0,
        }
        self._client = httpx.AsyncClient(
            transport=Transport(_pool(proxy, self._guard, options)),
            trust_env=False,
            follow_redirects=False,
        )
        self._limit = max_connections_per_host
        self._places: dict[str, asyncio.Semaphore] = {}
        self._is_closed = False

    async def send(self, request: UpstreamRequest) -> HttpxAnswer:
        if self._is_closed:
            raise ConnectFailed("the upstream client is closed")
        target = parse_target(request.url)
        if self._is_proxied:
            check_literal(target, self._guard.allow)
        total_at = after(asyncio.get_running_loop().time(), request.deadlines.total_s)
        places = self._places.setdefault(target.authority, asyncio.Semaphore(self._limit))
        await _take_place(places, target, request.deadlines, total_at)
        try:
            try:
                response, exchange = await self._try(request, target, total_at)
            except _Stale:
                response, exchange = await self._try(request, target, total_at)
        except BaseException:
            places.release()
            raise
        return HttpxAnswer(response, exchange, places)

    async def aclose(self) -> None:
        self._is_closed = True
        await self._client.aclose()
        self._guard.close()

    async def _try(
        self, request: UpstreamRequest, target: Target, total_at: float
    ) -> tuple[httpx.Response, _Exchange]:
        exchange = _Exchange(target, request.deadlines, total_at)
        token = watching.set(exchange)
        try:
            response = await self._respond(request, exchange)
        finally:
            watching.reset(token)
        exchange.has_head = True
        fault = _fault(target.authority, response)
        if fault is not None:
            await response.aclose()
            raise fault
        return response, exchange

    async def _respond(self, request: UpstreamRequest, exchange: _Exchange) -> httpx.Response:
        built = _build(request, exchange)
        try:
            async with asyncio.timeout_at(_finite(exchange.total_at)) as timer:
                exchange.timer = timer
                return await self._client.send(built, stream=True)
        except TimeoutError:
            exchange.raise_timeout(exchange.phase)
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
        ) as problem:
            exchange.raise_as_ours(problem)


class HttpxAnswer:
    """Status and headers of an answer, and its body as it arrives."""

    is_complete = False  # there is always the connection's place to give back

    def __init__(
        self, response: httpx.Response, exchange: _Exchange, places: asyncio.Semaphore
    ) -> None:
        self.status = response.status_code
        self.headers = _headers_of(response)
        self._places: asyncio.Semaphore | None = places
        self._response = response
        self._exchange = exchange
        self._body = response.aiter_raw()

    def header(self, line: bytes) -> bytes:
        return header(self.headers, line[1:-2])

    def body_at_once(self, limit_bytes: int) -> bytes | None:
        return None

    async def read(self, limit_bytes: int) -> bytes:
        parts, size = [], 0
        async for part in self.chunks():
            parts.append(part)
            size += len(part)
            if size > limit_bytes:
                await self.aclose()
                raise too_large(limit_bytes, self.status)
        return b"".join(parts)

    def pour_into(
        self,
        pour: Callable[[bytes], bool],
        framed: Callable[[bytes, int], bool] | None = None,
    ) -> None:
        """Bytes come by `chunks` here."""

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            part = await self._next()
            if part is None:
                return
            if part:
                yield part

    async def aclose(self) -> None:
        places, self._places = self._places, None
        if places is None:
            return
        try:
            with suppress(httpcore.NetworkError, httpcore.ProtocolError):
                await self._response.aclose()
        finally:
            places.release()

    async def _next(self) -> bytes | None:
        exchange = self._exchange
        token = watching.set(exchange)
        try:
            async with asyncio.timeout_at(exchange.next_byte_at()):
                return await anext(self._body, None)
        except TimeoutError:
            exchange.raise_timeout(exchange.phase)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpx.StreamError) as problem:
            exchange.raise_broken_body(problem, self.status)
        finally:
            watching.reset(token)


class _Stale(BrokenAnswer):
    """A kept connection was gone before it carried one byte of the answer: safe to try afresh."""


class _Exchange:
    """How far one request has come; the streams below httpx and its trace hook report to it."""

    def __init__(self, target: Target, deadlines: Deadlines, total_at: float) -> None:
        self.target = target
        self.deadlines = deadlines
        self.total_at = total_at
        self.timer: asyncio.Timeout | None = None
        self.phase = "total"
        self.is_fresh = False
        self.was_sent = False
        self.sent_at = inf
        self.received_bytes = 0
        self.saw_eof = False
        self.has_head = False
        self.refusal: UpstreamError | None = None

    def saw(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self.saw_eof = not data

    def is_head_too_large(self) -> bool:
        return not self.has_head and self.received_bytes > MAX_HEAD_BYTES

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.started":
            self.is_fresh = True
            self._limit("connect", self.deadlines.connect_s)
        elif event.endswith(".send_request_headers.started"):
            self.was_sent = True
            self.sent_at = asyncio.get_running_loop().time()
            self._limit("first_content", self.deadlines.first_content_s)

    def _limit(self, phase: str, limit_s: float) -> None:
        due = after(asyncio.get_running_loop().time(), limit_s)
        self.phase = phase if due <= self.total_at else "total"
        if self.timer is not None:
            self.timer.reschedule(_finite(min(due, self.total_at)))

    def next_byte_at(self) -> float | None:
        due = after(asyncio.get_running_loop().time(), self.deadlines.idle_s)
        self.phase = "idle" if due <= self.total_at else "total"
        return _finite(min(due, self.total_at))

    def raise_timeout(self, phase: str) -> NoReturn:
        message = f"{self.target.authority}: {phase} deadline passed"
        raise UpstreamTimeout(phase, message, was_sent=self.was_sent) from None

    def raise_as_ours(self, problem: Exception) -> NoReturn:
        """Of a failure before the head of the answer."""
        host = self.target.authority
        if isinstance(problem, httpcore.WriteTimeout):
            self.raise_timeout("write")
        if not self.was_sent:
            if self.refusal is not None:
                raise self.refusal
            if isinstance(problem, httpcore.ConnectTimeout):
                self.raise_timeout("connect")
            raise ConnectFailed(f"{host}: {connect_problem(_root(problem))}") from problem
        if self.is_head_too_large():
            raise head_too_large(host) from problem
        if not self.saw_eof and isinstance(problem, httpcore.RemoteProtocolError):
            raise broken(host, "malformed", str(problem)) from problem
        at_once = asyncio.get_running_loop().time() - self.sent_at < STALE_WINDOW_S
        if not self.is_fresh and not self.received_bytes and at_once:
            raise _Stale("no_answer", f"{host}: {problem}") from problem
        raise broken(host, "no_answer", f"nothing complete came back: {problem}") from problem

    def raise_broken_body(self, problem: Exception, status: int) -> NoReturn:
        is_garbage = isinstance(problem, httpcore.RemoteProtocolError) and not self.saw_eof
        code = "malformed" if is_garbage else "truncated"
        raise broken(self.target.authority, code, str(problem), status) from problem


def _pool(proxy: str | None, guard: Guard, options: dict[str, Any]) -> httpcore.AsyncConnectionPool:
    if proxy is None:
        return httpcore.AsyncConnectionPool(network_backend=GuardedBackend(guard), **options)
    parsed = httpx.Proxy(proxy)
    if parsed.url.scheme not in ("http", "https"):
        raise ValueError(f"a proxy must be http:// or https://, not {parsed.url.scheme}://")
    return httpcore.AsyncHTTPProxy(proxy_url=str(parsed.url), proxy_auth=parsed.raw_auth, **options)


def _build(request: UpstreamRequest, exchange: _Exchange) -> httpx.Request:
    target = exchange.target
    own = [(b"host", target.authority.encode()), (b"accept-encoding", b"identity")]
    headers = [pair for pair in request.headers if pair[0] not in OWN_HEADERS]
    if request.mark:
        headers.append((b"x-request-id", request.mark))
    check_headers(headers)
    if has_body(request.method, request.body):
        own.append((b"content-length", b"%d" % len(request.body)))
    limits = {
        "write": exchange.deadlines.write_s or None,
        "pool": None,
        "connect": None,
        "read": None,
    }
    return httpx.Request(
        request.method,
        f"{target.scheme}://{target.authority}{target.path}",
        headers=own + headers,
        stream=httpx.ByteStream(request.body),
        extensions={"timeout": limits, "trace": exchange.trace},
    )


async def _take_place(
    places: asyncio.Semaphore, target: Target, deadlines: Deadlines, total_at: float
) -> None:
    if not places.locked():
        await places.acquire()
        return
    pool_at = after(asyncio.get_running_loop().time(), deadlines.pool_s)
    try:
        async with asyncio.timeout_at(_finite(min(pool_at, total_at))):
            await places.acquire()
    except TimeoutError:
        phase = "pool" if pool_at <= total_at else "total"
        message = f"{target.authority}: all connections stayed in use"
        raise UpstreamTimeout(phase, message, was_sent=False) from None


def _headers_of(response: httpx.Response) -> Headers:
    return [(name.lower(), value) for name, value in response.headers.raw]


def _fault(host: str, response: httpx.Response) -> BrokenAnswer | None:
    headers = _headers_of(response)
    if size_of(headers) > MAX_HEAD_BYTES:
        return head_too_large(host)
    return head_fault(host, response.status_code, headers)


def _finite(due: float) -> float | None:
    return due if due < inf else None


def _root(problem: BaseException) -> BaseException:
    while problem.__cause__ is not None or problem.__context__ is not None:
        problem = problem.__cause__ or problem.__context__ or problem
    return problem
