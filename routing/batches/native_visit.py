"""One step of a batch that is at a provider: submitted, looked at, or its answers taken over.

Every step is written down before and after the provider is asked, by the worker that holds the
batch alone. One that was submitted as its worker died is looked for at the provider, by its tag,
before it is submitted again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial
from uuid import UUID

from routing.adapters.base import ChatCall
from routing.adapters.jsonio import BadJson
from routing.batches import lines, native_store
from routing.batches.answering import key_is_gone
from routing.batches.lines import Keep
from routing.batches.native_store import AtProvider, NativeLine, NotOurs
from routing.batches.native_takeover import Bookkeeper, Tools, adapter_of
from routing.batches.providers.carrier import Carrier
from routing.batches.providers.paper import Answers, Paper
from routing.batches.providers.registry import way_of
from routing.batches.providers.ways import Entry, Job, Lost, Status, Way
from routing.batches.providers.wire import ProviderWire
from routing.core.batches import Ended
from routing.core.catalog import Endpoint, Snapshot
from routing.core.cursor import Cursor
from routing.core.errors import FailureClass, HubError, UpstreamError
from routing.gateway.errors import client_error
from routing.gateway.service import Gateway

log = logging.getLogger(__name__)

AT_ONCE = 200  # lines
KEPT_AT_ONCE_BYTES = 8 * 2**20  # of answers, on their way into Postgres
RENEW_S = 30.0
FIRST_LOOK_S, LEAST_PAUSE_S, MOST_PAUSE_S = 2.0, 2.0, 300.0
MOST_UNWANTED_PAUSE_S = 15.0  # of one that was cancelled, or is late
PAUSE_SHARE = 0.1  # of how long it has been there already
TROUBLE_S, MOST_TROUBLE_S = 30.0, 1800.0
MOST_SUBMISSIONS = 10
GIVEN_UP_AFTER = dt.timedelta(hours=6)  # behind the batch's own window
PASSES = frozenset(
    {
        FailureClass.CONNECT,
        FailureClass.TRANSIENT,
        FailureClass.CAPACITY,
        FailureClass.TIMEOUT,
    }
)


class Visit:
    """One step of one batch that is at a provider."""

    def __init__(self, tools: Tools, one: AtProvider, snapshot: Snapshot) -> None:
        self._tools = tools
        self._threads = tools.threads
        self._one = one
        self._snapshot = snapshot
        self._gateway: Gateway | None = None
        self._carrier: Carrier | None = None
        self._bookkeeper: Bookkeeper | None = None
        self._papers: list[Paper | Answers] = []
        endpoint = snapshot.endpoints.get(one.endpoint_id)
        self._way = None if endpoint is None else way_of(endpoint)
        self._endpoint = endpoint
        self.where = endpoint.provider.name if endpoint is not None else "a provider that is gone"

    async def go(self) -> None:
        """Raises UpstreamError and BadJson where the provider is in trouble, DatabaseUnavailable
        and OSError where the hub is, NoRoom, and NotOurs when it took too long."""
        step = asyncio.create_task(self._step())
        holding = asyncio.create_task(self._keep_holding())
        try:
            await asyncio.wait({step, holding}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (step, holding):
                task.cancel()
            await asyncio.gather(step, holding, return_exceptions=True)
        if not step.cancelled():
            step.result()
        elif not holding.cancelled():
            holding.result()

    async def close(self) -> None:
        for paper in self._papers:
            paper.close()
        if self._carrier is not None:
            await self._carrier.aclose()
        if self._gateway is not None:
            await self._gateway.stop(drain_s=0)

    async def again(self) -> None:
        """Later, and the later the more often it could not be submitted."""
        tries = max(self._one.tries, 0)
        pause_s = min(TROUBLE_S * 2**tries, MOST_TROUBLE_S)
        if self._one.state == "running":
            pause_s = TROUBLE_S
        with suppress(NotOurs):
            await self._write(native_store.again, pause_s)

    async def _keep_holding(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            await self._write(native_store.hold)

    async def _step(self) -> None:
        one, endpoint, way = self._one, self._endpoint, self._way
        if endpoint is None or way is None:
            await self._end(Ended.REFUSED)
        elif self._is_past(GIVEN_UP_AFTER):
            log.warning("the batch %s is not ended by %s, and is over", one.batch_id, self.where)
            await self._end(Ended.EXPIRED)
        elif one.state == "running":
            await self._look(endpoint, way)
        elif one.state == "submitting":
            await self._look_for(endpoint, way)
        else:
            await self._submit(endpoint, way)

    # --- submitting -------------------------------------------------------------------------------
    async def _look_for(self, endpoint: Endpoint, way: Way) -> None:
        """A batch that may be there."""
        one, since = self._one, self._one.submitted_at
        if since is not None:
            known = await self._threads.run(lambda cursor: native_store.known_ids(cursor, since))
            lost = Lost(one.tag.hex, since, await self._count(), known)
            found = await way.find(self._wire(endpoint), lost)
            if found:
                await self._write(native_store.running, found, FIRST_LOOK_S)
                return
        await self._submit(endpoint, way)

    async def _submit(self, endpoint: Endpoint, way: Way) -> None:
        one = self._one
        if one.tries >= MOST_SUBMISSIONS or one.batch_status == "cancelling":
            await self._end(Ended.REFUSED)
            return
        if self._is_past(dt.timedelta()):
            await self._end(Ended.EXPIRED)
            return
        job = await self._job(endpoint, way)
        if not job.lines.count:
            await self._end(Ended.REFUSED)
            return
        await self._write(native_store.submitting)
        try:
            native_id = await way.submit(self._wire(endpoint), job)
        except UpstreamError as exc:
            if exc.failure in PASSES:
                raise
            log.warning("%s refuses a batch: %s", endpoint.provider.name, exc.message)
            await self._end(Ended.REFUSED)
            return
        if not native_id:
            raise BadJson("the answer does not say the id of the new batch")
        try:
            await self._write(native_store.running, native_id, FIRST_LOOK_S)
        except NotOurs:  # another worker has submitted it meanwhile: once is enough
            await way.cancel(self._wire(endpoint), native_id)
            raise

    async def _job(self, endpoint: Endpoint, way: Way) -> Job:
        """Lines that cannot be sent there end here, with their error."""
        book, paper, path = self._book(), self._paper(way.separator), ""
        after = 0
        while group := await self._group(after):
            ids = {line.id: line.request_id or self._tools.new_id() for line in group}
            await self._threads.run(partial(_name_lines, ids))
            refused: list[Keep] = []
            for line in group:
                try:
                    entry = await self._entry(line, ids[line.id], endpoint)
                except HubError as error:  # nothing was asked, nothing is charged
                    refused.append(book.kept_error(line, ids[line.id], error))
                else:
                    path = entry.path
                    paper.add(way.line(entry))
            if refused:
                await self._threads.run(partial(_keep_lines, refused))
            after = group[-1].number
        return Job(self._one.tag.hex, path, endpoint.upstream_model, paper)

    async def _entry(self, line: NativeLine, request_id: UUID, endpoint: Endpoint) -> Entry:
        """Raises HubError."""
        book = self._book()
        ready = await book.prepared(line, request_id)
        caller = self._snapshot.callers.get(self._one.key_digest)
        if caller is None:
            raise key_is_gone()
        planned = book.plan(ready, caller)
        if all(attempt.id != endpoint.id for attempt in planned.attempts):
            raise HubError(404, "no_endpoint", f"{endpoint.key} may not be used for this request")
        adapter, secret = adapter_of(endpoint), endpoint.credentials[0].secret
        try:
            built = adapter.build(ready.call, endpoint, secret)
        except UpstreamError as unsayable:
            raise client_error(unsayable, endpoint.provider.name, 0) from None
        return Entry(self._name(line), built.path, built.body)

    async def _group(self, after: int) -> list[NativeLine]:
        return await self._threads.run(
            lambda cursor: native_store.lines_of(cursor, self._one, after, AT_ONCE)
        )

    async def _count(self) -> int:
        """Of lines that are there, if the batch is."""
        return await self._threads.run(lambda cursor: native_store.count_lines(cursor, self._one))

    def _name(self, line: NativeLine) -> str:
        return f"{self._one.tag.hex}-{line.number}"

    # --- looking ----------------------------------------------------------------------------------
    async def _look(self, endpoint: Endpoint, way: Way) -> None:
        one, wire = self._one, self._wire(endpoint)
        is_unwanted = one.batch_status == "cancelling" or self._is_past(dt.timedelta())
        status = await way.status(wire, one.native_id)
        if is_unwanted and not one.is_cancelled and not status.has_ended:
            await way.cancel(wire, one.native_id)
            await self._write(native_store.told)
            status = await way.status(wire, one.native_id)
        if status.problem:
            log.warning("%s failed a batch: %s", endpoint.provider.name, status.problem)
            await self._end(Ended.REFUSED)
        elif status.has_ended:
            await self._take_over(endpoint, way, status)
        else:
            counts = (status.completed, status.failed)
            await self._write(native_store.progress, counts, self._pause_s(is_unwanted))

    def _pause_s(self, is_unwanted: bool) -> float:
        since = self._one.submitted_at
        if since is None:
            return LEAST_PAUSE_S
        there_s = (dt.datetime.now(dt.UTC) - since).total_seconds()
        most_s = MOST_UNWANTED_PAUSE_S if is_unwanted else MOST_PAUSE_S
        return min(max(there_s * PAUSE_SHARE, LEAST_PAUSE_S), most_s)

    async def _take_over(self, endpoint: Endpoint, way: Way, status: Status) -> None:
        book, found, after = self._book(), self._answers(), 0
        async with aclosing(way.answers(self._wire(endpoint), status)) as answers:
            async for answer in answers:
                found.add(answer)
        while group := await self._group(after):
            ended: list[Keep] = []
            for line in group:
                kept = await book.take(line, found.get(self._name(line)), endpoint)
                if kept is not None:
                    ended.append(kept)
                if sum(len(keep.sealed) for keep in ended) > KEPT_AT_ONCE_BYTES:
                    await self._keep(ended)
                    ended = []
            await self._keep(ended)
            after = group[-1].number
        await self._end(Ended.EXPIRED)

    async def _keep(self, ended: list[Keep]) -> None:
        """What they cost is on the disk before they are kept: a crash loses no charge."""
        if ended:
            await self._recording().spool.durable()
            await self._threads.run(partial(_keep_lines, ended))

    async def _end(self, ended: Ended) -> None:
        await self._write(native_store.over, ended)

    async def _write(self, statement: Callable[..., None], *values: object) -> None:
        """Raises NotOurs and DatabaseUnavailable."""
        await self._threads.run(lambda cursor: statement(cursor, self._one, *values))

    def _is_past(self, more: dt.timedelta) -> bool:
        return dt.datetime.now(dt.UTC) > self._one.expires_at + more

    # --- what is needed along the way ---------------------------------------------------------------
    def _recording(self) -> Gateway:
        if self._gateway is None:
            self._gateway = self._tools.new_gateway(self._snapshot)
        return self._gateway

    def _book(self) -> Bookkeeper:
        if self._bookkeeper is None:
            gateway = self._recording()
            self._bookkeeper = Bookkeeper(self._tools, self._one, self._snapshot, gateway)
        return self._bookkeeper

    def _wire(self, endpoint: Endpoint) -> ProviderWire:
        if self._carrier is None:
            self._carrier = self._tools.new_carrier()
        adapter, secret = adapter_of(endpoint), endpoint.credentials[0].secret
        own = adapter.build(_any_call(endpoint), endpoint, secret).headers
        own = [(name, value) for name, value in own if name not in (b"content-type", b"accept")]
        return ProviderWire(self._carrier, adapter, endpoint, own)

    def _paper(self, separator: bytes) -> Paper:
        self._papers.append(paper := Paper(separator))
        return paper

    def _answers(self) -> Answers:
        self._papers.append(answers := Answers())
        return answers


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
