"""Writes down one request: each record before the bytes it stands for."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from routing.core.catalog import Caller
from routing.core.decision import Decision
from routing.core.errors import UpstreamError
from routing.core.ids import request_id_text
from routing.core.limits import Standings
from routing.core.record import Finish, Intent, Outcome, Progress, RequestDone, encode_lines
from routing.core.request import RequestFacts
from routing.core.usage import NO_USAGE, Usage
from routing.gateway.attempt import Attempt
from routing.gateway.money import Money
from routing.gateway.recording import (
    completed,
    money_of_failure,
    outcome_of,
    output_speed_tps,
    price_usage,
)
from routing.gateway.retrying import went_unanswered
from routing.gateway.wishes import Wishes

if TYPE_CHECKING:
    from routing.gateway.service import Gateway

MESSAGE_CHARS = 300
SURFACE_CHAT = "chat"


NO_FACTS = RequestFacts(requested_model="", model="")


_FIELDS = (
    "attempt",
    "begun",
    "caller",
    "decision",
    "decision_record",
    "done",
    "facts",
    "gateway",
    "money",
    "overhead_s",
    "policy",
    "policy_version",
    "received_at",
    "received_wall",
    "request_id",
    "request_id_text",
    "standings",
    "started_utc",
    "surface",
    "tokens",
    "waiting_since",
    "wishes",
)


class Scribe:
    """Records are made by place: naming their twenty fields would cost more than all the rest."""

    __slots__ = _FIELDS

    def __init__(
        self,
        gateway: Gateway,
        request_id: bytes,
        caller: Caller,
        received_at: float,
        received_wall: float,
    ) -> None:
        self.gateway = gateway
        self.request_id = request_id
        self.request_id_text = request_id_text(request_id).encode()
        self.caller = caller
        self.received_at = received_at  # monotonic seconds
        self.received_wall = received_wall  # Unix seconds
        self.started_utc = dt.datetime.fromtimestamp(received_wall, dt.UTC)
        self.surface = SURFACE_CHAT
        self.facts = NO_FACTS
        self.decision: Decision | None = None
        self.decision_record = b""  # as the log stores it
        self.policy, self.policy_version = "", 0
        self.attempt: Attempt | None = None
        self.begun = 0  # attempts
        self.standings: Standings | None = None  # of the caller's rate limits, if any
        self.tokens = 0  # of all attempts that ended: input and output
        self.money: Money | None = None  # of the last attempt that ended
        self.waiting_since = received_at  # our own time runs: until sent, and between attempts
        self.overhead_s = 0.0
        self.done = False
        self.wishes: Wishes | None = None  # what the client asks of the hub besides

    def twin(self) -> Scribe:
        """Of the same request, for attempts of their own."""
        twin = Scribe(
            self.gateway, self.request_id, self.caller, self.received_at, self.received_wall
        )
        for name in _FIELDS:
            setattr(twin, name, getattr(self, name))
        return twin

    def decided(self, decision: Decision, record: bytes) -> None:
        self.decision = decision
        self.decision_record = record
        self.policy, self.policy_version = decision.policy, decision.policy_version

    # --- money --------------------------------------------------------------------------------
    def price(
        self, attempt: Attempt, usage: Usage, output_chars: int, served_tier: str = ""
    ) -> Money:
        """Prices in force when the request arrived; what the provider left out is estimated.

        `served_tier` is the service tier that the provider says it served, "" if it says nothing.
        """
        facts = self.facts
        return price_usage(
            completed(usage, facts.input_tokens, output_chars),
            attempt.endpoint,
            self.started_utc,
            served_tier or facts.service_tier,
        )

    # --- attempts -----------------------------------------------------------------------------
    def intend(self, attempt: Attempt, credential_id: int) -> None:
        self.attempt = attempt
        self.begun = attempt.no
        self.overhead_s += attempt.sent_at - self.waiting_since
        endpoint, caller, facts = attempt.endpoint, self.caller, self.facts
        self.gateway.spool.append(
            Intent(
                self.request_id,
                attempt.no,  # attempt_no
                attempt.started_wall,  # started_at
                self.received_wall,  # received_at
                endpoint.id,  # endpoint_id
                credential_id,
                caller.key_id,
                caller.project_id,
                caller.organization_id,
                caller.kind,
                self.surface,
                facts.requested_model,
                endpoint.model.id,  # model_id
                endpoint.upstream_model,
                facts.stream,
                facts.input_tokens,  # input_estimate
                endpoint.provider.simulated,
                facts.service_tier,
                self.policy,
                self.policy_version,
            )
        )

    def progress(self, attempt: Attempt, now: float) -> None:
        attempt.progress_at = now
        reader = attempt.reader
        if reader is None or reader.output_chars == attempt.progress_chars:
            return
        attempt.progress_chars = reader.output_chars
        self.gateway.spool.append(
            Progress(
                request_id=self.request_id,
                attempt_no=attempt.no,
                output_chars=reader.output_chars,
                content_frames=reader.content_frames,
                provider_request_id=attempt.provider_request_id,
                ttft_ms=attempt.ms(attempt.content_at),
            )
        )

    def answered(
        self,
        attempt: Attempt,
        money: Money,
        *,
        usage_raw: bytes,
        finish_reason: str,
        response_model: str,
    ) -> None:
        """The attempt and the request ended well; to be called before the last byte goes out."""
        gateway = self.gateway
        now = gateway.monotonic()
        finish = self._end_of(
            attempt, Outcome.OK, money, now, None, usage_raw, finish_reason, response_model
        )
        self.done = True
        gateway.spool.append_end(finish, self._done_record(Outcome.OK, 200, "", now))
        ttft_ms, speed_tps = finish.ttft_ms, None
        if ttft_ms is not None:  # a stream
            output_tokens = money.usage.output_total
            speed_tps = output_speed_tps(output_tokens, ttft_ms, finish.last_chunk_ms)
        endpoint_id, caller = attempt.endpoint.id, self.caller
        gateway.health.on_success(endpoint_id, now, ttft_ms, speed_tps)
        if caller.kind != "probe":
            gateway.learning.on_answer(endpoint_id, caller.key_id, self.facts, money.usage, now)

    def failed(self, attempt: Attempt, error: UpstreamError) -> None:
        """The attempt failed; the request may go on."""
        now = self.gateway.monotonic()
        self.waiting_since = now
        reader = attempt.reader
        tier = ""
        if reader is None:
            usage, chars, raw, finish_reason, response_model = NO_USAGE, 0, b"", "", ""
        else:
            usage, chars, raw = reader.usage, reader.output_chars, reader.usage_raw
            finish_reason, response_model = reader.finish_reason, reader.response_model
            tier = reader.service_tier
        money = money_of_failure(
            error,
            usage,
            chars,
            self.facts.input_tokens,
            lambda full: self.price(attempt, full, chars, tier),
            unanswered=went_unanswered(error, attempt),
        )
        self.gateway.spool.append(
            self._end_of(
                attempt, outcome_of(error), money, now, error, raw, finish_reason, response_model
            )
        )
        self.gateway.health.on_failure(attempt.endpoint.id, now, error.failure, error.retry_after_s)
        self.gateway.note_failure(attempt.endpoint, error, self.request_id_text.decode())

    def _end_of(
        self,
        attempt: Attempt,
        outcome: Outcome,
        money: Money,
        now: float,
        error: UpstreamError | None,
        usage_raw: bytes,
        finish_reason: str,
        response_model: str,
    ) -> Finish:
        attempt.settled = True
        self.money = money
        usage = money.usage
        self.tokens += (usage.input_total or 0) + (usage.output_total or 0)
        status, reader, sent_at = attempt.status, attempt.reader, attempt.sent_at
        headers_at, content_at = attempt.headers_at, attempt.content_at
        answer_at, last_at = attempt.answer_at, attempt.last_chunk_at
        if error is not None and error.status is not None:
            status = error.status
        return Finish(
            self.request_id,
            attempt.no,  # attempt_no
            outcome,
            status,  # http_status
            error.code if error is not None else "",  # error_code
            error.message[:MESSAGE_CHARS] if error is not None else "",  # error_message
            error.failure if error is not None else "",  # failure
            response_model,
            attempt.provider_request_id,
            finish_reason,
            money.usage,
            usage_raw,
            money.charge.amount_usd,  # cost_usd
            money.status,  # cost_status
            encode_lines(money.charge.lines),  # lines
            None if headers_at is None else (headers_at - sent_at) * 1000.0,  # headers_ms
            None if content_at is None else (content_at - sent_at) * 1000.0,  # ttft_ms
            None if answer_at is None else (answer_at - sent_at) * 1000.0,  # ttfa_ms
            None if last_at is None else (last_at - sent_at) * 1000.0,  # last_chunk_ms
            (now - sent_at) * 1000.0,  # e2e_ms
            0 if reader is None else reader.content_frames,
            None,  # first_chunk_tokens
            attempt.dropped,  # dropped_params
        )

    # --- the request --------------------------------------------------------------------------
    def request_done(self, outcome: Outcome, status: int, code: str) -> None:
        """Once per request; later calls change nothing. `status` is what the client got."""
        if self.done:
            return
        self.done = True
        now = self.gateway.monotonic()
        self.gateway.spool.append(self._done_record(outcome, status, code, now))

    def _done_record(self, outcome: Outcome, status: int, code: str, now: float) -> RequestDone:
        caller, facts, attempt = self.caller, self.facts, self.attempt
        if attempt is None:
            self.overhead_s = now - self.received_at
        content_at = attempt.content_at if attempt is not None else None
        model = self.gateway.snapshots.current.models.get(facts.model)
        return RequestDone(
            self.request_id,
            self.received_wall,  # received_at
            caller.key_id,
            caller.project_id,
            caller.organization_id,
            caller.kind,
            self.surface,
            facts.requested_model,
            model.id if model is not None else None,  # model_id
            facts.stream,
            outcome,
            status,  # http_status
            code,  # error_code
            self.begun,  # attempts
            attempt.endpoint.id if attempt is not None and status == 200 else None,  # endpoint_id
            None if content_at is None else (content_at - self.received_at) * 1000.0,  # ttft_ms
            (now - self.received_at) * 1000.0,  # e2e_ms
            self.overhead_s * 1000.0,  # overhead_ms
            attempt is not None and attempt.endpoint.provider.simulated,
            self.policy,
            self.policy_version,
            self.decision_record,  # decision
        )
