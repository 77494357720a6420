"""The paths of everything that is not chat: the same way through the gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import cast

import msgspec

from routing.adapters.base import Headers
from routing.core.errors import HubError
from routing.core.kinds import ASKED, CHAT
from routing.core.request import RequestFacts
from routing.gateway.asgi import ClientGone, Sink, check_headers
from routing.gateway.errors import our_fault
from routing.gateway.explain import explain_refusal
from routing.gateway.kind_facts import Parsed
from routing.gateway.kind_requests import parse_kind
from routing.gateway.limits import refusal_headers
from routing.gateway.preferences import MAX_NAME_CHARS
from routing.gateway.scribe import Scribe
from routing.gateway.service import PARSE_IN_THREAD_BYTES, Gateway, outcome_of_error
from routing.gateway.sound_sink import SoundSink
from routing.gateway.wishes import wishes_in

logger = logging.getLogger("panelboard.gateway")

# path -> kind, for the table of routes
KIND_PATHS = {kind.path: kind.name for kind in ASKED.values() if kind.name != CHAT}
# What clients of these kinds may look for and not find, and what to do instead.
NOT_OFFERED = dict.fromkeys(
    ("/v1/images/edits", "/v1/images/variations"),
    "The hub makes images, at POST /v1/images/generations, and does not edit them",
)


async def answer_kind(
    gateway: Gateway,
    kind: str,
    headers: Headers,
    sink: Sink,
    read: Callable[[], Awaitable[bytes]],
) -> None:
    """Answers on `sink` whatever happens; never raises but for cancellation by the server."""
    received_at, received_wall = gateway.monotonic(), gateway.wall()
    request_id = gateway.new_request_id(received_wall)
    scribe: Scribe | None = None
    try:
        caller = gateway.authenticate(headers, received_wall)
        check_headers(headers, gateway.settings.max_body_bytes)
        wishes = wishes_in(headers)
        raw = await read()
        scribe = Scribe(gateway, request_id, caller, received_at, received_wall)
        scribe.surface = ASKED[kind].surface
        if wishes is not None:
            scribe.wishes = wishes.of(scribe.surface, headers, raw)
        await _answer(gateway, scribe, kind, headers, sink, raw)
    except HubError as error:
        more = refusal_headers(ASKED[kind].surface, error, received_wall)
        if scribe is not None:
            more += explain_refusal(scribe, error)
        await gateway._refuse(sink, error, request_id, more=more)
    except ClientGone:
        pass
    except Exception:
        logger.exception("request %s failed in the gateway itself", request_id.hex())
        await gateway._refuse(sink, our_fault(), request_id)
    finally:
        sink.close()


async def _answer(
    gateway: Gateway, scribe: Scribe, kind: str, headers: Headers, sink: Sink, raw: bytes
) -> None:
    try:
        gateway._admit()
        if len(gateway.running) >= gateway.room:
            await gateway.waiting.wait(scribe, sink, raw)
        call, facts = await _parsed(scribe, kind, headers, raw)
        if call.is_sound:
            if scribe.wishes is not None and scribe.wishes.idempotency_key:  # kept, so whole
                call = msgspec.structs.replace(call, stream=False, is_sound=False)
            else:
                sink = cast(Sink, SoundSink(sink, scribe))
        await gateway.run(scribe, sink, call, facts, headers)
    except HubError as error:
        scribe.request_done(outcome_of_error(error, scribe), error.status, error.code)
        raise


async def _parsed(scribe: Scribe, kind: str, headers: Headers, raw: bytes) -> Parsed:
    """Recordings are large: taking them apart must not hold up every other request."""

    def note(requested: object) -> None:
        if isinstance(requested, str):
            scribe.facts = RequestFacts(requested[:MAX_NAME_CHARS], model="", kind=kind)

    snapshot = scribe.gateway.snapshot
    if len(raw) > PARSE_IN_THREAD_BYTES:
        return await asyncio.to_thread(parse_kind, kind, headers, raw, snapshot, note)
    return parse_kind(kind, headers, raw, snapshot, note)
