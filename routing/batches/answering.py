"""One line in a gateway: the way of a client's request, with its answer kept before it is charged.

The order is what makes a line's charge its only one. A gateway that dies before the answer is kept
leaves a crashed attempt and a line that is tried again; one that dies after it leaves a line that
is never tried again, and an attempt that the recorder charges by its estimate.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

import msgspec

from routing.adapters.base import Headers
from routing.batches import lines
from routing.batches.desk import LineDesk
from routing.batches.line_scribe import LineScribe
from routing.batches.lines import Cost, Keep, Take
from routing.batches.preparing import prepare
from routing.core.batches import LineEnd, LineJob, pause_s
from routing.core.catalog import Caller
from routing.core.errors import HubError
from routing.gateway.errors import error_body, our_fault
from routing.gateway.exchange import STOPPING
from routing.gateway.fixed_headers import NO_HEADERS, FixedHeaders
from routing.gateway.service import Gateway, outcome_of_error
from routing.services.database_work import DatabaseUnavailable
from routing.services.sealing import Keyring
from routing.surfaces.base import Asker, Surface

log = logging.getLogger(__name__)

KIND = "batch"  # as the log says it
SHARE = 2  # one part of a gateway's places in so many is for lines: clients come first
WORTH_ANOTHER_TRY = frozenset({408, 409, 425, 429})


class Answering:
    """Runs lines on a gateway. A line that was begun is ended, whoever stops waiting for it."""

    def __init__(
        self,
        gateway: Gateway,
        surfaces: Mapping[str, Surface],
        desk: LineDesk,
        keyring: Keyring,
    ) -> None:
        self.gateway = gateway
        self.surfaces = surfaces
        self.desk = desk
        self.keyring = keyring
        self._running: set[asyncio.Task[LineEnd]] = set()

    async def run(self, job: LineJob) -> LineEnd:
        gateway = self.gateway
        if gateway.is_draining or gateway.overload.reason or not gateway.spool.has_room():
            return LineEnd.BUSY
        if not gateway.snapshot.version:
            return LineEnd.BUSY
        if len(self._running) * SHARE >= gateway.settings.max_running:
            return LineEnd.BUSY
        if len(gateway.running) >= gateway.room:  # full, or clients wait
            return LineEnd.BUSY
        task = asyncio.get_running_loop().create_task(self._run(job))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:  # the server stops: whoever waits is told so at once
            return LineEnd.BUSY

    async def _run(self, job: LineJob) -> LineEnd:
        gateway = self.gateway
        received_at, received_wall = gateway.monotonic(), gateway.wall()
        request_id = gateway.new_request_id(received_wall)
        take = Take(job.line_id, job.try_no, UUID(bytes=job.holder), UUID(bytes=request_id))
        try:
            if not await self.desk.take(take):
                return LineEnd.NOT_YOURS
        except DatabaseUnavailable:
            return LineEnd.BUSY
        line = _Line(self, job, request_id)
        caller = gateway.snapshot.callers.get(job.key_digest)
        if caller is None or _is_over(caller, received_wall):
            return await line.failed(key_is_gone())
        caller = msgspec.structs.replace(caller, kind=KIND, limits=None)
        scribe = LineScribe(gateway, request_id, caller, received_at, received_wall)
        try:
            await self._answer(scribe, line)
        except HubError as error:
            scribe.request_done(outcome_of_error(error, scribe), error.status, error.code)
            return await line.failed(error)
        except asyncio.CancelledError:  # the gateway is stopping
            await asyncio.shield(line.given_up())
            raise
        except Exception:
            log.exception("line %d failed in the gateway itself", job.line_id)
            return await line.failed(our_fault())
        return line.end or await line.failed(_cut_short())

    async def _answer(self, scribe: LineScribe, line: _Line) -> None:
        """The parts of the gateway that clients' requests go through. Raises HubError."""
        job = line.job
        line.surface = self.surfaces.get(job.url)
        id_text = scribe.request_id_text.decode()
        asker = Asker(id_text, scribe.received_wall, scribe.caller.project_id, [])
        ready = await prepare(job.url, job.body, self.gateway.snapshot, self.surfaces, asker)
        scribe.surface = ready.surface
        sink = _LineSink(scribe, line)
        await self.gateway.run(scribe, sink, ready.call, ready.facts, voice=ready.voice)


class _Line:
    """Where one try of a line ends: `end` says how, once it has."""

    def __init__(self, answering: Answering, job: LineJob, request_id: bytes) -> None:
        self.job = job
        self.surface: Surface | None = None
        self.end: LineEnd | None = None
        self._answering = answering
        self._request_id = UUID(bytes=request_id)

    async def answered(self, body: bytes, cost: Cost) -> bool:
        """False where the line is somebody else's by now."""
        return await self._keep(200, body, cost)

    async def failed(self, error: HubError) -> LineEnd:
        if error.code == STOPPING.code:
            await self.given_up()
            return LineEnd.AGAIN
        pause = pause_s(self.job.try_no, error.retry_after_s) if _may_pass(error) else None
        if pause is None:
            surface, id_text = self.surface, str(self._request_id)
            body = surface.error_body(error, id_text) if surface else error_body(error, id_text)
            await self._keep(error.status, body)
            return LineEnd.DONE
        await self._again(pause)
        return LineEnd.AGAIN

    async def given_up(self) -> None:
        """Not for any fault of the line: the try does not count."""
        await self._again(0.0, counts=False)

    async def _keep(self, status: int, body: bytes, cost: Cost | None = None) -> bool:
        keyring = self._answering.keyring
        sealed = lines.seal(keyring, self.job.place, body)
        kept = await self._end(status, keyring.active, sealed, cost=cost)
        self.end = LineEnd.DONE if kept else LineEnd.NOT_YOURS
        return kept

    async def _again(self, pause: float, *, counts: bool = True) -> None:
        await self._end(None, pause=pause, counts=counts)
        self.end = LineEnd.AGAIN

    def _end(
        self,
        status: int | None,
        key_id: str = "",
        sealed: bytes = b"",
        *,
        pause: float = 0.0,
        counts: bool = True,
        cost: Cost | None = None,
    ) -> Awaitable[bool]:
        job, request_id = self.job, self._request_id
        ended = Keep(
            *(job.line_id, job.try_no, request_id, status, key_id, sealed, pause, counts, cost)
        )
        return self._answering.desk.keep(ended)


class _LineSink:
    """A client that is never gone."""

    write_at_once: Callable[[bytes], bool] | None = None
    write_framed: Callable[[bytes], bool] | None = None

    def __init__(self, scribe: LineScribe, line: _Line) -> None:
        self.started = self.finished = self.gone = False
        self.write_at_once: Callable[[bytes], bool] | None = None
        self._scribe = scribe
        self._line = line

    def watch(self, on_gone: Callable[[], object]) -> None:
        """Nobody who could leave is waiting."""

    async def start(self, status: int, headers: Headers, fixed: FixedHeaders = NO_HEADERS) -> None:
        raise RuntimeError("a line of a batch is answered whole")

    async def write(self, data: bytes) -> None:
        raise RuntimeError("a line of a batch is answered whole")

    async def finish(self, data: bytes = b"") -> None:
        raise RuntimeError("a line of a batch is answered whole")

    async def reply(
        self, status: int, headers: Headers, body: bytes, fixed: FixedHeaders = NO_HEADERS
    ) -> None:
        self.started = True
        if await self._line.answered(body, self._scribe.cost):
            await self._scribe.book()
        else:
            self._scribe.drop()
        self.finished = True

    def close(self) -> None:
        self.finished = True


def _is_over(caller: Caller, now_unix_s: float) -> bool:
    return caller.expires_at is not None and now_unix_s >= caller.expires_at


def _may_pass(error: HubError) -> bool:
    if error.should_retry is not None and error.status < 500:
        return error.should_retry
    return error.status >= 500 or error.status in WORTH_ANOTHER_TRY


def _cut_short() -> HubError:
    """The gateway stopped the exchange between two attempts."""
    return HubError(504, "timeout", "The request took too long", kind="server_error")


def key_is_gone() -> HubError:
    return HubError(
        401,
        "invalid_api_key",
        "The API key that made this batch has been revoked or has expired. Make a new batch with "
        "another key",
        kind="authentication_error",
        should_retry=False,
    )
