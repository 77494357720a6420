"""The answers to the lines of a batch, each with a row of its own in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from routing.simulator import checks
from routing.simulator.asks import Refusal, text_of, wants
from routing.simulator.batches.book import Batch, Line
from routing.simulator.calls import JSON_TYPE, Call
from routing.simulator.envelopes import Trouble, envelope
from routing.simulator.http11 import Exchange, Request
from routing.simulator.kinds import stage
from routing.simulator.prices import Tally, cost_usd
from routing.simulator.session import ENCODER, Report
from routing.simulator.world import Endpoint, Provider

if TYPE_CHECKING:
    from routing.simulator.service import Service

TIER = "batch"
VERSION = ((b"anthropic-version", b"2023-06-01"),)
MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def work_out(service: Service, exchange: Exchange, provider: Provider, batch: Batch) -> None:
    """Everything at once, when the batch is due."""
    batch.has_ended = True
    answers = batch.script.answers
    if answers is None:
        answers = 0 if batch.cancelled or batch.problem else len(batch.lines)
    for line in batch.lines[:answers]:
        _answer(service, exchange, provider, line)


def _answer(service: Service, exchange: Exchange, provider: Provider, line: Line) -> None:
    row = service.journal.begin(service.wall(), provider.slug, line.custom_id, str(uuid4()))
    call = Call(service, exchange, provider, row)
    row.service_tier = TIER
    try:
        line.answer = _answered(call, line)
        line.status = 200
    except Refusal as refusal:
        trouble = Trouble(refusal.status, refusal.message, refusal.kind, refusal.code)
        line.answer = ENCODER.encode(envelope(provider.persona.envelope, trouble))
        line.status = refusal.status
    row.status = line.status
    call.end("server")


def _answered(call: Call, line: Line) -> bytes:
    """Raises Refusal. The bill is in the journal."""
    service, provider, row = call.service, call.provider, call.row
    row.model = line.model or text_of(line.body.get("model"))
    checks.check_body(line.body)
    request = _as_request(provider, line)
    played = stage.play_at(provider, request)
    endpoint = provider.endpoints.get(row.model)
    kind = "chat" if played is None else played[0].kind
    if endpoint is None or endpoint.kind != kind:
        raise Refusal(404, f"The model `{row.model}` does not exist.", code="model_not_found")
    try:
        if played is not None:
            answer = played[0].answer(
                provider, endpoint, played[0].read(provider, request), row.time
            )
            _bill(call, endpoint, answer.tally)
            return answer.body(Report.TRUE)
        dialect = service.dialect_of(provider)
        ask = dialect.read(provider, request, line.body)
        wants(not ask.stream, "stream is not supported in batches", param="stream")
        checks.check_endpoint(provider, endpoint, ask)
        ask.reasons = ask.reasons and endpoint.can("reasoning")
        session = service.session_of(call, ask, endpoint)
    except MALFORMED as exc:
        raise Refusal(400, f"the request is malformed: {exc}") from None
    _bill(call, endpoint, session.tally)
    return dialect.reply(session)


def _bill(call: Call, endpoint: Endpoint, tally: Tally) -> None:
    moment = call.service.moment(call.row.time)
    call.bill(tally, cost_usd(tally, endpoint.prices, moment, TIER))


def _as_request(provider: Provider, line: Line) -> Request:
    below = line.url.removeprefix("/v1") or provider.traits.chat_path
    return Request(
        method="POST",
        path=f"/{provider.slug}{provider.base_path}{below}",
        query="",
        headers=[JSON_TYPE, *VERSION],  # those of the batch hold for all of its lines
        body=ENCODER.encode(line.body),
    )
