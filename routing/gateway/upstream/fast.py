"""The upstream client of the hot path: pooled keep-alive connections on asyncio and httptools."""

from __future__ import annotations

import asyncio
import ssl

from routing.core.deadlines import Deadlines
from routing.core.errors import ConnectFailed
from routing.gateway.upstream.answer import FastAnswer
from routing.gateway.upstream.base import UpstreamRequest
from routing.gateway.upstream.connection import Connection, StaleConnection
from routing.gateway.upstream.guard import AllowList, Guard, Target, parse_target
from routing.gateway.upstream.pool import Pool, PoolStats
from routing.gateway.upstream.sending import (
    OWN_HEADERS,
    after,
    bad_header,
    has_body,
)

_MAX_ROUTES = 1024


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
        self._routes: dict[tuple[str, str], tuple[Pool, bytes]] = {}
        self._is_closed = False

    async def send(self, request: UpstreamRequest) -> FastAnswer:
        if self._is_closed:
            raise ConnectFailed("the upstream client is closed")
        deadlines = request.deadlines
        total_at = after(asyncio.get_running_loop().time(), deadlines.total_s)
        pool, opening = self._route(request.method, request.url)
        head = _head(opening, request)
        connection = pool.take() or await pool.acquire(deadlines, total_at)
        try:
            return await _exchange(connection, head, request.body, deadlines, total_at)
        except StaleConnection:
            connection = await pool.acquire(
                deadlines, total_at
            )  # not `take`: the kept may be dead too
            return await _exchange(connection, head, request.body, deadlines, total_at)

    async def aclose(self) -> None:
        """Closes what is unused, lets the rest end for a moment, then cuts it off."""
        self._is_closed = True
        await asyncio.gather(*(pool.aclose() for pool in self._pools.values()))
        self._guard.close()

    def stats(self) -> PoolStats:
        every = [pool.stats() for pool in self._pools.values()]
        return PoolStats(*(sum(column) for column in zip(*every, strict=True))) if every else _NONE

    def _route(self, method: str, url: str) -> tuple[Pool, bytes]:
        route = self._routes.get((method, url))
        if route is None:
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            target = parse_target(url)
            route = (self._pool(target), _opening(method, target))
            self._routes[method, url] = route
        return route

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


async def _exchange(
    connection: Connection, head: bytes, body: bytes, deadlines: Deadlines, total_at: float
) -> FastAnswer:
    answer = connection.start(head, body, deadlines, total_at)
    try:
        await answer.head()
    except BaseException:
        await answer.aclose()
        raise
    return answer


def _opening(method: str, target: Target) -> bytes:
    if not method.isascii() or not method.isalpha():
        raise ConnectFailed(f"{method!r} is not an HTTP method")
    lines = (
        f"{method} {target.path} HTTP/1.1",
        f"host: {target.authority}",
        "accept-encoding: identity",
    )
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _head(opening: bytes, request: UpstreamRequest) -> bytes:
    lines = [b"%b: %b\r\n" % pair for pair in request.headers if pair[0] not in OWN_HEADERS]
    if request.mark:
        lines.append(b"x-request-id: %b\r\n" % request.mark)
    if has_body(request.method, request.body):
        lines.append(b"content-length: %d\r\n" % len(request.body))
    head = b"%b%b\r\n" % (opening, b"".join(lines))
    ends = len(lines) + 4
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise bad_header()
    return head
