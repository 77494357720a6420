"""The hot route inside the server's own protocol class: no ASGI scope, no events, no watcher task.

`POST /v1/chat/completions` over HTTP/1.1 is answered straight on the connection's transport. All
else, and a request that is pipelined behind another one, goes the ordinary way through ASGI, where
the same route gives the same answers. It leans on uvicorn's internals, so uvicorn is pinned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from routing.adapters.base import Headers
from routing.core.errors import HubError
from routing.gateway.asgi import (
    BODY_TIMEOUT_S,
    ClientGone,
    body_late,
    check_headers,
    too_large,
)
from routing.gateway.service import Gateway

HOT_URL = b"/v1/chat/completions"
LAST_CHUNK = b"0\r\n\r\n"
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class _NoEvent:
    """uvicorn wakes a waiting ASGI application by it; nobody waits here."""

    def set(self) -> None:
        pass


_NO_EVENT = _NoEvent()


class HotCycle:
    """One request and its answer: a `Sink`, and what uvicorn expects of a running cycle."""

    __slots__ = (
        "_head",
        "_on_gone",
        "_parts",
        "_protocol",
        "_size",
        "disconnected",
        "finished",
        "gone",
        "is_asked",
        "keep_alive",
        "message_event",
        "refusal",
        "response_complete",
        "started",
    )

    def __init__(self, protocol: HotProtocol, *, keep_alive: bool) -> None:
        self._protocol = protocol
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""  # goes out with the first piece of the body
        self._on_gone: Callable[[], object] | None = None
        self.is_asked = False  # the gateway has been asked: the body is whole, or refused
        self.keep_alive = keep_alive
        self.refusal: HubError | None = None
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NO_EVENT
        self.started = False
        self.finished = False
        self.gone = False

    # --- the request --------------------------------------------------------------------------
    def take(self, part: bytes, limit_bytes: int) -> bool:
        """False once the limit is passed: then nothing is kept and the request is refused."""
        self._size += len(part)
        if self._size <= limit_bytes:
            self._parts.append(part)
            return True
        self._parts.clear()
        self.refusal = too_large(limit_bytes)
        return False

    async def read(self) -> bytes:
        if self.gone:
            raise ClientGone
        if self.refusal is not None:
            raise self.refusal
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def client_left(self) -> None:
        if self.finished:
            return
        self.gone = True
        self.disconnected = True
        if self._on_gone is not None:
            self._on_gone()

    # --- the answer (`routing.gateway.asgi.Sink`) -----------------------------------------------
    def watch(self, on_gone: Callable[[], object]) -> None:
        self._on_gone = on_gone

    async def start(self, status: int, headers: Headers) -> None:
        self.started = True
        self._head = self._head_bytes(status, headers, b"transfer-encoding: chunked\r\n")

    async def write(self, data: bytes) -> None:
        if not data or self.gone:
            return
        self._protocol.transport.write(b"%b%x\r\n%b\r\n" % (self._head, len(data), data))
        self._head = b""
        flow = self._protocol.flow
        if flow.write_paused:
            await flow.drain()

    async def finish(self, data: bytes = b"") -> None:
        piece = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        await self._last(self._head + piece + LAST_CHUNK)

    async def reply(self, status: int, headers: Headers, body: bytes) -> None:
        self.started = True
        length = b"content-length: %d\r\n" % len(body)
        await self._last(self._head_bytes(status, headers, length) + body)

    async def _last(self, data: bytes) -> None:
        self.finished = True
        if not self.gone:
            self._protocol.transport.write(data)
            flow = self._protocol.flow
            if flow.write_paused:
                await flow.drain()
        self._protocol.end_cycle(self)

    def close(self) -> None:
        self._on_gone = None
        if not self.response_complete:
            self.finished = True
            self.keep_alive = False
            self._protocol.transport.abort()  # a client that does not read would keep it open
            self._protocol.end_cycle(self)

    def _head_bytes(self, status: int, headers: Headers, framing: bytes) -> bytes:
        lines = [_STATUS_LINES[status]]
        for name, value in (*self._protocol.server_state.default_headers, *headers):
            lines.append(b"%b: %b\r\n" % (name, value))
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (framing, b"\r\n")
        return b"".join(lines)


class HotProtocol(HttpToolsProtocol):
    """`find_gateway` tells which gateway serves this process, None while there is none."""

    hot: HotCycle | None = None  # the latest one; `cycle` may already be one that is pipelined
    body_timer: asyncio.TimerHandle | None = None

    @staticmethod
    def find_gateway() -> Gateway | None:
        return None

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        hot = self.hot
        if hot is not None and not hot.is_asked and self.body_timer is None:
            self.body_timer = self.loop.call_later(BODY_TIMEOUT_S, self._body_is_late, hot)

    @override
    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    @override
    def on_headers_complete(self) -> None:
        gateway = self.find_gateway() if self.url == HOT_URL else None
        if gateway is None or not self._is_plain_post():
            self._go_the_ordinary_way()
            return
        keep_alive = bool(self.parser.should_keep_alive())
        self.hot = cycle = HotCycle(self, keep_alive=keep_alive)
        self.cycle = cycle  # type: ignore[assignment]
        try:
            check_headers(self.headers, gateway.settings.max_body_bytes)
        except HubError as error:
            cycle.refusal = error
            cycle.keep_alive = False
            self._answer(gateway, cycle)  # now, and not after a body that nobody will read

    def _is_plain_post(self) -> bool:
        running: RequestResponseCycle | HotCycle | None = self.cycle
        busy = running is not None and not running.response_complete
        parser = self.parser
        return (
            not busy
            and not self.expect_100_continue
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
        )

    def _hot_cycle(self) -> HotCycle | None:
        """The hot one that the parser is reading now."""
        running: object = self.cycle
        return running if isinstance(running, HotCycle) else None

    def _go_the_ordinary_way(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers = self.scope["headers"] = headers
        super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        cycle = self._hot_cycle()
        if cycle is None:
            super().on_body(body)
            return
        gateway = self.find_gateway()
        if gateway is None or cycle.refusal is not None:
            return
        if not cycle.take(body, gateway.settings.max_body_bytes):
            cycle.keep_alive = False
            self._answer(gateway, cycle)

    @override
    def on_message_complete(self) -> None:
        cycle = self._hot_cycle()
        if cycle is None:
            super().on_message_complete()
            return
        gateway = self.find_gateway()
        if gateway is None:
            self.transport.close()
        elif cycle.refusal is None:
            self._answer(gateway, cycle)

    def _body_is_late(self, cycle: HotCycle) -> None:
        self.body_timer = None
        gateway = self.find_gateway()
        if not cycle.is_asked and gateway is not None:
            cycle.refusal = body_late()
            cycle.keep_alive = False
            self._answer(gateway, cycle)

    def _answer(self, gateway: Gateway, cycle: HotCycle) -> None:
        cycle.is_asked = True
        if self.body_timer is not None:
            self.body_timer.cancel()
            self.body_timer = None
        task = self.loop.create_task(gateway.chat(self.headers, cycle, cycle.read))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def end_cycle(self, cycle: HotCycle) -> None:
        if cycle.response_complete:
            return
        cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self.body_timer is not None:
            self.body_timer.cancel()
        if self.hot is not None:
            self.hot.client_left()
        super().connection_lost(exc)


def protocol_for(gateway_of: Callable[[], Gateway | None]) -> type[asyncio.Protocol]:
    """A protocol class bound to a way of finding the gateway."""

    class BoundProtocol(HotProtocol):
        find_gateway = staticmethod(gateway_of)

    return BoundProtocol
