"""Requests whose bodies, and answers whose contents, are too large to be held.

It connects only where the guard allows, follows no redirects and uses no environment, like the
clients for single requests.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import httpcore
import httpx
import msgspec
from typing_extensions import override

from routing.batches.providers.paper import Body, pieces_of, size_of
from routing.core.deadlines import Deadlines
from routing.core.errors import BrokenAnswer, ConnectFailed, UpstreamError, UpstreamTimeout
from routing.gateway.upstream.guard import AllowList, Guard, Target, parse_target
from routing.gateway.upstream.httpx_network import GuardedBackend, Transport, watching
from routing.gateway.upstream.sending import check_headers, connect_problem, has_body, too_large

DEADLINES = Deadlines(connect_s=10.0, first_content_s=300.0, idle_s=120.0, total_s=3600.0)
TIMEOUTS = httpx.Timeout(DEADLINES.first_content_s, write=DEADLINES.idle_s, pool=None)
_PROBLEMS = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)


class CarriedAnswer(msgspec.Struct, frozen=True):
    status: int
    headers: list[tuple[bytes, bytes]]  # names in lower case
    response: httpx.Response

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises BrokenAnswer and UpstreamTimeout."""
        with _told(self.response.request.url.host, was_sent=True):
            async for chunk in self.response.aiter_raw():
                yield chunk

    async def read(self, limit_bytes: int) -> bytes:
        content = bytearray()
        async for chunk in self.chunks():
            content += chunk
            if len(content) > limit_bytes:
                raise too_large(limit_bytes, self.status)
        return bytes(content)

    async def aclose(self) -> None:
        await self.response.aclose()


class Carrier:
    """Close it. Raises UpstreamError."""

    def __init__(self, allow: AllowList) -> None:
        self._guard = Guard(allow)
        pool = httpcore.AsyncConnectionPool(
            network_backend=GuardedBackend(self._guard),
            ssl_context=ssl.create_default_context(),
            retries=0,
        )
        self._client = httpx.AsyncClient(transport=Transport(pool), trust_env=False)

    async def send(
        self, method: str, url: str, headers: Sequence[tuple[bytes, bytes]], body: Body = ()
    ) -> CarriedAnswer:
        target, length = parse_target(url), size_of(body)
        check_headers(list(headers))
        own = [(b"host", target.authority.encode()), (b"accept-encoding", b"identity")]
        if length or has_body(method, b""):
            own.append((b"content-length", b"%d" % length))
        request = httpx.Request(
            method,
            f"{target.scheme}://{target.authority}{target.path}",
            headers=own + list(headers),
            stream=_Stream(body),
            extensions={"timeout": TIMEOUTS.as_dict()},
        )
        watcher = _Watcher(target)
        token = watching.set(watcher)
        try:
            with _told(target.authority, was_sent=False, watcher=watcher):
                async with asyncio.timeout(DEADLINES.total_s):
                    response = await self._client.send(request, stream=True)
        finally:
            watching.reset(token)
        found = [(name.lower(), value) for name, value in response.headers.raw]
        return CarriedAnswer(response.status_code, found, response)

    async def aclose(self) -> None:
        await self._client.aclose()
        self._guard.close()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, body: Body) -> None:
        self._body = body

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in pieces_of(self._body):
            yield piece


class _Watcher:
    """What the network below asks of whoever sends."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.deadlines = DEADLINES
        self.refusal: UpstreamError | None = None

    def is_head_too_large(self) -> bool:
        return False

    def saw(self, data: bytes) -> None:
        """Nothing is counted here."""


@contextmanager
def _told(host: str, *, was_sent: bool, watcher: _Watcher | None = None) -> Iterator[None]:
    """Says in the hub's own words what went wrong on the way."""
    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
        if watcher is not None and watcher.refusal is not None:
            raise watcher.refusal from exc
        raise ConnectFailed(f"{host}: {connect_problem(exc)}") from exc
    except (httpcore.TimeoutException, TimeoutError) as exc:
        raise UpstreamTimeout("idle" if was_sent else "total", f"{host}: no answer") from exc
    except _PROBLEMS as exc:
        code = "truncated" if was_sent else "no_answer"
        raise BrokenAnswer(code, f"{host}: {str(exc) or type(exc).__name__}") from exc
