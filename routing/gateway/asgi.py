"""The few ASGI pieces the gateway needs: reading a bounded body, and a sink that knows its client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from routing.adapters.base import Headers
from routing.core.errors import HubError
from routing.gateway.fixed_headers import NO_HEADERS, FixedHeaders

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_TIMEOUT_S = 60.0


class ClientGone(Exception):
    """The client closed its connection before it had sent the whole request."""


async def read_body(receive: Receive, limit_bytes: int) -> bytes:
    """Raises HubError 413 or 408, and ClientGone."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return _within(body, limit_bytes)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await _read_rest(receive, body, limit_bytes)
    except TimeoutError:
        raise body_late() from None


async def _read_rest(receive: Receive, first: bytes, limit_bytes: int) -> bytes:
    parts, size = [first], len(first)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > limit_bytes:
            raise too_large(limit_bytes)
        if not message.get("more_body"):
            return b"".join(parts)


def check_headers(headers: Headers, limit_bytes: int) -> None:
    """Refuses a body by what its headers announce. Raises HubError 413 or 415."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value[:19]) > limit_bytes:
            raise too_large(limit_bytes)
        if name == b"content-encoding" and value.lower() not in (b"", b"identity"):
            raise HubError(
                415,
                "unsupported_content_encoding",
                "Send the body uncompressed: this endpoint does not decode compressed requests",
            )


def _within(body: bytes, limit_bytes: int) -> bytes:
    if len(body) > limit_bytes:
        raise too_large(limit_bytes)
    return body


def body_late() -> HubError:
    return HubError(
        408, "request_timeout", f"The request body did not arrive within {BODY_TIMEOUT_S:.0f} s"
    )


def too_large(limit_bytes: int) -> HubError:
    return HubError(
        413,
        "request_too_large",
        f"The request body is larger than {limit_bytes // 2**20} MiB. Send less, or ask an "
        "administrator to raise PANELBOARD_MAX_BODY_MIB",
        should_retry=False,
    )


class Sink(Protocol):
    """Where an answer goes. `gone` turns true when the client leaves before the last byte."""

    started: bool
    finished: bool
    gone: bool

    @property
    def write_at_once(self) -> Callable[[bytes], bool] | None:
        """`write` without waiting, where there is such a thing: False once the client has to catch
        up, which `write` then waits for, even with nothing to write."""
        ...

    @property
    def write_framed(self) -> Callable[[bytes], bool] | None:
        """`write_at_once` for one whole HTTP chunk with its framing, where the sink frames so."""
        ...

    def watch(self, on_gone: Callable[[], object]) -> None:
        """Has `on_gone` called when the client leaves, or has left. The latest one asked for counts."""
        ...

    async def start(
        self, status: int, headers: Headers, fixed: FixedHeaders = NO_HEADERS
    ) -> None: ...

    async def write(self, data: bytes) -> None: ...

    async def finish(self, data: bytes = b"") -> None:
        """The terminal event: from here on the answer counts as delivered."""
        ...

    async def reply(
        self, status: int, headers: Headers, body: bytes, fixed: FixedHeaders = NO_HEADERS
    ) -> None:
        """A whole answer at once."""
        ...

    def close(self) -> None:
        """Nothing more will be written. An answer that was not finished is cut off."""
        ...


class AsgiSink:
    """A `Sink` on any ASGI server."""

    __slots__ = ("_on_gone", "_receive", "_send", "_watcher", "finished", "gone", "started")
    write_at_once: Callable[[bytes], bool] | None = None
    write_framed: Callable[[bytes], bool] | None = None

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._watcher: asyncio.Task[None] | None = None
        self._on_gone: Callable[[], object] | None = None
        self.started = False
        self.finished = False
        self.gone = False

    def watch(self, on_gone: Callable[[], object]) -> None:
        # Costs a task, so the caller asks only for what takes longer than a moment.
        self._on_gone = on_gone
        if self.gone:  # it left before, when somebody else watched
            on_gone()
        elif self._watcher is None and not self.finished:
            self._watcher = asyncio.get_running_loop().create_task(self._wait_for_disconnect())

    async def _wait_for_disconnect(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                break
        if not self.finished:
            self.gone = True
            if self._on_gone is not None:
                self._on_gone()

    async def start(self, status: int, headers: Headers, fixed: FixedHeaders = NO_HEADERS) -> None:
        self.started = True
        every = [*fixed.pairs, *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": every})

    async def write(self, data: bytes) -> None:
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        self.finished = True
        await self._send({"type": "http.response.body", "body": data})

    async def reply(
        self, status: int, headers: Headers, body: bytes, fixed: FixedHeaders = NO_HEADERS
    ) -> None:
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))], fixed)
        await self.finish(body)

    def close(self) -> None:
        self.finished = True
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
