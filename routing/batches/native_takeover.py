"""Answers of a batch at a provider, taken over: each is written down as a request, and kept.

A line is charged when its answer is taken over, by records whose ids were given when it was
submitted. Taking over twice writes the same records twice, which counts once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

import msgspec

from routing.adapters.base import Adapter
from routing.adapters.registry import adapter_for
from routing.batches import files, lines
from routing.batches.answering import KIND
from routing.batches.lines import Cost, Keep
from routing.batches.native_store import AtProvider, NativeLine
from routing.batches.preparing import Prepared, prepare
from routing.batches.providers.carrier import Carrier
from routing.batches.providers.paper import Answer
from routing.core.batches import body_of
from routing.core.catalog import Caller, Endpoint, Snapshot
from routing.core.decision import Plan
from routing.core.errors import HubError, UpstreamError
from routing.core.moment import Moment
from routing.core.plan import choose_policy, plan
from routing.gateway.attempt import Attempt
from routing.gateway.errors import client_error, error_body
from routing.gateway.preferences import facts_for
from routing.gateway.scribe import Scribe
from routing.gateway.service import Gateway, outcome_of_error
from routing.services.database_work import DatabaseTransactions
from routing.services.sealing import Keyring
from routing.surfaces.base import Asker, Surface

TIER = "batch"  # what prices for batches are kept under


class Tools(NamedTuple):
    """`new_gateway` makes one that is never started: for its spool, and to plan with."""

    threads: DatabaseTransactions
    keyring: Keyring
    new_gateway: Callable[[Snapshot], Gateway]
    new_carrier: Callable[[], Carrier]
    surfaces: Mapping[str, Surface]
    new_id: Callable[[], UUID]


class NoRoom(Exception):
    """The spool takes no records at the moment."""


class Bookkeeper:
    """Knows the lines of one batch: what they ask, and what is written down of their answers."""

    def __init__(self, tools: Tools, one: AtProvider, snapshot: Snapshot, gateway: Gateway) -> None:
        self._tools = tools
        self._one = one
        self._snapshot = snapshot
        self._gateway = gateway
        self._chunk: tuple[int, bytes] = (-1, b"")

    async def prepared(self, line: NativeLine, request_id: UUID) -> Prepared:
        """Raises HubError."""
        one, now = self._one, self._gateway.wall()
        body = body_of(await self._text_of(line))
        asker = Asker(str(request_id), now, one.project_id, [])
        ready = await prepare(one.url, body, self._snapshot, self._tools.surfaces, asker)
        return ready._replace(facts=msgspec.structs.replace(ready.facts, service_tier=TIER))

    def plan(self, ready: Prepared, caller: Caller) -> Plan:
        """As the gateway would. Raises HubError."""
        gateway = self._gateway
        moment = Moment(gateway.monotonic(), dt.datetime.fromtimestamp(gateway.wall(), dt.UTC))
        policy = choose_policy(ready.facts, caller, self._snapshot)
        facts = facts_for(policy, ready.facts, caller, ready.call.body, ())
        return plan(facts, policy, self._snapshot, gateway.health, moment, gateway.rng)

    def kept(
        self,
        line: NativeLine,
        request_id: UUID,
        status: int,
        body: bytes,
        cost: Cost | None = None,
    ) -> Keep:
        keyring = self._tools.keyring
        place = (self._one.batch_id.bytes, line.number, self._one.project_id)
        sealed = lines.seal(keyring, place, body)
        ended = Keep(line.id, 1, request_id, status, keyring.active, sealed)
        return msgspec.structs.replace(ended, cost=cost)

    def kept_error(self, line: NativeLine, request_id: UUID, error: HubError) -> Keep:
        return self.kept(line, request_id, error.status, error_body(error, str(request_id)))

    async def take(
        self, line: NativeLine, answer: Answer | None, endpoint: Endpoint
    ) -> Keep | None:
        """None where the provider never came to the line. What it costs is in the spool.

        Raises NoRoom.
        """
        if answer is None or answer.status is None or line.request_id is None:
            return None
        if not self._gateway.spool.has_room():
            raise NoRoom
        try:
            body, cost = await self._booked(line, line.request_id, answer, endpoint)
        except HubError as error:
            return self.kept_error(line, line.request_id, error)
        return self.kept(line, line.request_id, 200, body, cost)

    async def _booked(
        self, line: NativeLine, request_id: UUID, answer: Answer, endpoint: Endpoint
    ) -> tuple[bytes, Cost]:
        """Raises HubError where the answer is an error, after it was written down."""
        gateway, submitted_at = self._gateway, self._one.submitted_at
        wall = submitted_at.timestamp() if submitted_at is not None else gateway.wall()
        now, caller = gateway.monotonic(), self._owner()
        ready = await self.prepared(line, request_id)
        scribe = Scribe(gateway, request_id.bytes, caller, now, wall)
        scribe.surface, scribe.facts = ready.surface, ready.facts
        # The rules may have changed since: the answer is there all the same.
        with suppress(HubError):
            planned = self.plan(ready, caller)
            scribe.decided(planned.decision, planned.record)
        attempt = Attempt(endpoint, 1, now, wall)
        attempt.status = answer.status
        scribe.intend(attempt, endpoint.credentials[0].id)
        try:
            return await self._reply(scribe, attempt, ready, answer)
        except UpstreamError as failed:
            scribe.failed(attempt, failed)
            error = client_error(failed, endpoint.provider.name, 1)
            scribe.request_done(outcome_of_error(error, scribe), error.status, error.code)
            raise error from None

    async def _reply(
        self, scribe: Scribe, attempt: Attempt, ready: Prepared, answer: Answer
    ) -> tuple[bytes, Cost]:
        endpoint = attempt.endpoint
        adapter = adapter_of(endpoint)
        if answer.status != 200:
            raise adapter.read_error(endpoint, answer.status or 0, [], answer.body)
        reply = adapter.read_reply(ready.call, endpoint, [], answer.body)
        raw = reply.raw
        if ready.voice is not None and not reply.is_native:
            raw = await ready.voice.deliver(raw)
        money = scribe.price(attempt, reply.usage, reply.output_chars, TIER)
        scribe.answered(
            attempt,
            money,
            usage_raw=reply.usage_raw,
            finish_reason=reply.finish_reason,
            response_model=reply.response_model,
        )
        return raw, Cost(money.charge.amount_usd, endpoint.provider.simulated)

    def _owner(self) -> Caller:
        """Whom the answers are booked to, also where the key has been revoked meanwhile."""
        one = self._one
        caller = self._snapshot.callers.get(one.key_digest)
        if caller is None:
            caller = Caller(one.key_id, "", one.project_id, one.organization_id)
        return msgspec.structs.replace(caller, kind=KIND, limits=None)

    async def _text_of(self, line: NativeLine) -> bytes:
        number, content = self._chunk
        if number != line.chunk:
            keyring, file_id = self._tools.keyring, self._one.input_file_id
            read = await self._tools.threads.run(
                lambda cursor: files.read_chunk(cursor, keyring, file_id, line.chunk)
            )
            content = read or b""
            self._chunk = (line.chunk, content)
        return content[line.offset : line.offset + line.length]


def adapter_of(endpoint: Endpoint) -> Adapter:
    return adapter_for(endpoint.provider.dialect, endpoint.kind)
