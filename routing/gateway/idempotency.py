"""`Idempotency-Key` on whole answers: the same request again gets the first answer again.

The key counts for one API key and one day. The claim is a row that only one process can insert, so
it holds over all gateways; it is renewed while the request runs, and lapses when its process died.
A request that carries a key goes on when its client leaves: the client will come back for the answer.
Only answers are kept. A request that failed may be sent again with the same key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID, uuid4

import msgspec
from typing_extensions import override

from routing.adapters.base import Headers
from routing.core.errors import HubError
from routing.core.record import Outcome
from routing.core.replay import KIND, replay_json
from routing.gateway.asgi import Sink
from routing.gateway.errors import no_room
from routing.gateway.fixed_headers import NO_HEADERS, FixedHeaders
from routing.gateway.spool import SpoolFull
from routing.gateway.wishes import Wishes

if TYPE_CHECKING:
    from routing.gateway.scribe import Scribe

logger = logging.getLogger("panelboard.gateway")

LOCK_S = 60.0  # of a claim that is not renewed
RENEW_EVERY_S = 20.0
REPLAYED = (b"x-panelboard-replayed", b"true")
NOT_KEPT = (b"x-panelboard-idempotency", b"not-kept")


class CallName(msgspec.Struct, frozen=True):
    """Which request of which API key; the client's own words are kept as a digest alone."""

    key_id: int
    digest: bytes


class KeptAnswer(msgspec.Struct, frozen=True):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Claimed(msgspec.Struct, frozen=True):
    """It is ours to answer."""

    holder: UUID


class Running(msgspec.Struct, frozen=True):
    """Somebody answers it just now."""


class OtherRequest(msgspec.Struct, frozen=True):
    """The key was used for another body."""


Found = Claimed | KeptAnswer | Running | OtherRequest


class StoreUnavailable(Exception):
    """It cannot be read or written now; trying again may help."""


class AnswerTooLarge(Exception):
    """More than the store takes."""


class IdempotencyStore(Protocol):
    """None may take longer than a few seconds, because a client waits. All raise StoreUnavailable."""

    async def claim(
        self, name: CallName, fingerprint: bytes, holder: UUID, lock_s: float
    ) -> Found: ...

    async def renew(self, name: CallName, holder: UUID, lock_s: float) -> None: ...

    async def keep(self, name: CallName, holder: UUID, answer: KeptAnswer) -> None:
        """Raises AnswerTooLarge besides."""
        ...

    async def release(self, name: CallName, holder: UUID) -> None: ...


class _KeepingSink(Sink):
    """Keeps a whole answer before its client gets it, and does not care whether the client left."""

    write_at_once: Callable[[bytes], bool] | None = None
    write_framed: Callable[[bytes], bool] | None = None

    def __init__(self, sink: Sink, keep: Callable[[KeptAnswer], Awaitable[None]]) -> None:
        self._sink = sink
        self._keep = keep
        self.started = False
        self.finished = False
        self.gone = False

    @override
    def watch(self, on_gone: Callable[[], object]) -> None:
        """A client that leaves changes nothing."""

    @override
    async def start(self, status: int, headers: Headers, fixed: FixedHeaders = NO_HEADERS) -> None:
        raise TypeError("a stream cannot be kept")

    @override
    async def write(self, data: bytes) -> None:
        raise TypeError("a stream cannot be kept")

    @override
    async def finish(self, data: bytes = b"") -> None:
        raise TypeError("a stream cannot be kept")

    @override
    async def reply(
        self, status: int, headers: Headers, body: bytes, fixed: FixedHeaders = NO_HEADERS
    ) -> None:
        try:
            await self._keep(KeptAnswer(status, [*fixed.pairs, *headers], body))
        except (StoreUnavailable, AnswerTooLarge) as problem:
            logger.warning("an answer could not be kept for its repetition: %s", problem)
            headers = [*headers, NOT_KEPT]
        self.started = self.finished = True
        await self._sink.reply(status, headers, body, fixed)

    @override
    def close(self) -> None:
        """The sink behind it is closed by whoever opened it."""


async def answer_once(
    store: IdempotencyStore | None,
    scribe: Scribe,
    wishes: Wishes,
    sink: Sink,
    answer: Callable[[Sink], Coroutine[Any, Any, None]],
) -> None:
    """Replays the first answer, or lets `answer` give it. Raises HubError 409, 422 and 503."""
    if store is None:
        raise _unavailable()
    name = _name(scribe, wishes.idempotency_key)
    try:
        found = await store.claim(name, wishes.fingerprint, uuid4(), LOCK_S)
    except StoreUnavailable as problem:
        logger.warning("an idempotent request was refused: %s", problem)
        raise _unavailable() from None
    if isinstance(found, KeptAnswer):
        _write_down(scribe, found)
        await sink.reply(found.status, [*found.headers, REPLAYED], found.body)
    elif isinstance(found, Claimed):
        await _answer_claimed(store, name, found.holder, sink, answer)
    else:
        refusal = _REFUSALS[type(found)]
        raise refusal()


def _write_down(scribe: Scribe, kept: KeptAnswer) -> None:
    """A row of its own, that points at the first one and counts for nothing."""
    first_id = next((value for name, value in kept.headers if name == b"x-request-id"), b"")
    scribe.caller = msgspec.structs.replace(scribe.caller, kind=KIND)
    scribe.decision_record = replay_json(first_id.decode("latin-1"))
    try:
        scribe.request_done(Outcome.OK, kept.status, "")
    except SpoolFull:
        raise no_room() from None


async def _answer_claimed(
    store: IdempotencyStore,
    name: CallName,
    holder: UUID,
    sink: Sink,
    answer: Callable[[Sink], Coroutine[Any, Any, None]],
) -> None:
    keeping = _KeepingSink(sink, lambda kept: store.keep(name, holder, kept))
    renewing = asyncio.get_running_loop().create_task(_renew(store, name, holder))
    try:
        await answer(keeping)
    finally:
        renewing.cancel()
        if not keeping.finished:
            with suppress(StoreUnavailable):
                await asyncio.shield(store.release(name, holder))


async def _renew(store: IdempotencyStore, name: CallName, holder: UUID) -> None:
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        with suppress(StoreUnavailable):
            await store.renew(name, holder, LOCK_S)


def _name(scribe: Scribe, key: str) -> CallName:
    pepper = scribe.gateway.settings.pepper
    return CallName(
        scribe.caller.key_id,
        hmac.new(pepper, b"idempotency|" + key.encode(), hashlib.sha256).digest(),
    )


def refuse_stream() -> HubError:
    return HubError(
        400,
        "idempotency_of_stream",
        "An Idempotency-Key works for whole answers only, because a stream cannot be given again "
        "as it was. Leave the header out, or ask without stream",
        param="stream",
        should_retry=False,
    )


def _still_running() -> HubError:
    return HubError(
        409,
        "idempotency_in_progress",
        "The first request with this Idempotency-Key is still being answered. Ask again in a "
        "moment to get its answer",
        retry_after_s=1.0,
        should_retry=True,
    )


def _other_request() -> HubError:
    return HubError(
        422,
        "idempotency_key_reused",
        "This Idempotency-Key was used for another request. Use a new key for each request",
        should_retry=False,
    )


def _unavailable() -> HubError:
    return HubError(
        503,
        "idempotency_unavailable",
        "The hub cannot check the Idempotency-Key now, and does not answer without. Try again "
        "with the same key",
        kind="server_error",
        retry_after_s=2.0,
        should_retry=True,
    )


_REFUSALS: dict[type[object], Callable[[], HubError]] = {
    Running: _still_running,
    OtherRequest: _other_request,
}
