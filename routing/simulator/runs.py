"""How an answer leaves: whole after a while, or frame by frame at the provider's pace.

Faults that strike inside an answer live here; those that come before any answer in
`early_faults`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from typing_extensions import override

from routing.simulator.calls import Call
from routing.simulator.faults import Fault
from routing.simulator.http11 import head_bytes
from routing.simulator.prices import Tally, cost_usd
from routing.simulator.profiles import Pace
from routing.simulator.session import Frame, Kind, Replies, Report, Session, Streams
from routing.simulator.wheel import TICK_S

FRAMES_PER_WRITE = 64
HEAD_SHARE = 0.5  # of the TTFT: when the frame that only names the role leaves
COMMENT_EVERY_S = 0.25
LENGTH_LIE = 64  # bytes announced and never sent
DRESSES: dict[str, Callable[[bytes], bytes]] = {
    "crlf": lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
    "bare_cr": lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
    "no_space": lambda data: data.replace(b"data: ", b"data:"),
}
BOM = b"\xef\xbb\xbf"
REPORTS = {"no_usage": Report.NONE, "usage_absurd": Report.ABSURD}
BROKEN_FRAME = b'data: {"id":"broken","choices":[{"index":0,"delta":{"content":"half\n\n'


class Run:
    """Common to both: the bill for what was produced, and the end."""

    def __init__(self, call: Call, session: Session, pace: Pace, fault: Fault | None) -> None:
        self.call = call
        self.exchange = call.exchange
        self.session = session
        self.pace = pace
        self.fault = fault
        self.kind = fault.fault if fault is not None else ""
        self.produced = msgspec.structs.replace(session.tally, output_total=0, reasoning=0)
        self.delay_s = self._seconds() if self.kind in {"slow_first_token", "slow_headers"} else 0.0
        session.report = REPORTS.get(self.kind, Report.TRUE)
        self.exchange.on_gone = self.gone

    def _seconds(self) -> float:
        return (self.fault.seconds if self.fault is not None else None) or 0.0

    def _elapsed_s(self) -> float:
        return self.call.service.wheel.now() - self.call.started

    def gone(self) -> None:
        self.close_books("client")

    def close_books(self, closed_by: str) -> None:
        """Bill what was produced so far and end the row. Safe to call twice."""
        session = self.session
        cost = cost_usd(
            self.produced,
            session.endpoint.prices,
            self.call.service.moment(self.call.row.time),
            session.ask.service_tier,
        )
        self.call.bill(self.produced, cost)
        self.call.end(closed_by)

    def _wrong_length(self, body: bytes, content_type: bytes) -> None:
        lie = (b"content-length", b"%d" % (len(body) + LENGTH_LIE))
        headers = self.call.headers((b"content-type", content_type))
        self.exchange.write_raw(head_bytes(200, [*headers, lie]) + body)
        self.close_books("fault")
        self.exchange.close()


class WholeRun(Run):
    def __init__(
        self, call: Call, session: Session, dialect: Replies, pace: Pace, fault: Fault | None
    ) -> None:
        super().__init__(call, session, pace, fault)
        self.dialect = dialect

    def begin(self) -> None:
        total_s = self.delay_s + self.pace.due_s(self.session.tally.output_total)
        if total_s <= 0:
            self.write()
        else:
            self.call.service.wheel.at(self.call.started + total_s, self.write)

    @override
    def gone(self) -> None:
        made = self.pace.pieces_by(self._elapsed_s(), self.session.tally.output_total)
        self._produce(made)
        self.close_books("client")

    def write(self) -> None:
        if self.call.ended:
            return
        self.session.elapsed_s = self._elapsed_s()
        body = self.dialect.reply(self.session)
        self._produce(self.session.tally.output_total)
        self.call.row.status = 200
        self.call.row.chunks = 1
        if self.kind == "wrong_length":
            self._wrong_length(body, self.session.content_type)
        elif self.kind in {"cut", "stall"}:
            self._half(body)
        else:
            if self.kind == "malformed_frame":
                body = body[: len(body) // 2]
            self.close_books("fault" if self.kind == "malformed_frame" else "server")
            self.exchange.respond(200, self.call.headers(self._content_type), body)

    @property
    def _content_type(self) -> tuple[bytes, bytes]:
        return b"content-type", self.session.content_type

    def _half(self, body: bytes) -> None:
        length = (b"content-length", b"%d" % len(body))
        head = head_bytes(200, [*self.call.headers(self._content_type), length])
        self.exchange.write_raw(head + body[: len(body) // 2])
        if self.kind == "cut":
            self.close_books("fault")
            _hang_up(self)
        elif self.fault is not None and self.fault.seconds:
            self._finish_later(body[len(body) // 2 :], self.fault.seconds)

    def _finish_later(self, rest: bytes, seconds: float) -> None:
        def finish() -> None:
            if not self.call.ended:
                self.exchange.write_raw(rest)
                self.close_books("server")
                self.exchange.finish()

        wheel = self.call.service.wheel
        wheel.at(wheel.now() + seconds, finish)

    def _produce(self, output: int) -> None:
        self.produced.output_total = output
        self.produced.reasoning = min(output, self.session.tally.reasoning)


def _hang_up(run: Run) -> None:
    mode = run.fault.mode if run.fault is not None else "close"
    if mode == "rst":
        run.exchange.reset()
    elif mode == "clean" and isinstance(run, StreamRun):
        run.exchange.finish()
    else:
        run.exchange.close()


class StreamRun(Run):
    def __init__(
        self, call: Call, session: Session, dialect: Streams, pace: Pace, fault: Fault | None
    ) -> None:
        super().__init__(call, session, pace, fault)
        self._frames = dialect.frames(session)
        self._stream_type = dialect.stream_type
        self._next: Frame | None = None
        self._waiting = False
        self._struck = False  # a fault that strikes once has done so
        self.exchange.on_drain = self.pump

    def begin(self) -> None:
        if self.kind == "slow_headers":
            wheel = self.call.service.wheel
            wheel.at(wheel.now() + self._seconds(), self.open)
        else:
            self.open()

    def open(self) -> None:
        if self.call.ended:
            return
        self.call.row.status = 200
        if self.kind == "wrong_length":
            self._all_at_once()
            return
        headers = self.call.headers((b"content-type", self._stream_type))
        self.exchange.begin_chunked(200, [*headers, (b"cache-control", b"no-cache")])
        if self.kind == "error_first_frame":
            assert self.fault is not None
            self.produced = Tally()
            self.exchange.write(self.call.error_frame(self.fault))
            self._end_by_fault()
            return
        if self.kind == "bom":
            self.exchange.write(BOM)
        self._advance()
        self.pump()

    def pump(self) -> None:
        """Write every frame that is due; come back when the next one is."""
        if self._waiting:
            return
        out: list[bytes] = []
        now = self.call.service.wheel.now()
        while not self.call.ended and not self.exchange.paused:
            frame = self._next
            if frame is None:
                self._flush(out)
                self._complete()
                return
            due = self._due(frame)
            if due > now + TICK_S / 2:
                self._flush(out)
                self._wake(due)
                return
            if self.kind and self._strikes(frame, out):
                return
            self._take(frame, out)
            if len(out) >= FRAMES_PER_WRITE:
                self._flush(out)
        self._flush(out)

    def _due(self, frame: Frame) -> float:
        start = self.call.started + self.delay_s
        if frame.kind is Kind.HEAD and not self.produced.output_total:
            return start + self.pace.ttft_s * HEAD_SHARE
        if self.kind == "pace":
            return start + self.pace.ttft_s + self.call.row.chunks * self._seconds()
        return start + self.pace.due_s(self.produced.output_total)

    def _take(self, frame: Frame, out: list[bytes]) -> None:
        self.produced.output_total += frame.output
        self.produced.reasoning += frame.reasoning
        if frame.data:
            out.append(frame.data)
            if frame.kind is Kind.CONTENT:
                self.call.row.chunks += 1
        self._advance()

    def _advance(self) -> None:
        self.session.elapsed_s = self._elapsed_s()
        self._next = next(self._frames, None)

    def _flush(self, out: list[bytes]) -> None:
        data = b"".join(out)
        out.clear()
        dress = DRESSES.get(self.kind)
        if dress is not None:
            data = dress(data)
        if self.kind == "byte_by_byte":
            for at in range(len(data)):
                self.exchange.write(data[at : at + 1])
        else:
            self.exchange.write(data)

    def _wake(self, when: float) -> None:
        self._waiting = True
        self.call.service.wheel.at(when, self._woken)

    def _woken(self) -> None:
        self._waiting = False
        if not self.call.ended:
            self.pump()

    def _complete(self) -> None:
        self.close_books("server")
        self.exchange.finish()

    def _end_by_fault(self) -> None:
        self.close_books("fault")
        self.exchange.finish()

    def _all_at_once(self) -> None:
        self._advance()
        out: list[bytes] = []
        while self._next is not None:
            self._take(self._next, out)
        self._wrong_length(b"".join(out), self._stream_type)

    # --- faults in the stream --------------------------------------------------------------------

    def _strikes(self, frame: Frame, out: list[bytes]) -> bool:
        """True when the fault has taken over and pumping must stop."""
        if frame.kind is Kind.DONE and self.kind in {"no_done", "double_done"}:
            if self.kind == "double_done":
                out.append(frame.data)
                return False
            self._advance()
            self._flush(out)
            self.pump()
            return True
        strike = _AT_CHUNK.get(self.kind)
        assert self.fault is not None
        early = frame.kind is Kind.HEAD or self.call.row.chunks < self.fault.after_chunks
        if strike is None or self._struck or early:
            return False
        self._struck = True
        self._flush(out)
        return strike(self, out)

    def _cut(self, out: list[bytes]) -> bool:
        if self.fault is not None and self.fault.mode == "mid_frame" and self._next is not None:
            self.exchange.write(self._next.data[: len(self._next.data) // 2])
        self.close_books("fault")
        _hang_up(self)
        return True

    def _error(self, out: list[bytes]) -> bool:
        assert self.fault is not None
        self.exchange.write(self.call.error_frame(self.fault))
        self._end_by_fault()
        return True

    def _malformed(self, out: list[bytes]) -> bool:
        out.append(BROKEN_FRAME)
        return False

    def _stall(self, out: list[bytes]) -> bool:
        if self._seconds():
            self.delay_s += self._seconds()
            self._wake(self.call.service.wheel.now() + self._seconds())
        else:
            self._waiting = True  # until the client leaves
        return True

    def _comments(self, out: list[bytes]) -> bool:
        self._waiting = True
        until = self.call.service.wheel.now() + self._seconds() if self._seconds() else None
        self._comment(until)
        return True

    def _comment(self, until: float | None) -> None:
        if self.call.ended:
            return
        wheel = self.call.service.wheel
        if until is not None and wheel.now() >= until:
            self.delay_s += self._seconds()
            self._woken()
            return
        self.exchange.write(b": keep-alive\n\n")
        wheel.at(wheel.now() + COMMENT_EVERY_S, lambda: self._comment(until))


_AT_CHUNK = {
    "cut": StreamRun._cut,
    "error_at": StreamRun._error,
    "malformed_frame": StreamRun._malformed,
    "stall": StreamRun._stall,
    "comments_only": StreamRun._comments,
}
