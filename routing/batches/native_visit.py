"""One step of a batch that is at a provider: submitted, looked at, or its answers taken over.

A line is charged when its answer is taken over, by records whose ids were given when it was
submitted. Taking over twice writes the same records twice, which counts once.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec

from routing.adapters.base import Adapter, ChatCall
from routing.adapters.quirks import Quirks
from routing.adapters.registry import adapter_for
from routing.batches import files, lines, native_store
from routing.batches.answering import KIND, key_is_gone
from routing.batches.lines import Keep
from routing.batches.native_formats import FORMATS, Answer, Entry, Format, Send, Status
from routing.batches.native_store import AtProvider, NativeLine
from routing.batches.preparing import Prepared, prepare
from routing.core.batches import Ended, body_of
from routing.core.catalog import Caller, Endpoint, Snapshot
from routing.core.cursor import Cursor
from routing.core.deadlines import Deadlines
from routing.core.decision import Plan
from routing.core.errors import FAILS_OVER, HubError, UpstreamError
from routing.core.moment import Moment
from routing.core.plan import choose_policy, plan
from routing.gateway.attempt import Attempt
from routing.gateway.errors import client_error, error_body
from routing.gateway.preferences import facts_for
from routing.gateway.scribe import Scribe
from routing.gateway.service import Gateway, outcome_of_error
from routing.gateway.upstream.base import UpstreamRequest
from routing.services.database_work import DatabaseTransactions
from routing.services.sealing import Keyring
from routing.surfaces.base import Asker, Surface

log = logging.getLogger(__name__)

TIER = "batch"  # what prices for batches are kept under
URLS = frozenset({"/v1/chat/completions", "/v1/messages", "/v1/completions", "/v1/embeddings"})
DEADLINES = Deadlines(first_content_s=120.0, idle_s=60.0, progress_s=0.0, total_s=240.0)
MOST_BYTES = 512 * 2**20
AT_ONCE = 200  # lines
FIRST_LOOK_S, LEAST_PAUSE_S, MOST_PAUSE_S = 2.0, 2.0, 300.0
PAUSE_SHARE = 0.1  # of how long it has been there already
TROUBLE_S = 30.0
MOST_SUBMISSIONS = 5


class Tools(NamedTuple):
    """`new_gateway` makes one that is never started: for its upstream client and its spool."""

    threads: DatabaseTransactions
    keyring: Keyring
    new_gateway: Callable[[Snapshot], Gateway]
    surfaces: Mapping[str, Surface]
    new_id: Callable[[], UUID]


def takes_batches(endpoint: Endpoint) -> bool:
    quirks: Quirks = endpoint.provider.quirks
    return bool(quirks.batches and endpoint.credentials)


class Visit:
    """One step of one batch that is at a provider."""

    def __init__(self, tools: Tools, one: AtProvider, snapshot: Snapshot) -> None:
        self._tools = tools
        self._threads = tools.threads
        self._one = one
        self._snapshot = snapshot
        self._gateway: Gateway | None = None
        self._chunk: tuple[int, bytes] = (-1, b"")
        endpoint = snapshot.endpoints.get(one.endpoint_id)
        self._endpoint = endpoint if endpoint is not None and takes_batches(endpoint) else None
        self.where = endpoint.provider.name if endpoint is not None else "a provider that is gone"

    async def go(self) -> None:
        if self._endpoint is None:
            await self._end(Ended.REFUSED)
        elif self._one.state == "running":
            await self._look(self._endpoint)
        else:
            await self._submit(self._endpoint)

    async def close(self) -> None:
        if self._gateway is not None:
            await self._gateway.stop(drain_s=0)

    # --- submitting -------------------------------------------------------------------------------
    async def _submit(self, endpoint: Endpoint) -> None:
        one, send, way = self._one, self._sender(endpoint), _format_of(endpoint)
        if one.state == "submitting" and one.submitted_at is not None:
            found = await way.find(send, one.tag.hex, one.submitted_at, one.total)
            if found:
                await self._runs(found)
                return
        if one.tries >= MOST_SUBMISSIONS:
            await self._end(Ended.REFUSED)
            return
        entries = await self._entries(endpoint)
        if not entries:
            await self._end(Ended.REFUSED)
            return
        await self._threads.run(lambda cursor: native_store.submitting(cursor, one.batch_id))
        try:
            native_id = await way.submit(send, one.tag.hex, entries)
        except UpstreamError as exc:
            if exc.failure in FAILS_OVER:
                raise
            log.warning("%s refuses a batch: %s", endpoint.provider.name, exc.message)
            await self._end(Ended.REFUSED)
            return
        await self._runs(native_id)

    async def _runs(self, native_id: str) -> None:
        batch_id = self._one.batch_id
        await self._threads.run(
            lambda cursor: native_store.running(cursor, batch_id, native_id, FIRST_LOOK_S)
        )

    async def _entries(self, endpoint: Endpoint) -> list[Entry]:
        """Lines that cannot be sent there end here, with their error."""
        found: list[Entry] = []
        after = 0
        while group := await self._group(after):
            ids = {line.id: line.request_id or self._tools.new_id() for line in group}
            await self._threads.run(partial(_name_lines, ids))
            for line in group:
                try:
                    found.append(await self._entry(line, ids[line.id], endpoint))
                except HubError as error:
                    await self._keep_error(line, ids[line.id], error)
            after = group[-1].number
        return found

    async def _entry(self, line: NativeLine, request_id: UUID, endpoint: Endpoint) -> Entry:
        """Raises HubError."""
        ready = await self._prepared(line, request_id)
        caller = self._snapshot.callers.get(self._one.key_digest)
        if caller is None:
            raise key_is_gone()
        planned = self._plan(ready, caller)
        if all(attempt.id != endpoint.id for attempt in planned.attempts):
            raise HubError(404, "no_endpoint", f"{endpoint.key} may not be used for this request")
        secret = endpoint.credentials[0].secret
        try:
            built = _adapter_of(endpoint).build(ready.call, endpoint, secret)
        except UpstreamError as unsayable:
            raise client_error(unsayable, endpoint.provider.name, 0) from None
        return Entry(self._name(line), built.path, built.body)

    async def _group(self, after: int) -> list[NativeLine]:
        return await self._threads.run(
            lambda cursor: native_store.lines_of(cursor, self._one, after, AT_ONCE)
        )

    def _name(self, line: NativeLine) -> str:
        return f"{self._one.tag.hex}-{line.number}"

    async def _prepared(self, line: NativeLine, request_id: UUID) -> Prepared:
        """Raises HubError."""
        one, now = self._one, self._recording().wall()
        body = body_of(await self._line_text(line))
        asker = Asker(str(request_id), now, one.project_id, [])
        ready = await prepare(one.url, body, self._snapshot, self._tools.surfaces, asker)
        return ready._replace(facts=msgspec.structs.replace(ready.facts, service_tier=TIER))

    def _plan(self, ready: Prepared, caller: Caller) -> Plan:
        """As the gateway would. Raises HubError."""
        gateway = self._recording()
        moment = Moment(gateway.monotonic(), dt.datetime.fromtimestamp(gateway.wall(), dt.UTC))
        policy = choose_policy(ready.facts, caller, self._snapshot)
        facts = facts_for(policy, ready.facts, caller, ready.call.body, ())
        return plan(facts, policy, self._snapshot, gateway.health, moment, gateway.rng)

    def _owner(self) -> Caller:
        """Whom the answers are booked to, also where the key has been revoked meanwhile."""
        one = self._one
        caller = self._snapshot.callers.get(one.key_digest)
        if caller is None:
            caller = Caller(one.key_id, "", one.project_id, one.organization_id)
        return msgspec.structs.replace(caller, kind=KIND, limits=None)

    async def _line_text(self, line: NativeLine) -> bytes:
        number, content = self._chunk
        if number != line.chunk:
            keyring, file_id = self._tools.keyring, self._one.input_file_id
            read = await self._threads.run(
                lambda cursor: files.read_chunk(cursor, keyring, file_id, line.chunk)
            )
            content = read or b""
            self._chunk = (line.chunk, content)
        return content[line.offset : line.offset + line.length]

    # --- looking ----------------------------------------------------------------------------------
    async def _look(self, endpoint: Endpoint) -> None:
        one, send, way = self._one, self._sender(endpoint), _format_of(endpoint)
        if one.batch_status == "cancelling" and not one.is_cancelled:
            await way.cancel(send, one.native_id)
            await self._threads.run(lambda cursor: native_store.told(cursor, one.batch_id))
        status = await way.status(send, one.native_id)
        if status.problem:
            log.warning("%s failed a batch: %s", endpoint.provider.name, status.problem)
            await self._end(Ended.REFUSED)
        elif status.has_ended:
            await self._take_over(endpoint, status)
        else:
            counts, pause_s = (status.completed, status.failed), self._pause_s()
            await self._threads.run(
                lambda cursor: native_store.progress(cursor, one.batch_id, counts, pause_s)
            )

    def _pause_s(self) -> float:
        if self._one.submitted_at is None or self._one.batch_status == "cancelling":
            return LEAST_PAUSE_S
        there_s = (dt.datetime.now(dt.UTC) - self._one.submitted_at).total_seconds()
        return min(max(there_s * PAUSE_SHARE, LEAST_PAUSE_S), MOST_PAUSE_S)

    async def _take_over(self, endpoint: Endpoint, status: Status) -> None:
        answers = await _format_of(endpoint).answers(self._sender(endpoint), status)
        by_name = {answer.custom_id: answer for answer in answers}
        after = 0
        while group := await self._group(after):
            ended = [
                keep
                for line in group
                if (keep := await self._taken(line, by_name.get(self._name(line)), endpoint))
            ]
            if ended:
                await self._threads.run(partial(_keep_lines, ended))
            after = group[-1].number
        await self._end(Ended.EXPIRED)

    async def _taken(
        self, line: NativeLine, answer: Answer | None, endpoint: Endpoint
    ) -> Keep | None:
        """None where the provider never came to the line. What it costs is in the spool."""
        if answer is None or answer.status is None or line.request_id is None:
            return None
        try:
            status, body = await self._booked(line, line.request_id, answer, endpoint)
        except HubError as error:
            status, body = error.status, error_body(error, str(line.request_id))
        return self._kept(line, line.request_id, status, body)

    async def _booked(
        self, line: NativeLine, request_id: UUID, answer: Answer, endpoint: Endpoint
    ) -> tuple[int, bytes]:
        """Raises HubError where the answer is an error, after it was written down."""
        gateway, submitted_at = self._recording(), self._one.submitted_at
        wall = submitted_at.timestamp() if submitted_at is not None else gateway.wall()
        now, caller = gateway.monotonic(), self._owner()
        ready = await self._prepared(line, request_id)
        scribe = Scribe(gateway, request_id.bytes, caller, now, wall)
        scribe.surface, scribe.facts = ready.surface, ready.facts
        with suppress(
            HubError
        ):  # the rules may have changed since: the answer is there all the same
            planned = self._plan(ready, caller)
            scribe.decided(planned.decision, planned.record)
        attempt = Attempt(endpoint, 1, now, wall)
        attempt.status = answer.status
        scribe.intend(attempt, endpoint.credentials[0].id)
        try:
            return 200, await self._reply(scribe, attempt, ready, answer)
        except UpstreamError as failed:
            scribe.failed(attempt, failed)
            error = client_error(failed, endpoint.provider.name, 1)
            scribe.request_done(outcome_of_error(error, scribe), error.status, error.code)
            raise error from None

    async def _reply(
        self, scribe: Scribe, attempt: Attempt, ready: Prepared, answer: Answer
    ) -> bytes:
        endpoint = attempt.endpoint
        adapter = _adapter_of(endpoint)
        if answer.status != 200:
            raise adapter.read_error(endpoint, answer.status or 0, [], answer.body)
        reply = adapter.read_reply(ready.call, endpoint, [], answer.body)
        raw = reply.raw
        if ready.voice is not None and not reply.is_native:
            raw = await ready.voice.deliver(raw)
        scribe.answered(
            attempt,
            scribe.price(attempt, reply.usage, reply.output_chars, TIER),
            usage_raw=reply.usage_raw,
            finish_reason=reply.finish_reason,
            response_model=reply.response_model,
        )
        return raw

    async def _keep_error(self, line: NativeLine, request_id: UUID, error: HubError) -> None:
        """For a line that never left: nothing was asked, nothing is charged."""
        body = error_body(error, str(request_id))
        keep = self._kept(line, request_id, error.status, body)
        await self._threads.run(lambda cursor: lines.keep(cursor, [keep]))

    def _kept(self, line: NativeLine, request_id: UUID, status: int, body: bytes) -> Keep:
        keyring = self._tools.keyring
        place = (self._one.batch_id.bytes, line.number, self._one.project_id)
        sealed = lines.seal(keyring, place, body)
        return Keep(line.id, 1, request_id, status, keyring.active, sealed)

    async def _end(self, ended: Ended) -> None:
        await self._threads.run(lambda cursor: native_store.over(cursor, self._one, ended))

    # --- the provider -----------------------------------------------------------------------------
    def _recording(self) -> Gateway:
        if self._gateway is None:
            self._gateway = self._tools.new_gateway(self._snapshot)
        return self._gateway

    def _sender(self, endpoint: Endpoint) -> Send:
        upstream, base = self._recording().upstream, endpoint.provider.base_url
        adapter = _adapter_of(endpoint)
        own = adapter.build(_any_call(endpoint), endpoint, endpoint.credentials[0].secret).headers
        own = [(name, value) for name, value in own if name not in (b"content-type", b"accept")]

        async def send(method: str, path: str, content_type: bytes, body: bytes) -> bytes:
            if base.rstrip("/").endswith("/v1"):
                path = path.removeprefix("/v1")
            headers = [*own, (b"accept", b"*/*")]
            if body:
                headers.append((b"content-type", content_type))
            request = UpstreamRequest(method, base + path, headers, body, DEADLINES)
            answer = await upstream.send(request)
            try:
                content = await answer.read(MOST_BYTES)
            finally:
                await answer.aclose()
            if not 200 <= answer.status < 300:
                raise adapter.read_error(endpoint, answer.status, answer.headers, content)
            return content

        return send


def _name_lines(ids: dict[int, UUID], cursor: Cursor) -> None:
    native_store.name(cursor, ids)


def _keep_lines(ended: list[Keep], cursor: Cursor) -> None:
    lines.keep(cursor, ended)


def _any_call(endpoint: Endpoint) -> ChatCall:
    """For the headers that every request at this endpoint has."""
    body = {
        "model": endpoint.model.name,
        "messages": [{"role": "user", "content": "."}],
        "input": ".",
        "max_tokens": 1,
    }
    return ChatCall(body, stream=False, wants_usage=False, kind=endpoint.kind)


def _adapter_of(endpoint: Endpoint) -> Adapter:
    return adapter_for(endpoint.provider.dialect, endpoint.kind)


def _format_of(endpoint: Endpoint) -> Format:
    quirks: Quirks = endpoint.provider.quirks
    return FORMATS[quirks.batches]
