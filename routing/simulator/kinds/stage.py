"""The walk of a request for something else than chat: the same checks, faults and books."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from routing.simulator import checks
from routing.simulator.asks import Ask, Refusal, text_of
from routing.simulator.calls import Call
from routing.simulator.early_faults import EARLY_FAULTS
from routing.simulator.http11 import Exchange, Request
from routing.simulator.kinds.audio import Speech, Transcriptions, Translations
from routing.simulator.kinds.base import EVENTS, Answer, Frames, Play, Reading
from routing.simulator.kinds.embeddings import GeminiEmbeddings, OpenAIEmbeddings
from routing.simulator.kinds.images import Images
from routing.simulator.kinds.rerank import Rerank
from routing.simulator.prices import cost_usd
from routing.simulator.profiles import Pace, draw_pace
from routing.simulator.runs import StreamRun, WholeRun
from routing.simulator.session import Frame, Session
from routing.simulator.world import Endpoint, Provider

if TYPE_CHECKING:
    from routing.simulator.faults import Fault
    from routing.simulator.service import Service

PLAYS: tuple[Play, ...] = (
    OpenAIEmbeddings(),
    GeminiEmbeddings(),
    Rerank(),
    Images(),
    Transcriptions(),
    Translations(),
    Speech(),
)
MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def play_at(provider: Provider, request: Request) -> tuple[Play, str] | None:
    """The play that this request is for, and the model if its path names one."""
    if request.method != "POST":
        return None
    for play in PLAYS:
        model = play.model_of(provider, request)
        if model is not None:
            return play, model
    return None


def perform(
    service: Service, exchange: Exchange, provider: Provider, play: Play, path_model: str
) -> None:
    sent_id = exchange.request.header(b"x-request-id")
    row = service.journal.begin(service.wall(), provider.slug, sent_id, sent_id or str(uuid4()))
    call = Call(service, exchange, provider, row)
    try:
        try:
            endpoint, answer = _read(call, play, path_model)
        finally:
            service.journal.accept(row)
    except Refusal as refusal:
        call.refuse(refusal)
        return
    models = (endpoint.upstream_model, endpoint.model)
    row.stream = answer.content_type == EVENTS
    fault = service.faults.pick(provider.slug, models, mode=_mode_of(answer))
    if fault is not None:
        call.note_fault(fault)
        if fault.fault in EARLY_FAULTS:
            EARLY_FAULTS[fault.fault](call, fault)
            return
    _run(call, endpoint, answer, fault)


def _read(call: Call, play: Play, path_model: str) -> tuple[Endpoint, Answer]:
    """Raises Refusal."""
    service, provider, request = call.service, call.provider, call.exchange.request
    checks.check_credential(provider, request)
    checks.check_private_headers(request)
    wait_s = service.limits.admit(provider.slug, service.wall())
    if wait_s is not None:
        raise Refusal(429, "", retry_after=f"{wait_s:.0f}")
    try:
        asked = play.read(provider, request)
        return _answered(call, play, path_model, asked)
    except MALFORMED as exc:
        raise Refusal(400, f"the request is malformed: {exc}") from None


def _answered(call: Call, play: Play, path_model: str, asked: Reading) -> tuple[Endpoint, Answer]:
    provider, row = call.provider, call.row
    call.service.keep(call, asked.fields)
    row.model = path_model or text_of(asked.fields.get("model"))
    checks.check_body(asked.fields)
    endpoint = provider.endpoints.get(row.model)
    if endpoint is None or endpoint.kind != play.kind:
        raise Refusal(
            404,
            f"The model `{row.model}` does not exist or you do not have access to it.",
            code="model_not_found",
            kind="invalid_request_error",
            param="model",
            violation=f"unknown {play.kind} model {row.model!r}",
        )
    return endpoint, play.answer(provider, endpoint, asked, row.time)


def _mode_of(answer: Answer) -> str:
    """As `faults` knows the ways of an answer."""
    if answer.frames is None:
        return "w"
    return "s" if answer.content_type == EVENTS else "b"


class _PiecedAnswer:
    """What `StreamRun` needs of a dialect."""

    def __init__(self, answer: Answer, frames: Frames) -> None:
        self.stream_type = answer.content_type
        self._frames = frames

    def frames(self, session: Session) -> Iterator[Frame]:
        return self._frames(session.report)


class _WholeAnswer:
    """What `WholeRun` needs of a dialect."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def reply(self, session: Session) -> bytes:
        return self._answer.body(session.report)


def _run(call: Call, endpoint: Endpoint, answer: Answer, fault: Fault | None) -> None:
    service, provider = call.service, call.provider
    key = (provider.slug, endpoint.upstream_model)
    service.busy[key] += 1
    service.counts[key] += 1
    options = service.options
    rng = Random(f"{options.seed} {key} {service.counts[key]}")
    pace = draw_pace(
        provider.slug, endpoint.model, provider.profile, service.busy[key], options.speed, rng
    )
    session = _session(call, endpoint, answer)
    run: Any
    if answer.frames is None:
        run = WholeRun(call, session, _WholeAnswer(answer), _at_once(pace), fault)
    else:
        run = StreamRun(call, session, _PiecedAnswer(answer, answer.frames), pace, fault)
    service.running.add(run)
    call.at_end = lambda: service.ended(run, key)
    service.limits.spend(provider, answer.tally.input_total, service.wall())
    run.begin()


def _at_once(pace: Pace) -> Pace:
    """Nothing is generated token by token: the whole answer comes after the first wait."""
    return msgspec.structs.replace(pace, speed_tps=math.inf)


def _session(call: Call, endpoint: Endpoint, answer: Answer) -> Session:
    moment = call.service.moment(call.row.time)
    return Session(
        provider=call.provider,
        endpoint=endpoint,
        ask=Ask(endpoint.upstream_model),
        choices=[],
        tally=answer.tally,
        cost_usd=cost_usd(answer.tally, endpoint.prices, moment),
        response_id=call.own_id,
        created=int(call.row.time),
        pieces_per_chunk=(1, 1),
        content_type=answer.content_type,
    )
