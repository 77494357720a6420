"""The walk of one request: which provider, may it, what is asked, what breaks, what is answered."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import msgspec

from routing.simulator import checks, control, counting, listings, settlement
from routing.simulator.answers import answer
from routing.simulator.asks import Ask, Refusal, text_of
from routing.simulator.batches.book import Book
from routing.simulator.batches.routes import handler_of, perform
from routing.simulator.calls import JSON_TYPE, Call
from routing.simulator.dialects.registry import DIALECTS
from routing.simulator.early_faults import EARLY_FAULTS
from routing.simulator.envelopes import Trouble, envelope, status_on_wire
from routing.simulator.faults import Fault, FaultBook
from routing.simulator.http11 import Exchange, Request
from routing.simulator.journal import Journal, Violation
from routing.simulator.kinds import stage
from routing.simulator.limits import Limits
from routing.simulator.prices import Tally, cost_usd
from routing.simulator.profiles import draw_pace
from routing.simulator.prompt_cache import KEPT_LONG_S, KEPT_S, PromptCache
from routing.simulator.responses.dialect import RESPONSES
from routing.simulator.runs import StreamRun, WholeRun
from routing.simulator.session import ENCODER, Dialect, Session
from routing.simulator.spoiling import spoiled
from routing.simulator.tokens import BYTES_PER_TOKEN
from routing.simulator.wheel import Wheel
from routing.simulator.world import Endpoint, Provider, World

logger = logging.getLogger("panelboard.simulator")

MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError)
KEPT_REQUESTS = 200


class Options(msgspec.Struct, frozen=True):
    speed: float = 1.0  # 20 is twenty times faster than the real thing, 0 is instant
    seed: int = 1
    journal: Path | None = None
    keep_requests: bool = False  # tests may look at the last bodies received


class Service:
    def __init__(self, world: World, options: Options, wheel: Wheel) -> None:
        self.world = world
        self.options = options
        self.wheel = wheel
        self.journal = Journal(options.journal)
        self.faults = FaultBook(Random(f"faults {options.seed}"))
        self.limits = Limits()
        self.cache = PromptCache()
        self.batches = Book()
        self.received: list[dict[str, Any]] = []
        self.keeps_requests = options.keep_requests
        self.running: set[StreamRun | WholeRun] = set()
        self.busy: Counter[tuple[str, str]] = Counter()
        self.counts: Counter[tuple[str, str]] = Counter()

    def wall(self) -> float:
        return time.time()

    def moment(self, wall: float) -> dt.datetime:
        return dt.datetime.fromtimestamp(wall, dt.UTC)

    def dialect_of(self, provider: Provider) -> Dialect:
        return DIALECTS[provider.dialect]

    def _dialect_at(self, provider: Provider, request: Request) -> Dialect:
        """A provider may take a second dialect, at an address of its own."""
        there = RESPONSES.chat_model(provider, request) is not None
        return RESPONSES if there else self.dialect_of(provider)

    def handle(self, exchange: Exchange) -> None:
        slug, _, _ = exchange.request.path.lstrip("/").partition("/")
        if slug == "_control":
            control.handle(self, exchange)
            return
        provider = self.world.get(slug)
        if provider is None:
            known = ", ".join(sorted(self.world))
            message = f"no provider is played at /{slug}; there are: {known}"
            exchange.respond(404, [JSON_TYPE], ENCODER.encode({"error": {"message": message}}))
            return
        self._at_provider(exchange, provider)

    def stop(self) -> None:
        for run in list(self.running):
            run.close_books("shutdown")
        self.journal.close()

    def _at_provider(self, exchange: Exchange, provider: Provider) -> None:
        request = exchange.request
        base = f"/{provider.slug}{provider.base_path}"
        dialect = self._dialect_at(provider, request)
        model = dialect.chat_model(provider, request)
        played = stage.play_at(provider, request)
        if request.method == "POST" and model is not None:
            self._chat(exchange, provider, model, dialect)
        elif (batch_handler := handler_of(provider, request)) is not None:
            perform(self, exchange, provider, batch_handler)
        elif played is not None:
            stage.perform(self, exchange, provider, *played)
        elif counting.is_count(provider, request):
            self._aside(exchange, provider, self._count)
        elif request.method == "GET" and request.path == base + provider.listing_path:
            self._aside(exchange, provider, self._listing)
        elif (
            request.method == "POST"
            and request.path == f"/{provider.slug}{provider.settlement_path}"
        ):
            self._aside(exchange, provider, self._settlement)
        else:
            self._aside(exchange, provider, self._nothing_here)

    # --- everything that is not a chat -----------------------------------------------------------

    def _aside(self, exchange: Exchange, provider: Provider, handler: Any) -> None:
        try:
            status, body = 200, handler(exchange, provider)
        except Refusal as refusal:
            if refusal.violation:
                self._note(provider, exchange, refusal.violation)
            trouble = Trouble(refusal.status, refusal.message, code=refusal.code)
            name = provider.persona.envelope
            status, body = status_on_wire(name, refusal.status), envelope(name, trouble)
        exchange.respond(status, [JSON_TYPE, (b"x-simulated", b"1")], ENCODER.encode(body))

    def _listing(self, exchange: Exchange, provider: Provider) -> Any:
        if provider.listing_needs_key:
            checks.check_credential(provider, exchange.request)
        return listings.listing(provider, exchange.request.query, self.moment(self.wall()))

    def _settlement(self, exchange: Exchange, provider: Provider) -> Any:
        checks.check_credential(provider, exchange.request)
        return settlement.settle(self.journal, provider.slug, _decoded(exchange.request.body))

    def _count(self, exchange: Exchange, provider: Provider) -> Any:
        return counting.count(self.dialect_of(provider), provider, exchange.request)

    def _nothing_here(self, exchange: Exchange, provider: Provider) -> Any:
        request = exchange.request
        what = f"{request.method} {request.path}"
        raise Refusal(404, f"Unknown request URL: {what}", violation=f"unknown path: {what}")

    def _note(self, provider: Provider, exchange: Exchange, problem: str) -> None:
        request_id = exchange.request.header(b"x-request-id")
        self.journal.note_violation(Violation(0, self.wall(), provider.slug, request_id, problem))
        logger.warning("violation at %s: %s", provider.slug, problem)

    # --- chats -------------------------------------------------------------------------------------

    def _chat(
        self, exchange: Exchange, provider: Provider, path_model: str, dialect: Dialect
    ) -> None:
        sent_id = exchange.request.header(b"x-request-id")
        reused = bool(sent_id) and self.journal.by_inference_id(sent_id) is not None
        row = self.journal.begin(self.wall(), provider.slug, sent_id, sent_id or str(uuid4()))
        call = Call(self, exchange, provider, row, dialect)
        if reused:
            call.note_violation("the x-request-id was used before")
        try:
            try:
                ask, endpoint = self._read(call, path_model)
            finally:
                self.journal.accept(row)
        except Refusal as refusal:
            call.refuse(refusal)
            return
        fault = self.faults.pick(provider.slug, (ask.model, endpoint.model), stream=ask.stream)
        if fault is not None:
            call.note_fault(fault)
            if fault.fault in EARLY_FAULTS:
                EARLY_FAULTS[fault.fault](call, fault)
                return
        self._run(call, ask, endpoint, fault)

    def _read(self, call: Call, path_model: str) -> tuple[Ask, Endpoint]:
        """Raises Refusal."""
        provider, request, row = call.provider, call.exchange.request, call.row
        checks.check_credential(provider, request)
        checks.check_headers(request)
        wait_s = self.limits.admit(provider.slug, self.wall())
        if wait_s is not None:
            raise Refusal(429, "", retry_after=f"{wait_s:.0f}")
        body = _decoded(request.body)
        if not isinstance(body, dict):
            raise Refusal(400, "the body must be a JSON object", violation="body is not an object")
        self.keep(call, body)
        row.model = path_model or text_of(body.get("model"))
        checks.check_body(body)
        endpoint = provider.endpoints.get(row.model)
        if endpoint is None or endpoint.kind != "chat":
            raise Refusal(
                404,
                f"The model `{row.model}` does not exist or you do not have access to it.",
                code="model_not_found",
                kind="invalid_request_error",
                param="model",
                violation=f"unknown model {row.model!r}",
            )
        try:
            ask = call.dialect.read(provider, request, body)
        except MALFORMED as exc:
            raise Refusal(400, f"the request is malformed: {exc}") from None
        row.stream, row.service_tier = ask.stream, ask.service_tier
        checks.check_endpoint(provider, endpoint, ask)
        return ask, endpoint

    def _run(self, call: Call, ask: Ask, endpoint: Endpoint, fault: Fault | None) -> None:
        provider, key = call.provider, (call.provider.slug, ask.model)
        ask.reasons = ask.reasons and endpoint.can("reasoning")
        if ask.max_tokens is not None and endpoint.max_output_tokens:
            ask.max_tokens = min(ask.max_tokens, endpoint.max_output_tokens)
        self.busy[key] += 1
        self.counts[key] += 1
        rng = Random(f"{self.options.seed} {key} {self.counts[key]}")
        streams, speed = self.busy[key], self.options.speed
        pace = draw_pace(provider.slug, endpoint.model, provider.profile, streams, speed, rng)
        is_spoiled = fault is not None and fault.fault == "broken_form"
        session = self.session_of(call, ask, endpoint, is_spoiled=is_spoiled)
        make = StreamRun if ask.stream else WholeRun
        run = make(call, session, call.dialect, pace, fault)
        self.running.add(run)
        call.at_end = lambda: self.ended(run, key)
        self.limits.spend(provider, session.tally.input_total, self.wall())
        run.begin()

    def ended(self, run: StreamRun | WholeRun, key: tuple[str, str]) -> None:
        self.running.discard(run)
        self.busy[key] -= 1

    def session_of(
        self, call: Call, ask: Ask, endpoint: Endpoint, *, is_spoiled: bool = False
    ) -> Session:
        choices = answer(ask, endpoint.model)
        if is_spoiled:
            choices = spoiled(choices, ask, call.provider.dialect)
        tally = self._input_tally(call.provider, ask, endpoint)
        tally.output_total = sum(choice.tokens() for choice in choices)
        tally.reasoning = sum(choice.tokens("reasoning") for choice in choices)
        tally.pieces = dict(ask.pieces)
        moment = self.moment(call.row.time)
        return Session(
            provider=call.provider,
            endpoint=endpoint,
            ask=ask,
            choices=choices,
            tally=tally,
            cost_usd=cost_usd(tally, endpoint.prices, moment, ask.service_tier),
            response_id=call.provider.persona.response_id + call.own_id.removeprefix("req_"),
            created=int(call.row.time),
            pieces_per_chunk=call.provider.profile.pieces,
        )

    def _input_tally(self, provider: Provider, ask: Ask, endpoint: Endpoint) -> Tally:
        tally = Tally(input_total=ask.prompt.token_count())
        if not endpoint.caches_prompts:
            return tally
        scope, prompt = f"{provider.slug} {ask.model}", ask.prompt.content()
        if provider.dialect != "anthropic":
            found = self.cache.read_automatic(scope, prompt, self.wall())
            tally.cache_read = min(found, tally.input_total - 1)
            return tally
        if not ask.cache_mark_bytes:
            return tally
        kept_s = KEPT_LONG_S if ask.cache_mark_long else KEPT_S
        prefix = prompt[: ask.cache_mark_bytes]
        tokens = len(prefix) // BYTES_PER_TOKEN
        if self.cache.read_marked(scope, prefix, self.wall(), kept_s):
            tally.cache_read = tokens
        elif ask.cache_mark_long:
            tally.cache_write_1h = tokens
        else:
            tally.cache_write_5m = tokens
        return tally

    def keep(self, call: Call, body: dict[str, Any]) -> None:
        if not self.keeps_requests:
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in call.exchange.request.headers
            if name not in checks.CREDENTIAL_HEADERS
        }
        self.received.append(
            {
                "seq": call.row.seq,
                "provider": call.provider.slug,
                "path": call.exchange.request.path,
                "headers": headers,
                "body": body,
            }
        )
        del self.received[:-KEPT_REQUESTS]


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as exc:
        message = "We could not parse the JSON body of your request."
        raise Refusal(400, message, violation=f"body is not JSON: {exc}") from None
