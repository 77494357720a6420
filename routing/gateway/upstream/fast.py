"""The upstream client of the hot path: pooled keep-alive connections on asyncio and httptools."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from math import inf

from routing.core.errors import ConnectFailed
from routing.gateway.upstream.answer import FastAnswer
from routing.gateway.upstream.base import UpstreamRequest
from routing.gateway.upstream.connection import StaleConnection
from routing.gateway.upstream.guard import AllowList, Guard, Target, parse_target
from routing.gateway.upstream.pool import Pool, PoolStats
from routing.gateway.upstream.sending import (
    OWN_HEADERS,
    bad_header,
    has_body,
)

_MAX_READY = 1024
_ONE_WRITE_BYTES = 2**16
_Headers = Sequence[tuple[bytes, bytes]]


def client_ssl_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class FastUpstream:
    """Sends requests over pooled connections; see `UpstreamClient` for what it raises."""

    def __init__(
        self,
        allow: AllowList,
        ssl_context: ssl.SSLContext | None = None,
        max_connections_per_host: int = 2048,
        idle_expiry_s: float = 30.0,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard or Guard(allow)
        self._ssl_context = ssl_context or client_ssl_context()
        self._max_connections_per_host = max_connections_per_host
        self._idle_expiry_s = idle_expiry_s
        self._pools: dict[tuple[str, str, int], Pool] = {}
        # By URL and the identity of the headers, which are kept so that no others can have it.
        self._ready: dict[tuple[str, int], tuple[Pool, bytes, str, _Headers]] = {}
        self._is_closed = False

    async def send(self, request: UpstreamRequest) -> FastAnswer:
        if self._is_closed:
            raise ConnectFailed("the upstream client is closed")
        ready = self._ready.get((request.url, id(request.headers)))
        if ready is None or ready[2] != request.method:
            ready = self._prepare(request.method, request.url, request.headers)
        pool, head = ready[:2]
        message, rest = _message(head, request)
        deadlines = request.deadlines
        connection = pool.take()
        loop = asyncio.get_running_loop() if connection is None else connection.loop
        now = loop.time()
        total_at = now + deadlines.total_s if deadlines.total_s else inf
        if connection is None:
            connection = await pool.acquire(deadlines, total_at)
            now = loop.time()
        answer = connection.start(message, rest, deadlines, total_at, now)
        try:
            await answer.waiter
            if not answer.status and type(answer.error) is StaleConnection:
                # Not `take`: the next that was kept may be dead too.
                connection = await pool.acquire(deadlines, total_at)
                answer = connection.start(message, rest, deadlines, total_at, loop.time())
                await answer.waiter
        except BaseException:
            answer.abandon()
            raise
        if not answer.status and answer.error is not None:
            raise answer.error
        return answer

    async def aclose(self) -> None:
        """Closes what is unused, lets the rest end for a moment, then cuts it off."""
        self._is_closed = True
        await asyncio.gather(*(pool.aclose() for pool in self._pools.values()))
        self._guard.close()

    def stats(self) -> PoolStats:
        every = [pool.stats() for pool in self._pools.values()]
        return PoolStats(*(sum(column) for column in zip(*every, strict=True))) if every else _NONE

    def _prepare(
        self, method: str, url: str, headers: _Headers
    ) -> tuple[Pool, bytes, str, _Headers]:
        """The connections for a URL and the head of a request to it, checked."""
        target = parse_target(url)
        ready = (self._pool(target), _head(method, target, headers), method, headers)
        if type(headers) is tuple:
            if len(self._ready) >= _MAX_READY:
                self._ready.clear()
            self._ready[url, id(headers)] = ready
        return ready

    def _pool(self, target: Target) -> Pool:
        key = (target.scheme, target.host, target.port)
        pool = self._pools.get(key)
        if pool is None:
            context = self._ssl_context if target.scheme == "https" else None
            pool = self._pools[key] = Pool(
                target, self._guard, context, self._max_connections_per_host, self._idle_expiry_s
            )
        return pool


_NONE = PoolStats(0, 0, 0)


def _head(method: str, target: Target, headers: _Headers) -> bytes:
    """All of a head that does not change from one request to the next."""
    if not method.isascii() or not method.isalpha():
        raise ConnectFailed(f"{method!r} is not an HTTP method")
    own = (
        f"{method} {target.path} HTTP/1.1",
        f"host: {target.authority}",
        "accept-encoding: identity",
    )
    lines = [line.encode("ascii") for line in own]
    lines += [b"%b: %b" % pair for pair in headers if pair[0] not in OWN_HEADERS]
    head = b"\r\n".join(lines)
    ends = len(lines) - 1
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise bad_header()
    return head


def _message(head: bytes, request: UpstreamRequest) -> tuple[bytes, bytes]:
    """What to write first, and what after it: a small body goes with its head."""
    mark, body = request.mark, request.body
    if mark:
        if b"\n" in mark or b"\r" in mark or b"\0" in mark:
            raise bad_header()
        head = b"%b\r\nx-request-id: %b" % (head, mark)
    if not body and not has_body(request.method, body):
        return head + b"\r\n\r\n", b""
    if len(body) < _ONE_WRITE_BYTES:
        return b"%b\r\ncontent-length: %d\r\n\r\n%b" % (head, len(body), body), b""
    return b"%b\r\ncontent-length: %d\r\n\r\n" % (head, len(body)), body
