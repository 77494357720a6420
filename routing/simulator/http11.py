"""HTTP/1.1 on a bare asyncio protocol: what is written, and how a connection ends, is ours to say."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote

import httptools
import msgspec
from typing_extensions import override

Headers = list[tuple[bytes, bytes]]  # names in lower case
Handler = Callable[["Exchange"], None]

MAX_BODY_BYTES = 64 * 2**20
MAX_HEADER_COUNT = 200
MAX_PIPELINED = 16
RESET_GRACE_S = 0.02  # a reset discards what the peer has not read yet: let the last bytes land
_ABORT_WITH_RST = struct.pack("ii", 1, 0)


class TooMuch(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Request(msgspec.Struct):
    method: str
    path: str
    query: str
    headers: Headers
    body: bytes

    def header(self, name: bytes) -> str:
        """First value of a lower-case header name, or ""."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return ""

    def has_header(self, name: bytes) -> bool:
        return any(key == name for key, _ in self.headers)


def status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unassigned"
    return b"HTTP/1.1 %d %s\r\n" % (status, phrase.encode("ascii"))


def head_bytes(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = b"".join(b"%s: %s\r\n" % pair for pair in headers)
    return status_line(status) + lines + b"\r\n"


class Exchange:
    """One request and the answer to it. Exactly one of `finish`, `close`, `reset` ends it.

    `on_gone` is called when the client leaves before that; `on_drain` when a client that read
    too slowly has caught up.
    """

    def __init__(self, connection: Connection, request: Request) -> None:
        self.request = request
        self.on_gone: Callable[[], None] | None = None
        self.on_drain: Callable[[], None] | None = None
        self._connection = connection
        self._ended = False
        self._chunked = False

    @property
    def paused(self) -> bool:
        return self._connection.write_paused

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.write_raw(
            head_bytes(status, [*headers, (b"content-length", b"%d" % len(body))]) + body
        )
        self.finish()

    def begin_chunked(self, status: int, headers: Headers) -> None:
        self._chunked = True
        self.write_raw(head_bytes(status, [*headers, (b"transfer-encoding", b"chunked")]))

    def write(self, data: bytes) -> None:
        """One HTTP chunk of a body begun with `begin_chunked`."""
        if data:
            self.write_raw(b"%x\r\n%s\r\n" % (len(data), data))

    def write_raw(self, data: bytes) -> None:
        if not self._ended:
            self._connection.send(data)

    def finish(self) -> None:
        """The answer is complete; the connection stays open for the next request."""
        if self._ended:
            return
        if self._chunked:
            self.write_raw(b"0\r\n\r\n")
        self._end()
        self._connection.exchange_done()

    def close(self) -> None:
        """Close the connection as if the process had stopped, without finishing the answer."""
        self._end()
        self._connection.close()

    def reset(self) -> None:
        self._end()
        self._connection.reset_soon()

    def client_left(self) -> None:
        if not self._ended:
            self._end()
            if self.on_gone is not None:
                self.on_gone()

    def client_caught_up(self) -> None:
        if not self._ended and self.on_drain is not None:
            self.on_drain()

    def _end(self) -> None:
        self._ended = True


class Connection(asyncio.Protocol):
    def __init__(self, handler: Handler, open_connections: set[Connection]) -> None:
        self.write_paused = False
        self._handler = handler
        self._open = open_connections
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._current: Exchange | None = None
        self._last = False  # the client asked to close after this answer
        self._reset_parts()

    def _reset_parts(self) -> None:
        self._url = b""
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._body_bytes = 0

    # --- asyncio ---------------------------------------------------------------------------------
    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._open.add(self)

    @override
    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._last = True  # nothing to upgrade to: answer, then close
            if self._current is None:
                self.close()
        except httptools.HttpParserCallbackError as exc:
            excess = exc.__context__
            status = excess.status if isinstance(excess, TooMuch) else 400
            self._give_up(status, str(excess or exc))
        except httptools.HttpParserError as exc:
            self._give_up(400, f"not HTTP/1.1: {exc}")

    @override
    def eof_received(self) -> None:
        return None  # a half-closed client has left

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        self._transport = None
        self._waiting.clear()
        if self._current is not None:
            current, self._current = self._current, None
            current.client_left()

    @override
    def pause_writing(self) -> None:
        self.write_paused = True

    @override
    def resume_writing(self) -> None:
        self.write_paused = False
        if self._current is not None:
            self._current.client_caught_up()

    # --- httptools ---------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self._reset_parts()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))
        if len(self._headers) > MAX_HEADER_COUNT:
            raise TooMuch(431, f"more than {MAX_HEADER_COUNT} headers")

    def on_headers_complete(self) -> None:
        if (b"expect", b"100-continue") in self._headers:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > MAX_BODY_BYTES:
            raise TooMuch(413, f"body over {MAX_BODY_BYTES} bytes")
        self._body.append(data)

    def on_message_complete(self) -> None:
        url = httptools.parse_url(self._url)
        self._waiting.append(
            Request(
                method=self._parser.get_method().decode("ascii"),
                path=unquote((url.path or b"/").decode("latin-1")),
                query=(url.query or b"").decode("latin-1"),
                headers=self._headers,
                body=b"".join(self._body),
            )
        )
        self._last = not self._parser.should_keep_alive()
        if len(self._waiting) > MAX_PIPELINED:
            raise TooMuch(429, f"more than {MAX_PIPELINED} requests in a row")
        self._start_next()

    # --- for Exchange ------------------------------------------------------------------------------
    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def exchange_done(self) -> None:
        self._current = None
        if self._last and not self._waiting:
            self.close()
        elif self._waiting:
            asyncio.get_running_loop().call_soon(self._start_next)

    def close(self) -> None:
        self._current = None
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def reset_soon(self) -> None:
        self._current = None
        asyncio.get_running_loop().call_later(RESET_GRACE_S, self.reset)

    def reset(self) -> None:
        if self._transport is None:
            return
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT_WITH_RST)
        self._transport.abort()

    def _start_next(self) -> None:
        if self._current is None and self._waiting and self._transport is not None:
            self._current = Exchange(self, self._waiting.popleft())
            self._handler(self._current)

    def _give_up(self, status: int, reason: str) -> None:
        body = reason.encode("utf-8", "replace")
        self.send(
            head_bytes(
                status,
                [
                    (b"content-type", b"text/plain; charset=utf-8"),
                    (b"content-length", b"%d" % len(body)),
                    (b"connection", b"close"),
                ],
            )
            + body
        )
        self.close()
