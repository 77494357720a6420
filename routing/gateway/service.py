"""The gateway of one process: its parts, its running requests, and the way a request takes."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Protocol

import msgspec

from routing.adapters.base import ChatCall, Headers
from routing.adapters.wire import forget_headers
from routing.core.catalog import Caller, Endpoint, Policy, Snapshot
from routing.core.deadlines import Deadlines
from routing.core.decision import Decision, Plan, to_json
from routing.core.errors import FailureClass, HubError, UpstreamError
from routing.core.health import HealthBook
from routing.core.ids import new_request_id, request_id_text
from routing.core.learning import Learning
from routing.core.limits import Grant, Limiter
from routing.core.memo import PlanMemo
from routing.core.moment import Moment
from routing.core.plan import NoEndpointLeft, choose_policy
from routing.core.record import Outcome
from routing.core.request import NO_PREFERENCES, RequestFacts
from routing.gateway.asgi import ClientGone, Sink, check_headers
from routing.gateway.auth import caller_of, digest_in
from routing.gateway.credentials import RefusedKeys
from routing.gateway.draining import drain
from routing.gateway.errors import (
    error_body,
    error_headers,
    no_room,
    our_fault,
    stopping,
    unavailable,
)
from routing.gateway.essentials import with_essentials
from routing.gateway.exchange import Exchange
from routing.gateway.explain import explain_refusal
from routing.gateway.hedging import Hedges, Race
from routing.gateway.idempotency import IdempotencyStore, answer_once, refuse_stream
from routing.gateway.lateness import deadlines_of
from routing.gateway.limits import give_back, refusal_headers, run_within
from routing.gateway.outbox import MANY, outbox_of
from routing.gateway.overload import Overload
from routing.gateway.parse import load_aside, load_json, parse_chat
from routing.gateway.preferences import facts_for
from routing.gateway.recording import Spool, outcome_of, outcome_of_refusal
from routing.gateway.resuming import resumer_for
from routing.gateway.retrying import RetryBudgets
from routing.gateway.scribe import NO_FACTS, Scribe
from routing.gateway.settings import GatewaySettings
from routing.gateway.shadow import Shadows
from routing.gateway.spool import SpoolFull
from routing.gateway.trying import STOPPING
from routing.gateway.upstream.base import UpstreamClient
from routing.gateway.waiting_room import WaitingRoom
from routing.gateway.wishes import wishes_in
from routing.surfaces.base import Asker, Surface, Voice

logger = logging.getLogger("panelboard.gateway")

PARSE_IN_THREAD_BYTES = 256 * 2**10  # a larger body would hold up every other request


class SnapshotSource(Protocol):
    """`trouble` says why Postgres cannot be asked now whether the snapshot is still right."""

    current: Snapshot
    trouble: str


class Gateway:
    def __init__(
        self,
        *,
        snapshots: SnapshotSource,
        upstream: UpstreamClient,
        spool: Spool,
        settings: GatewaySettings,
        limiter: Limiter | None = None,
        idempotency: IdempotencyStore | None = None,
        rng: Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.snapshots = snapshots
        self.upstream = upstream
        self.spool = spool
        self.limiter = limiter
        self.idempotency = idempotency
        self.settings = settings
        self.waits_for_disk = settings.durability == "host"  # before the last byte of an answer
        self.rng = rng or Random(secrets.randbits(64))
        self.monotonic = monotonic
        self.wall = wall
        self.health = HealthBook(self.rng)
        self.learning = Learning(self.health)
        self.retries = RetryBudgets(self.health)
        self.refused_keys = RefusedKeys()
        self.overload = Overload()
        self.plans = PlanMemo()
        self.shadows = Shadows(self)
        self.hedges = Hedges(self)
        self.running: set[Exchange] = set()
        self.room = settings.max_running  # places; none while somebody waits for one
        self.waiting = WaitingRoom(self)
        self.is_leaving = False  # not ready for more, though it still takes what comes
        self.is_draining = False
        self._deadlines: dict[int, tuple[Endpoint, Deadlines]] = {}
        self._seen_version = -1
        self._ticker: asyncio.Task[None] | None = None

    @property
    def snapshot(self) -> Snapshot:
        return self.snapshots.current

    # --- life ---------------------------------------------------------------------------------
    async def start(self) -> None:
        self._ticker = asyncio.get_running_loop().create_task(self._tick_for_ever())

    async def stop(self, drain_s: float = 5.0) -> None:
        """Takes no new requests, lets the running ones end, then cancels what is left."""
        await drain(self, drain_s)
        if self._ticker is not None:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
        await self.upstream.aclose()
        await asyncio.to_thread(self.spool.close)

    async def _tick_for_ever(self) -> None:
        tick_s, now = self.settings.tick_s, self.monotonic()
        outbox = outbox_of(asyncio.get_running_loop())
        while True:
            before = now
            await asyncio.sleep(tick_s)
            now = self.monotonic()
            self.overload.look(now, now - before, now - before - tick_s)
            outbox.is_open = len(self.running) >= MANY
            self.learning.settle(now)
            self._tick_all(now)
            version = self.snapshot.version
            if version != self._seen_version:
                self._seen_version = version
                known = frozenset(self.snapshot.endpoints)
                self.health.forget_missing(known)
                self.retries.forget_missing(known)
                self._deadlines.clear()
                forget_headers()  # a credential may have been replaced

    def _tick_all(self, now: float) -> None:
        """A function of its own, so that the last exchange is not held until the next look."""
        for exchange in list(self.running):
            exchange.tick(now)

    # --- one request ----------------------------------------------------------------------------
    async def chat(
        self,
        headers: Headers,
        sink: Sink,
        read: Callable[[], Awaitable[bytes]],
        digest: bytes | None = None,
        surface: Surface | None = None,
        raw: bytes | None = None,
    ) -> None:
        """Answers on `sink` whatever happens; never raises but for cancellation by the server.

        `digest` is that of the API key where it is known already: then the headers are those of
        an earlier request, and ask for nothing besides.
        `surface` is the client's dialect where that is not OpenAI chat.
        `raw` is the body where nothing is left to `read`.
        """
        received_at, received_wall = self.monotonic(), self.wall()
        request_id = self.new_request_id(received_wall)
        scribe: Scribe | None = None
        body: dict[str, Any] = {}
        refusal: HubError | None = None
        more: Headers = []
        try:
            try:
                if digest is None:
                    caller = self.authenticate(headers, received_wall)
                    check_headers(headers, self.settings.max_body_bytes)
                    wishes = wishes_in(headers)
                else:
                    caller, wishes = self.caller_of(digest, received_wall), None
                if raw is None:
                    raw = await read()
                scribe = Scribe(self, request_id, caller, received_at, received_wall)
                if wishes is not None:
                    scribe.wishes = wishes.of(surface.name if surface else "chat", headers, raw)
                self._admit()
                if len(self.running) >= self.room:
                    await self.waiting.wait(scribe, sink, raw)
                body = await load_aside(raw) if len(raw) > PARSE_IN_THREAD_BYTES else load_json(raw)
                if surface is None:
                    call, facts = parse_chat(body, raw, self.snapshots.current)
                    await self.run(scribe, sink, call, facts, headers)
                else:
                    await self._converse(scribe, sink, body, surface, headers)
            except HubError as error:
                refusal = error
                more = refusal_headers(surface.name if surface else "chat", error, received_wall)
                if scribe is not None:
                    more += note_refusal(scribe, error, body)
            except ClientGone:
                pass
            except Exception:
                text = request_id_text(request_id)
                logger.exception("request %s failed in the gateway itself", text)
                refusal = our_fault()
            if refusal is not None:
                await self._refuse(sink, refusal, request_id, surface, more)
        finally:
            sink.close()

    async def _converse(
        self,
        scribe: Scribe,
        sink: Sink,
        body: dict[str, Any],
        surface: Surface,
        headers: Headers,
    ) -> None:
        scribe.surface = surface.name
        asker = Asker(
            scribe.request_id_text.decode(),
            scribe.received_wall,
            scribe.caller.project_id,
            headers,
        )
        voice = await surface.open(body, asker)
        call, facts = parse_chat(voice.chat, b"", self.snapshot)
        call = msgspec.structs.replace(call, wants_usage=True, native=voice.native)
        facts = with_essentials(facts, voice)
        await self.run(scribe, sink, call, facts, headers, voice=voice)

    def authenticate(self, headers: Headers, now_unix_s: float) -> Caller:
        return self.caller_of(digest_in(headers, self.settings.pepper), now_unix_s)

    def caller_of(self, digest: bytes, now_unix_s: float) -> Caller:
        source = self.snapshots
        snapshot = source.current
        is_live = bool(snapshot.version) and not source.trouble
        return caller_of(digest, snapshot, now_unix_s, is_live=is_live)

    def new_request_id(self, wall_s: float) -> bytes:
        return new_request_id(int(wall_s * 1000), self.rng.getrandbits)

    def _admit(self) -> None:
        if self.is_draining:
            raise stopping()
        if not self.spool.has_room():
            raise no_room()
        if self.overload.reason:
            raise unavailable(
                "gateway_overloaded", f"This gateway is short of {self.overload.reason}", 1.0
            )

    def run(
        self,
        scribe: Scribe,
        sink: Sink,
        call: ChatCall,
        facts: RequestFacts,
        headers: Sequence[tuple[bytes, bytes]] = (),
        endpoint_id: int | None = None,
        voice: Voice | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Plans and runs a parsed request, at one endpoint alone if `endpoint_id` is given.

        Raises HubError when nothing was sent to the client.
        """
        wishes = scribe.wishes
        if wishes is not None and wishes.idempotency_key:
            scribe.facts, scribe.wishes = facts, wishes.without_key()
            if call.stream:
                raise refuse_stream()
            return answer_once(
                self.idempotency,
                scribe,
                wishes,
                sink,
                lambda own: self.run(scribe, own, call, facts, headers, endpoint_id, voice),
            )
        limiter, limits = self.limiter, scribe.caller.limits
        grant: Grant | None = None
        if limits is not None and limiter is not None:
            grant = limiter.take(limits, facts.input_tokens, facts.output_tokens)
            if grant is None:
                work = self._run(scribe, sink, call, facts, headers, endpoint_id, voice)
                return run_within(limiter, limits, scribe, facts, work)
            scribe.facts, scribe.standings = facts, limiter.standings(grant)
        return self._run(scribe, sink, call, facts, headers, endpoint_id, voice, grant)

    async def _run(
        self,
        scribe: Scribe,
        sink: Sink,
        call: ChatCall,
        facts: RequestFacts,
        headers: Sequence[tuple[bytes, bytes]],
        endpoint_id: int | None,
        voice: Voice | None,
        grant: Grant | None = None,
    ) -> None:
        """`grant` is given back whatever happens."""
        try:
            policy = choose_policy(facts, scribe.caller, self.snapshots.current)
            scribe.facts = facts = facts_for(policy, facts, scribe.caller, call.body, headers)
            planned = self._plan(scribe, policy, facts)
            attempts, most = planned.attempts, planned.max_attempts
            if endpoint_id is not None:
                attempts, most = (self._only(endpoint_id, planned.decision),), 1
            if planned.shadow is not None:
                self.shadows.mirror(scribe, call, policy, planned)
            exchange = Exchange(scribe, sink, call, voice, planned.special)
            self.running.add(exchange)
            try:
                if scribe.wishes is not None or planned.special is not None:
                    exchange.resumer = resumer_for(scribe, call, planned.special)
                hedger = None
                if facts.preferences is not NO_PREFERENCES or planned.special is not None:
                    hedger = self.hedges.wanted(scribe, planned) if endpoint_id is None else None
                if hedger is None:
                    await exchange.run(attempts, most)
                else:
                    await Race(exchange, hedger).run(attempts, most)
            except asyncio.CancelledError:
                if end_stopped(exchange) is None:
                    raise
            finally:
                self.running.discard(exchange)
        except SpoolFull:
            raise no_room() from None
        finally:
            if grant is not None and self.limiter is not None:
                give_back(self.limiter, grant, scribe)

    def _plan(self, scribe: Scribe, policy: Policy, facts: RequestFacts) -> Plan:
        """Raises NoEndpointLeft, with its decision noted."""
        expected = self.learning.expected_output(facts, scribe.caller.key_id)
        moment = Moment(self.monotonic(), scribe.started_utc)
        try:
            planned = self.plans.plan(
                facts, policy, self.snapshots.current, self.health, moment, self.rng, expected
            )
        except NoEndpointLeft as refusal:
            if refusal.decision is not None:
                scribe.decided(refusal.decision, to_json(refusal.decision))
            raise
        scribe.decided(planned.decision, planned.record)
        return planned

    def _only(self, endpoint_id: int, decision: Decision) -> Endpoint:
        for candidate in decision.candidates:
            if candidate.endpoint_id == endpoint_id and not candidate.excluded:
                return self.snapshot.endpoints[endpoint_id]
        raise HubError(
            404, "no_endpoint", "This endpoint cannot take the request now. See its page for why"
        )

    async def _refuse(
        self,
        sink: Sink,
        error: HubError,
        request_id: bytes,
        surface: Surface | None = None,
        more: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        if sink.gone or sink.started:
            return
        id_text = request_id_text(request_id)
        headers = [*error_headers(error), (b"x-request-id", id_text.encode()), *more]
        if surface is not None and surface.request_id_name:
            headers.append((surface.request_id_name, id_text.encode()))
        body = error_body(error, id_text) if surface is None else surface.error_body(error, id_text)
        await sink.reply(error.status, headers, body)

    # --- what attempts ask for ----------------------------------------------------------------
    def deadlines_for(self, endpoint: Endpoint) -> Deadlines:
        known = self._deadlines.get(endpoint.id)
        if known is not None and known[0] is endpoint:
            return known[1]
        deadlines = deadlines_of(endpoint, self.settings.deadlines)
        self._deadlines[endpoint.id] = (endpoint, deadlines)
        return deadlines

    def note_failure(self, endpoint: Endpoint, error: UpstreamError, request_id: str) -> None:
        """One line an operator can act on; the provider's words, never the prompt."""
        level = logging.ERROR if error.failure in _OPERATORS_CONCERN else logging.INFO
        words = "request %s: attempt at %s failed: %s %s"
        logger.log(level, words, request_id, endpoint.key, error.failure, error.code or "")


def end_stopped(exchange: Exchange) -> UpstreamError | None:
    """Writes down why the request was stopped. None where it is not for us to swallow."""
    stop, sink = exchange.stop, exchange.sink
    error = exchange.take_stop()
    if stop is STOPPING and not sink.started:
        raise stopping() from None
    exchange.scribe.request_done(outcome_of(error), 499 if sink.gone else 503, error.code)
    return stop


_OPERATORS_CONCERN = frozenset(
    {FailureClass.CREDENTIAL, FailureClass.BILLING, FailureClass.MODEL_GONE}
)


def note_refusal(scribe: Scribe, error: HubError, body: dict[str, Any]) -> Headers:
    """Writes the refusal down. Returns what headers explain it to a client that asked."""
    if scribe.facts is NO_FACTS:
        scribe.facts = _facts_of_refused(body)
    scribe.request_done(outcome_of_error(error, scribe), error.status, error.code)
    return [] if scribe.wishes is None else list(explain_refusal(scribe, error))


def _facts_of_refused(body: dict[str, Any]) -> RequestFacts:
    """What the log says of a request that could not be read."""
    requested = body.get("model")
    return RequestFacts(requested[:300] if isinstance(requested, str) else "", model="")


def outcome_of_error(error: HubError, scribe: Scribe) -> Outcome:
    """The class of a request that ended with an error status."""
    if scribe.attempt is None:
        return outcome_of_refusal(error)
    by_status = {429: Outcome.RATE_LIMITED, 504: Outcome.TIMEOUT}
    if error.status in by_status:
        return by_status[error.status]
    return Outcome.PROVIDER_ERROR if error.status >= 500 else Outcome.USER_ERROR
