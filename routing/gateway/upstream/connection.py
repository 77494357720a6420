"""One HTTP/1.1 connection of the fast client to a provider.

No task and, as a rule, no timer belongs to a single request: a connection has one timer, which
looks at time stamps when it fires and is only set anew when a nearer deadline appears.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Protocol, cast

import httptools
from typing_extensions import override

from routing.adapters.base import Headers
from routing.compiled.marks import laid_out_by_python
from routing.core.deadlines import DEFAULT_DEADLINES, Deadlines
from routing.core.errors import BrokenAnswer, UpstreamError, UpstreamTimeout
from routing.gateway.outbox import outbox_of
from routing.gateway.upstream.answer import FastAnswer
from routing.gateway.upstream.chunked import data_start
from routing.gateway.upstream.heads import (
    MAX_HEAD_BYTES,
    broken,
    ends_with_connection,
    head_fault,
    head_too_large,
    size_of,
)
from routing.gateway.upstream.plain import PlainAnswer, read_plain
from routing.gateway.upstream.sending import STALE_WINDOW_S, after


@laid_out_by_python
class StaleConnection(BrokenAnswer):
    """A kept connection was gone before it carried one byte of the answer: safe to try afresh."""


class Owner(Protocol):
    """Whoever keeps the connections; told of every change."""

    def freed(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """Carries one exchange at a time. Everything happens in the event loop's callbacks."""

    __slots__ = (
        "_answer",
        "_deadlines",
        "_headers",
        "_heard_at",
        "_held",
        "_host",
        "_idle_expiry_s",
        "_is_between_chunks",
        "_is_chunk_over",
        "_is_paused",
        "_is_reusable",
        "_is_surplus",
        "_is_writing",
        "_no_body_bytes",
        "_outbox",
        "_owner",
        "_parser",
        "_started_at",
        "_timer",
        "_timer_at",
        "_total_at",
        "_transport",
        "exchanges",
        "is_closed",
        "loop",
    )

    def __init__(
        self, owner: Owner, loop: asyncio.AbstractEventLoop, host: str, idle_expiry_s: float
    ) -> None:
        self._owner = owner
        self.loop = loop
        self._host = host
        self._idle_expiry_s = idle_expiry_s
        self.exchanges = 0
        self.is_closed = False
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: FastAnswer | None = None
        self._headers: Headers = []
        self._deadlines = DEFAULT_DEADLINES
        self._started_at = self._heard_at = loop.time()
        self._total_at = inf
        self._no_body_bytes = 0  # received since the last byte of a body
        self._outbox = outbox_of(loop)
        self._held = b""  # a message that goes out when this turn of the loop is over
        self._is_writing = False
        self._is_paused = False
        self._is_chunk_over = False  # for the parser
        self._is_between_chunks = False  # nothing of the next one has come
        self._is_reusable = False
        self._is_surplus = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf

    # --- what the client does ---------------------------------------------------------------------

    def start(
        self, message: bytes, rest: bytes, deadlines: Deadlines, total_at: float, now: float
    ) -> FastAnswer:
        """Sends `message` and then `rest`. The answer's `waiter` ends with its head or an error."""
        self.exchanges += 1
        self._deadlines = deadlines
        self._total_at = total_at
        self._started_at = self._heard_at = now
        self._no_body_bytes = 0
        self._is_chunk_over = self._is_between_chunks = False
        self._is_surplus = False
        self._answer = answer = FastAnswer(self, self.loop, self.loop.create_future())
        if self._outbox.is_open and not rest:
            self._held = message
            self._outbox.add(self)
        else:
            self._transport.write(message)
            if rest:
                self._transport.write(rest)
        due = total_at
        if deadlines.first_content_s and now + deadlines.first_content_s < due:
            due = now + deadlines.first_content_s
        if self._is_writing:
            due = min(due, after(now, deadlines.write_s))
        if due < self._timer_at:
            self._arm(due)
        return answer

    def send_held(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)
            if self._is_writing:  # it did not all go at once
                self._arm_sooner(after(self.loop.time(), self._deadlines.write_s))

    def resume(self) -> None:
        if self._is_paused and not self.is_closed:
            self._is_paused = False
            self._heard_at = self.loop.time()  # the silence was ours
            self._transport.resume_reading()
            self._arm_sooner(after(self._heard_at, self._deadlines.idle_s))

    def abort(self) -> None:
        self.is_closed = True
        self._answer = None
        self._held = b""
        self._transport.abort()

    def cut_off(self) -> None:
        self._fail(BrokenAnswer("closed", f"{self._host}: the hub is shutting down"))

    def close(self) -> None:
        """Of a connection that carries nothing."""
        self.is_closed = True
        self._transport.close()

    # --- what the event loop tells ----------------------------------------------------------------

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base class
        self._parser = httptools.HttpResponseParser(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer = self._answer
        self._answer = None
        if answer is not None:
            self._end_at_eof(answer, exc)
        self._parser = None  # it refers back to this object
        self._owner.lost(self)

    @override
    def eof_received(self) -> None:
        self.is_closed = True  # not to be handed out while the loop is closing it

    @override
    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or self._parser is None:
            self.abort()  # nobody asked for this
            return
        if self._held:  # whatever it is, it answers something else
            self._fail(StaleConnection("no_answer", f"{self._host}: spoke unasked"))
            return
        self._heard_at = self.loop.time()
        if self._is_between_chunks and self._pass_on(answer, data):
            return
        if not answer.status and not self._no_body_bytes:
            plain = read_plain(data)
            if plain is not None:
                self._finish_plain(answer, plain)
                return
        self._no_body_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as problem:
            self._parse_failed(answer, problem)
            return
        except httptools.HttpParserUpgrade:
            self._fail(broken(self._host, "malformed", "it switched protocols unasked"))
            return
        self._is_between_chunks = self._is_chunk_over and data.endswith(b"\r\n")
        taker = answer.taker
        if taker is None or answer.is_complete or not answer.parts or taker.done():
            self._go_on(answer)
            return
        parts = answer.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        answer.unread = 0
        pour = answer.pour
        if pour is None:
            answer.taker = None
            taker.set_result(data)
        elif not pour(data) and not taker.done():
            answer.taker = None
            taker.set_result(b"")

    def _pass_on(self, answer: FastAnswer, data: bytes) -> bool:
        """A chunk that came alone and whole needs no parser: it begins and ends where one does."""
        framed, taker = answer.framed, answer.taker
        if framed is None or taker is None or taker.done():
            return False
        start = data_start(data)
        if not start:
            return False
        if not framed(data, start) and not taker.done():
            answer.taker = None
            taker.set_result(b"")
        return True

    @override
    def pause_writing(self) -> None:
        self._is_writing = True

    @override
    def resume_writing(self) -> None:
        self._is_writing = False

    # --- what the parser tells ----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._answer is not None and self._answer.status:
            self._is_surplus = True  # a second answer, to nothing we asked
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        answer = self._answer
        if answer is not None and not answer.status:  # else a trailer
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        answer = self._answer
        assert self._parser is not None
        status = self._parser.get_status_code()
        if answer is None or answer.status or 100 <= status < 200:
            return
        fault = self._fault_of_head(status)
        if fault is not None:
            self._fail(fault)
            return
        answer.parsed = self._headers
        answer.status = status
        if self._heard_at + self._deadlines.idle_s < self._timer_at:
            self._arm_sooner(after(self._heard_at, self._deadlines.idle_s))

    def on_chunk_header(self) -> None:
        self._is_chunk_over = False

    def on_chunk_complete(self) -> None:
        self._is_chunk_over = True

    def on_body(self, data: bytes) -> None:
        answer = self._answer
        if answer is not None and not answer.is_complete:
            answer.parts.append(data)
            answer.unread += len(data)
            self._no_body_bytes = 0

    def on_message_complete(self) -> None:
        answer = self._answer
        if (
            answer is not None and answer.status and not answer.is_complete
        ):  # else an interim answer
            assert self._parser is not None
            self._is_reusable = self._parser.should_keep_alive()
            answer.complete()

    # --- inside -------------------------------------------------------------------------------------

    def _fault_of_head(self, status: int) -> BrokenAnswer | None:
        if self._no_body_bytes > MAX_HEAD_BYTES and size_of(self._headers) > MAX_HEAD_BYTES:
            return head_too_large(self._host)
        return head_fault(self._host, status, self._headers)

    def _go_on(self, answer: FastAnswer) -> None:
        if answer.is_complete:
            self._finish()
        elif answer.unread > answer.room:
            self._hold(answer)
        elif self._no_body_bytes > MAX_HEAD_BYTES:
            self._fail(head_too_large(self._host))
        answer.tell()

    def _finish_plain(self, answer: FastAnswer, plain: PlainAnswer) -> None:
        answer.head, answer.lower, body = plain
        answer.status = 200
        if body:
            answer.parts.append(body)
            answer.unread = len(body)
        answer.is_complete = True
        answer.connection = None
        self._is_reusable = True
        self._finish()
        if not answer.waiter.done():
            answer.waiter.set_result(None)

    def _finish(self) -> None:
        self._answer = None
        transport = self._transport
        if self._is_paused:
            self._is_paused = False
            transport.resume_reading()
        unsent = self._is_writing or transport.get_write_buffer_size() > 0
        if self._is_reusable and not (unsent or self._is_surplus or transport.is_closing()):
            due = self._heard_at + self._idle_expiry_s
            if due < self._timer_at:
                self._arm(due)
            self._owner.freed(self)
        else:
            self.abort()

    def _hold(self, answer: FastAnswer) -> None:
        if answer.wants_all:
            return  # over its limit: the reader ends it
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _parse_failed(self, answer: FastAnswer, problem: Exception) -> None:
        if answer.is_complete:  # bytes behind the announced end
            self.abort()
            answer.tell()
        else:
            self._fail(broken(self._host, "malformed", str(problem), answer.status or None))

    def _end_at_eof(self, answer: FastAnswer, exc: Exception | None) -> None:
        if not answer.status:
            answer.fail(self._no_answer(exc))
        elif exc is None and ends_with_connection(answer.headers):
            answer.complete()
            answer.tell()
        else:
            reason = str(exc) if exc else "the connection was closed"
            answer.fail(broken(self._host, "truncated", f"cut short: {reason}", answer.status))

    def _no_answer(self, exc: Exception | None) -> BrokenAnswer:
        reason = str(exc) if exc else "the connection was closed"
        nothing_came = self._no_body_bytes == 0
        at_once = self.loop.time() - self._started_at < STALE_WINDOW_S
        if self.exchanges > 1 and nothing_came and at_once:
            return StaleConnection("no_answer", f"{self._host}: {reason}")
        return broken(self._host, "no_answer", f"nothing complete came back: {reason}")

    def _fail(self, error: UpstreamError) -> None:
        answer = self._answer
        self.abort()
        if answer is not None:
            answer.fail(error)

    # --- deadlines ----------------------------------------------------------------------------------

    def _arm_sooner(self, due: float) -> None:
        if due < self._timer_at:
            self._arm(due)

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self.loop.call_at(due, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer = None
        self._timer_at = inf
        due, phase = min(self._dues())
        if due > self.loop.time():
            if due < inf:
                self._arm(due)
        elif self._answer is None:
            self.close()
        else:
            self._fail(
                UpstreamTimeout(phase, f"{self._host}: {_TIMEOUTS[phase].format(self._deadlines)}")
            )

    def _dues(self) -> list[tuple[float, str]]:
        if self._answer is None:
            return [(self._heard_at + self._idle_expiry_s, "unused")]
        deadlines = self._deadlines
        dues = [(self._total_at, "total")]
        if self._is_writing:
            dues.append((after(self._started_at, deadlines.write_s), "write"))
        if not self._answer.status:
            dues.append((after(self._started_at, deadlines.first_content_s), "first_content"))
        elif not self._is_paused:
            dues.append((after(self._heard_at, deadlines.idle_s), "idle"))
        return dues


_TIMEOUTS = {
    "total": "the exchange took more than {0.total_s:g} s",
    "write": "the request could not be sent within {0.write_s:g} s",
    "first_content": "no answer within {0.first_content_s:g} s",
    "idle": "not a byte for {0.idle_s:g} s",
}
