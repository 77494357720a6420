"""The hot route inside the server's own protocol class: no ASGI scope, no events, no watcher task.

`POST /v1/chat/completions` over HTTP/1.1 is answered straight on the connection's transport, and a
request whose head equals the one before on its connection is not even parsed. All else, and a
request that is pipelined behind another one, goes the ordinary way through ASGI, where the same
route gives the same answers. It leans on uvicorn's internals, so uvicorn is pinned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from routing.adapters.base import Headers
from routing.compiled.marks import laid_out_by_python
from routing.core.errors import HubError
from routing.gateway.asgi import BODY_TIMEOUT_S, ClientGone, body_late, check_headers, too_large
from routing.gateway.auth import digest_in
from routing.gateway.eager_task import EagerTask
from routing.gateway.fixed_headers import NO_HEADERS, FixedHeaders
from routing.gateway.known_head import KnownHead, learn_head
from routing.gateway.outbox import MOST_HELD_BYTES, Outbox, outbox_of
from routing.gateway.service import Gateway

HOT_URL = b"/v1/chat/completions"
LAST_CHUNK = b"0\r\n\r\n"
MAX_LESSONS = 4  # of one connection: some clients never send the same head twice
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
        "_protocol",
        "_size",
        "disconnected",
        "finished",
        "gone",
        "is_asked",
        "keep_alive",
        "message_event",
        "parts",
        "refusal",
        "response_complete",
        "started",
    )

    def __init__(self, protocol: HotProtocol, keep_alive: bool) -> None:
        self._protocol = protocol
        self.parts: list[bytes] = []
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
            self.parts.append(part)
            return True
        self.parts.clear()
        self.refusal = too_large(limit_bytes)
        return False

    async def read(self) -> bytes:
        if self.gone:
            raise ClientGone
        if self.refusal is not None:
            raise self.refusal
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)

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
        if self.gone:  # it left before anybody watched
            on_gone()

    async def start(self, status: int, headers: Headers, fixed: FixedHeaders = NO_HEADERS) -> None:
        self.started = True
        framing = b"transfer-encoding: chunked\r\n\r\n"
        self._head = self._head_bytes(status, headers, fixed, framing)

    async def write(self, data: bytes) -> None:
        if (data and not self.write_at_once(data)) or self._protocol.flow.write_paused:
            await self._protocol.flow.drain()

    def write_at_once(self, data: bytes) -> bool:
        if self.gone:
            return True
        if self._head:
            data = b"%b%x\r\n%b\r\n" % (self._head, len(data), data)
            self._head = b""
        else:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        return self._send(data)

    def write_framed(self, chunk: bytes) -> bool:
        if self.gone:
            return True
        if self._head:
            chunk = self._head + chunk
            self._head = b""
        return self._send(chunk)

    def _send(self, data: bytes) -> bool:
        protocol = self._protocol
        if protocol.flow.write_paused:
            protocol.write_now(data)
            return False
        protocol.hold(data)
        return not protocol.flow.write_paused

    async def finish(self, data: bytes = b"") -> None:
        piece = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self.finished = True
        protocol = self._protocol
        if not self.gone:
            await protocol.write_last(self, self._head + piece + LAST_CHUNK)
        protocol.end_cycle(self)

    async def reply(
        self, status: int, headers: Headers, body: bytes, fixed: FixedHeaders = NO_HEADERS
    ) -> None:
        self.started = self.finished = True
        protocol = self._protocol
        if not self.gone:
            length = b"content-length: %d\r\n\r\n" % len(body)
            data = self._head_bytes(status, headers, fixed, length, body)
            await protocol.write_last(self, data)
        protocol.end_cycle(self)

    def close(self) -> None:
        self._on_gone = None
        if not self.response_complete:
            self.finished = True
            self.keep_alive = False
            self._protocol.send_held()
            self._protocol.transport.abort()  # a client that does not read would keep it open
            self._protocol.end_cycle(self)

    def _head_bytes(
        self,
        status: int,
        headers: Headers,
        fixed: FixedHeaders,
        framing: bytes,
        body: bytes = b"",
    ) -> bytes:
        own = b"".join([b"%b: %b\r\n" % pair for pair in headers]) if headers else b""
        ending = framing if self.keep_alive else b"connection: close\r\n" + framing
        defaults = self._protocol.default_lines()
        return b"".join((_STATUS_LINES[status], defaults, fixed.lines, own, ending, body))


@laid_out_by_python
class HotProtocol(HttpToolsProtocol):
    """`find_gateway` tells which gateway serves this process, None while there is none."""

    hot: HotCycle | None = None  # the latest one; `cycle` may already be one that is pipelined
    known: KnownHead | None = None
    lessons = 0
    is_lost = False
    between = True  # the parser is not inside a request
    body_timer: asyncio.TimerHandle | None = None
    rest_timer: asyncio.TimerHandle | None = None  # one for the connection, set anew when it fires
    rests_since = 0.0
    held = b""  # an answer that goes out when this turn of the loop is over
    outbox: Outbox
    find_gateway: Callable[[], Gateway | None]

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.outbox = outbox_of(self.loop)
        super().connection_made(transport)

    @override
    def data_received(self, data: bytes) -> None:
        was_between = self.between
        known = self.known
        if known is not None and was_between:
            body = known.body_in(data)
            if body is not None and self._answer_known(known, body):
                return
        super().data_received(data)
        hot = self.hot
        if hot is None:
            return
        if hot.is_asked:
            if was_between and self.lessons < MAX_LESSONS and self._hot_cycle() is hot:
                self._learn(hot, data)
        elif self.body_timer is None:
            self.body_timer = self.loop.call_later(BODY_TIMEOUT_S, self._body_is_late, hot)

    def _answer_known(self, known: KnownHead, body: bytes) -> bool:
        """False where it takes the parser's way: the connection is busy, or the body too large."""
        gateway = self.find_gateway()
        if gateway is None or not self.cycle.response_complete:
            return False
        if len(body) > gateway.settings.max_body_bytes:
            return False
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        self.hot = cycle = HotCycle(self, known.keep_alive)
        self.cycle = cycle  # type: ignore[assignment]
        self._answer(gateway, cycle, known.headers, known.digest, body)
        return True

    def _learn(self, hot: HotCycle, data: bytes) -> None:
        gateway = self.find_gateway()
        if gateway is None or hot.refusal is not None or len(hot.parts) != 1 or not self.between:
            return
        try:
            digest = digest_in(self.headers, gateway.settings.pepper)
        except HubError:
            return
        self.lessons += 1
        self.known = learn_head(data, hot.parts[0], digest, self.headers, keep_alive=hot.keep_alive)

    @override
    def on_message_begin(self) -> None:
        self.between = False
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
        self.hot = cycle = HotCycle(self, keep_alive)
        self.cycle = cycle  # type: ignore[assignment]
        try:
            check_headers(self.headers, gateway.settings.max_body_bytes)
        except HubError as error:
            cycle.refusal = error
            cycle.keep_alive = False
            self._answer(
                gateway, cycle, self.headers
            )  # now, and not after a body that nobody will read

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
            self._answer(gateway, cycle, self.headers)

    @override
    def on_message_complete(self) -> None:
        self.between = True
        cycle = self._hot_cycle()
        if cycle is None:
            super().on_message_complete()
            return
        gateway = self.find_gateway()
        if gateway is None:
            self.transport.close()
        elif cycle.refusal is None:
            self._answer(gateway, cycle, self.headers)

    def _body_is_late(self, cycle: HotCycle) -> None:
        self.body_timer = None
        gateway = self.find_gateway()
        if not cycle.is_asked and gateway is not None:
            cycle.refusal = body_late()
            cycle.keep_alive = False
            self._answer(gateway, cycle, self.headers)

    def _answer(
        self,
        gateway: Gateway,
        cycle: HotCycle,
        headers: Headers,
        digest: bytes | None = None,
        body: bytes | None = None,
    ) -> None:
        cycle.is_asked = True
        if self.body_timer is not None:
            self.body_timer.cancel()
            self.body_timer = None
        work = gateway.chat(headers, cycle, cycle.read, digest, None, body)
        task = EagerTask(work, self.loop, self.tasks.discard)
        if not task.is_done:
            self.tasks.add(task)  # type: ignore[arg-type]

    def end_cycle(self, cycle: HotCycle) -> None:
        if cycle.response_complete:
            return
        cycle.response_complete = True
        if self.is_lost:  # meanwhile
            self._forget()
            return
        if not cycle.keep_alive:
            self.transport.close()
        elif not self.pipeline and not self.flow.read_paused:
            self.server_state.total_requests += 1
            self.rests_since = self.loop.time()
            if self.rest_timer is None:
                self.rest_timer = self.loop.call_later(self.timeout_keep_alive, self._look_at_rest)
            return
        self.on_response_complete()

    @override
    def on_response_complete(self) -> None:
        self.rests_since = self.loop.time()
        super().on_response_complete()

    # --- what goes out together with what others send in this turn of the loop ---------------------
    def hold(self, data: bytes) -> None:
        held = self.held
        if not held:
            if self.outbox.is_open:
                self.held = data
                self.outbox.add(self)
            else:
                self.transport.write(data)
        elif len(held) + len(data) <= MOST_HELD_BYTES:
            self.held = held + data
        else:
            self.write_now(data)

    def send_held(self) -> None:
        held, self.held = self.held, b""
        if held and not self.transport.is_closing():
            self.transport.write(held)

    def write_now(self, data: bytes) -> None:
        if self.held:
            self.send_held()
        self.transport.write(data)

    async def write_last(self, cycle: HotCycle, data: bytes) -> None:
        """Of an answer: at once where something follows it on the connection, or its end."""
        if cycle.keep_alive and not self.pipeline and not self.flow.write_paused:
            self.hold(data)
        else:
            self.write_now(data)
        if self.flow.write_paused:
            await self.flow.drain()

    @override
    def shutdown(self) -> None:
        self.send_held()
        super().shutdown()

    def default_lines(self) -> bytes:
        """The server's own headers (the date), rendered once for as long as they stay."""
        global _rendered  # noqa: PLW0603 - one server per process renews them once a second
        headers = self.server_state.default_headers
        if _rendered[0] is not headers:
            _rendered = (headers, FixedHeaders(headers).lines)
        return _rendered[1]

    # --- rest: the keep-alive limit, without a timer for each request ----------------------------
    def _look_at_rest(self) -> None:
        self.rest_timer = None
        cycle = self.cycle
        if self.transport.is_closing() or not self.between or not cycle.response_complete:
            return  # busy; it is armed again when the answer has ended
        left_s = self.rests_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self.rest_timer = self.loop.call_later(left_s, self._look_at_rest)
        else:
            self.transport.close()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self.body_timer, self.rest_timer):
            if timer is not None:
                timer.cancel()
        if self.hot is not None:
            self.hot.client_left()
        super().connection_lost(exc)
        self.is_lost = True
        running: RequestResponseCycle | HotCycle | None = self.cycle
        if running is None or running.response_complete:
            self._forget()

    def _forget(self) -> None:
        """What ends with the connection goes at once: a cycle of references would wait for the
        garbage collector, which rarely comes."""
        self.held = b""
        self.hot = self.known = self.rest_timer = self.body_timer = None
        self.cycle = None  # type: ignore[assignment]


_rendered: tuple[object, bytes] = (None, b"")


def protocol_for(gateway_of: Callable[[], Gateway | None]) -> Callable[..., asyncio.Protocol]:
    """What makes uvicorn's protocols, bound to a way of finding the gateway."""

    def protocol(*args: Any, **options: Any) -> asyncio.Protocol:
        bound = HotProtocol(*args, **options)
        bound.find_gateway = gateway_of
        return bound

    return protocol
