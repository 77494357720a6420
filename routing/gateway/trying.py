"""One attempt of a request: sent, read, passed on, settled; and its deadlines while it runs.

Bytes are held back until the first content, so that what fails before can still be tried elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from routing.adapters.base import Adapter, BuiltRequest, ChatCall, StreamReader
from routing.adapters.sse import looks_like_stream
from routing.adapters.wire import request_id_in
from routing.core.catalog import Endpoint
from routing.core.deadlines import Deadlines
from routing.core.errors import REFUSES_THE_HUB, BrokenAnswer, FailureClass, UpstreamError
from routing.core.policies import PolicyDocument
from routing.core.record import Outcome
from routing.gateway.answer_headers import JSON_TYPE, fixed_headers
from routing.gateway.asgi import Sink
from routing.gateway.attempt import Attempt
from routing.gateway.errors import broken_off, error_event, stopping
from routing.gateway.explain import decision_headers
from routing.gateway.fixed_headers import FixedHeaders
from routing.gateway.form import look_at_reply, look_at_stream, overhear
from routing.gateway.lateness import late, narrowed
from routing.gateway.limits import limit_lines
from routing.gateway.money import Money
from routing.gateway.pour import Pour
from routing.gateway.recording import decimal_text, outcome_of
from routing.gateway.resuming import Resumer
from routing.gateway.retrying import Retries
from routing.gateway.scribe import Scribe
from routing.gateway.upstream.base import UpstreamAnswer, UpstreamRequest
from routing.surfaces.base import Voice, VoiceStream

MAX_REPLY_BYTES = 64 * 2**20
MAX_ERROR_BYTES = 256 * 2**10
PROGRESS_CHARS = 4096  # a progress record at least this often,
PROGRESS_S = 0.75  # and this often: with the tick, none is more than a second old
DRAIN_S = 1.0  # after the last event: how long the connection may take to become reusable


_OWN_LINES = b"x-request-id: %b\r\nx-panelboard-overhead-ms: %.2f\r\n"
_OWN_LINES_WITH_COST = _OWN_LINES + b"x-panelboard-cost: %b\r\n"


class Claims(Protocol):
    """What an exchange asks when another one may answer the same client."""

    def claim(self, lane: Trying) -> None:
        """Raises UpstreamError where the other one was first."""
        ...

    def look(self, now: float) -> None: ...


class Trying:
    """What the attempts of one request share. `tick` keeps the deadlines."""

    __slots__ = (
        "call",
        "draining_until",
        "race",
        "resumer",
        "retries",
        "scribe",
        "sink",
        "special",
        "speech",
        "stop",
        "task",
        "voice",
        "writing_since",
    )

    def __init__(
        self,
        scribe: Scribe,
        sink: Sink,
        call: ChatCall,
        voice: Voice | None = None,
        special: PolicyDocument | None = None,
    ) -> None:
        """`voice` turns answers into the client's dialect where that is not OpenAI chat.

        `special` are the policy's settings, where they say how to try (see `core.decision.Plan`).
        """
        self.scribe = scribe
        self.sink = sink
        self.call = call
        self.voice = voice
        self.speech: VoiceStream | None = None  # of the attempt that streams
        self.task = asyncio.current_task()
        self.stop: UpstreamError | None = None  # why we cancelled our own task
        self.writing_since: float | None = None
        self.draining_until: float | None = None
        self.special = special
        self.retries: Retries | None = None  # once something has failed
        self.race: Claims | None = None  # where two attempts run side by side
        self.resumer: Resumer | None = None  # where a stream that is cut may go on

    # --- one attempt --------------------------------------------------------------------------
    async def _try(
        self, adapter: Adapter, endpoint: Endpoint, no: int, built: BuiltRequest, credential_id: int
    ) -> UpstreamError | None:
        """None when the client has its whole answer. Settles the attempt on every path."""
        gateway = self.scribe.gateway
        attempt = Attempt(endpoint, no, gateway.monotonic(), gateway.wall())
        attempt.dropped = built.dropped
        if self.voice is not None and not speaks_natively(self.call, adapter):
            attempt.dropped = (*built.dropped, *self.voice.uncarried)
        if not gateway.health.on_start(endpoint.id, attempt.sent_at):
            return RESTING
        attempt.credential_id = credential_id
        self.scribe.intend(attempt, credential_id)
        answer: UpstreamAnswer | None = None
        problem: BaseException | None = None
        try:
            answer = await gateway.upstream.send(self._request(attempt, built))
            self._note_head(attempt, answer)
            if not 200 <= answer.status < 300:
                body = await answer.read(MAX_ERROR_BYTES)
                raise adapter.read_error(endpoint, answer.status, answer.headers, body)
            if self.call.stream:
                await self._relay(adapter, attempt, answer)
            else:
                await self._reply(adapter, attempt, answer)
        except BaseException as exc:  # noqa: BLE001 - told apart below, where one may await
            problem = exc
        if answer is not None and not answer.is_complete:
            await answer.aclose()
        if problem is None:
            return None
        try:
            return self._over(attempt, problem)
        finally:
            problem = None  # its traceback holds this very frame

    def _over(self, attempt: Attempt, problem: BaseException) -> UpstreamError | None:
        """Raises what is neither the provider's nor our own stop."""
        if isinstance(problem, UpstreamError):
            return self._failed(attempt, problem)
        if isinstance(problem, asyncio.CancelledError):
            if self.stop is not None:
                return self._failed(attempt, self.take_stop())
            self._failed(attempt, STOPPING)  # not ours: the server is stopping
        raise problem

    def _failed(self, attempt: Attempt, error: UpstreamError) -> UpstreamError | None:
        if attempt.settled:
            return None  # the answer was complete; only the connection's end went wrong
        self.scribe.failed(attempt, error)
        if error.failure in REFUSES_THE_HUB:
            gateway = self.scribe.gateway
            gateway.refused_keys.refuse(attempt.credential_id, gateway.monotonic())
        return error

    def _request(self, attempt: Attempt, built: BuiltRequest) -> UpstreamRequest:
        provider = attempt.endpoint.provider
        deadlines = self.scribe.gateway.deadlines_for(attempt.endpoint)
        if self.special is not None:
            deadlines = narrowed(deadlines, self.special)
        return UpstreamRequest(
            "POST",
            provider.base_url + built.path,
            built.headers,
            built.body,
            deadlines,
            b"%b-%d" % (self.scribe.request_id_text, attempt.no),
        )

    def _note_head(self, attempt: Attempt, answer: UpstreamAnswer) -> None:
        gateway, endpoint = self.scribe.gateway, attempt.endpoint
        attempt.status = answer.status
        attempt.headers_at = now = gateway.monotonic()
        attempt.provider_request_id = request_id_in(endpoint, answer.header)
        if gateway.health.wants_headers(endpoint.id, now):
            gateway.health.on_headers(endpoint.id, now, gateway.wall(), answer.headers)

    async def _reply(self, adapter: Adapter, attempt: Attempt, answer: UpstreamAnswer) -> None:
        body = answer.body_at_once(MAX_REPLY_BYTES)
        if body is None:
            body = await answer.read(MAX_REPLY_BYTES)
        reply = adapter.read_plain_reply(attempt.endpoint, body)
        if reply is None:
            reply = adapter.read_reply(self.call, attempt.endpoint, answer.headers, body)
        if self.race is not None:
            self.race.claim(self)
        raw = reply.raw
        if self.voice is not None:
            deliver = self.voice.deliver_native if reply.is_native else self.voice.deliver
            raw = await deliver(raw)
        scribe, gateway = self.scribe, self.scribe.gateway
        attempt.last_chunk_at = gateway.monotonic()
        money = scribe.price(attempt, reply.usage, reply.output_chars, reply.service_tier)
        scribe.answered(
            attempt,
            money,
            usage_raw=reply.usage_raw,
            finish_reason=reply.finish_reason,
            response_model=reply.response_model,
        )
        if gateway.waits_for_disk:
            await gateway.spool.durable()
        await self.sink.reply(200, [], raw, self._headers(attempt, money, reply.content_type))
        if scribe.facts.needs:
            look_at_reply(scribe, self.call, attempt, reply)

    async def _relay(self, adapter: Adapter, attempt: Attempt, answer: UpstreamAnswer) -> None:
        """Holds everything back until the first content, then passes bytes on as they come."""
        if not looks_like_stream(answer.headers):
            body = await answer.read(MAX_ERROR_BYTES)
            adapter.read_reply(self.call, attempt.endpoint, answer.headers, body)
            raise BrokenAnswer("not_a_stream", "a stream was asked for, one piece came")
        attempt.reader = reader = adapter.open_stream(self.call, attempt.endpoint)
        feed, close = self._words_of(reader)
        if self.call.wants_usage:
            reader.note = lambda usage: self.scribe.price(
                attempt, usage, reader.output_chars, reader.service_tier
            ).note()
        sink, monotonic = self.sink, self.scribe.gateway.monotonic
        held, pour = b"", None
        async for data in answer.chunks():
            if attempt.settled:
                continue  # after the last event: read on, so that the connection can be reused
            out = feed(data) if data or pour is None else pour.take()
            attempt.last_chunk_at = now = monotonic()
            if attempt.answer_at is None:
                attempt.mark_first(now)
            if reader.error is not None:
                if out and sink.started:
                    await self._write(out)
                raise reader.error
            if reader.done:
                await self._finish(attempt, reader, held + out)
            elif sink.started:
                self.writing_since = now
                await sink.write(out)
                self.writing_since = None
                if reader.output_chars - attempt.progress_chars >= PROGRESS_CHARS:
                    self.scribe.progress(attempt, now)
            else:
                held += out
                if reader.content_started:
                    await self._start_stream(attempt)
                    await self._write(held)
                    held = b""
                    if sink.write_at_once is not None:
                        pour = Pour(
                            attempt,
                            reader,
                            feed,
                            sink.write_at_once,
                            monotonic,
                            PROGRESS_CHARS,
                            sink.write_framed,
                        )
                        answer.pour_into(pour, pour.framed)
        if not attempt.settled:
            out = close()
            if reader.error is not None:
                raise reader.error
            await self._finish(attempt, reader, held + out)

    def _words_of(
        self, reader: StreamReader
    ) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
        """The reader's `feed` and `close`, in the client's dialect."""
        if self.scribe.facts.needs:
            reader = overhear(reader, self.scribe, goes_on=self.sink.started)
        if self.resumer is not None:
            return self.resumer.words(self, reader)
        self.speech = None
        if self.voice is None:
            return reader.feed, reader.close
        open_stream = self.voice.open_native_stream if reader.is_native else self.voice.open_stream
        self.speech = speech = open_stream()
        if speech is None:
            return reader.feed, reader.close
        return (lambda data: speech.feed(reader.feed(data))), lambda: speech.feed(reader.close())

    async def _start_stream(self, attempt: Attempt) -> None:
        if self.race is not None:
            self.race.claim(self)
        await self.sink.start(200, [], self._headers(attempt, None))

    async def _write(self, data: bytes) -> None:
        self.writing_since = self.scribe.gateway.monotonic()
        await self.sink.write(data)
        self.writing_since = None

    async def _write_last(self, data: bytes) -> None:
        self.writing_since = self.scribe.gateway.monotonic()
        await self.sink.finish(data)
        self.writing_since = None

    async def _finish(self, attempt: Attempt, reader: StreamReader, last: bytes) -> None:
        if self.race is not None:
            self.race.claim(self)
        money = self.scribe.price(attempt, reader.usage, reader.output_chars, reader.service_tier)
        self.scribe.answered(
            attempt,
            money,
            usage_raw=reader.usage_raw,
            finish_reason=reader.finish_reason,
            response_model=reader.response_model,
        )
        if self.speech is not None:
            last += await self.speech.end()
        if not self.sink.started:
            await self._start_stream(attempt)
        if self.scribe.gateway.waits_for_disk:
            await self.scribe.gateway.spool.durable()
        await self._write_last(last)
        self.draining_until = self.scribe.gateway.monotonic() + DRAIN_S
        if self.scribe.facts.needs:
            look_at_stream(self.scribe, self.call, attempt)

    async def _break_off(self, endpoint: Endpoint, error: UpstreamError) -> None:
        """After content: an error event and the end. Never another endpoint, never [DONE]."""
        outcome = Outcome.HUB_ERROR if error is STOPPING else outcome_of(error)
        self.scribe.request_done(outcome, 200, error.code or error.failure)
        if error is STOPPING:
            told = stopping()
        elif error.failure is FailureClass.CANCELLED:
            return  # nobody reads any more; the server closes a connection that was not finished
        else:
            told = broken_off(error, endpoint.provider.name)
        if self.voice is None:
            event = error_event(told, self.scribe.request_id_text.decode())
        else:
            event = (self.speech or self.voice.open_stream()).broken(told)
        await self._write_last(event)

    def _headers(
        self, attempt: Attempt, money: Money | None, content_type: bytes = JSON_TYPE
    ) -> FixedHeaders:
        """A stream's cost is not known when its headers leave; its usage chunk carries it."""
        scribe, endpoint = self.scribe, attempt.endpoint
        provider = endpoint.provider
        fixed = fixed_headers(
            self.call.stream,
            provider.slug,
            endpoint.model.name,
            scribe.policy,
            scribe.begun,
            attempt.dropped,
            provider.simulated,
            content_type,
        )
        own = (scribe.request_id_text, scribe.overhead_s * 1000.0)
        if money is None:
            lines = _OWN_LINES % own
        else:
            lines = _OWN_LINES_WITH_COST % (*own, decimal_text(money.charge.amount_usd))
        if self.voice is not None and self.voice.request_id_name:
            lines += b"%b: %b\r\n" % (self.voice.request_id_name, scribe.request_id_text)
        if scribe.standings is not None:
            lines += limit_lines(scribe.surface, scribe.standings, scribe.received_wall)
        if scribe.wishes is not None:
            lines += FixedHeaders(decision_headers(scribe)).lines
        return fixed.followed_by(lines)

    # --- deadlines and leaving clients --------------------------------------------------------
    def tick(self, now: float) -> None:
        """Called a few times a second while the request runs."""
        self.sink.watch(self._client_left)
        if self.race is None:
            self.look(now)
        else:
            self.race.look(now)

    def look(self, now: float) -> None:
        """At the deadlines of the attempt that runs."""
        attempt = self.scribe.attempt
        if attempt is None or self.stop is not None:
            return
        too_late = late(self, attempt, now)
        if too_late is not None:
            self.interrupt(too_late)
        elif not attempt.settled and now - attempt.progress_at >= PROGRESS_S:
            self.scribe.progress(attempt, now)

    def limits_of(self, endpoint: Endpoint) -> Deadlines:
        limits = self.scribe.gateway.deadlines_for(endpoint)
        return limits if self.special is None else narrowed(limits, self.special)

    def _client_left(self) -> None:
        attempt = self.scribe.attempt
        if attempt is None or not attempt.settled or not self.sink.finished:
            self.interrupt(
                UpstreamError(FailureClass.CANCELLED, "the client left", code="client_closed")
            )

    def interrupt(self, reason: UpstreamError) -> None:
        """Ends the attempt that runs, as if it had failed for this reason."""
        if self.stop is None and self.task is not None:
            self.stop = reason
            self.task.cancel()

    def take_stop(self) -> UpstreamError:
        reason = self.stop or STOPPING
        self.stop = None
        if self.task is not None:
            self.task.uncancel()
        return reason


def speaks_natively(call: ChatCall, adapter: Adapter) -> bool:
    """Whether the request goes out in the very words of the client's dialect."""
    return call.native is not None and call.native.dialect == adapter.dialect


STOPPING = UpstreamError(FailureClass.CANCELLED, "the gateway is stopping", code="gateway_stopping")
RESTING = UpstreamError(  # no attempt was made
    FailureClass.TRANSIENT, "the endpoint is tried too often", code="resting", was_sent=False
)
