"""A line's request on its way into the gateway's parts: parsed as a client's request would be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from routing.adapters.base import ChatCall, Headers
from routing.core.catalog import Snapshot
from routing.core.kinds import KINDS
from routing.core.request import RequestFacts
from routing.gateway.essentials import with_essentials
from routing.gateway.kind_requests import parse_kind
from routing.gateway.kinds import KIND_PATHS
from routing.gateway.parse import load_json, parse_chat
from routing.gateway.scribe import SURFACE_CHAT
from routing.gateway.service import PARSE_IN_THREAD_BYTES
from routing.surfaces.base import Asker, Surface, Voice

JSON_REQUEST: Headers = [(b"content-type", b"application/json")]


class Prepared(NamedTuple):
    call: ChatCall
    facts: RequestFacts
    surface: str  # as the log says it
    voice: Voice | None = None


async def prepare(
    url: str, body: bytes, snapshot: Snapshot, surfaces: Mapping[str, Surface], asker: Asker
) -> Prepared:
    """`url` is the line's. Raises HubError.

    A line has time: it is never hedged, whatever its policy says.
    """
    ready = await _parsed(url, body, snapshot, surfaces, asker)
    preferences = msgspec.structs.replace(ready.facts.preferences, hedge=False)
    return ready._replace(facts=msgspec.structs.replace(ready.facts, preferences=preferences))


async def _parsed(
    url: str, body: bytes, snapshot: Snapshot, surfaces: Mapping[str, Surface], asker: Asker
) -> Prepared:
    kind = KIND_PATHS.get(url)
    if kind is not None:
        parse = partial(parse_kind, kind, JSON_REQUEST, body, snapshot, _ignore)
        call, facts = await _aside(body, parse)
        return Prepared(call, facts, KINDS[kind].surface)
    document: dict[str, Any] = await _aside(body, partial(load_json, body))
    surface = surfaces.get(url)
    if surface is None:
        call, facts = parse_chat(document, body, snapshot)
        return Prepared(call, facts, SURFACE_CHAT)
    voice = await surface.open(document, asker)
    call, facts = parse_chat(voice.chat, b"", snapshot)
    call = msgspec.structs.replace(call, wants_usage=True, native=voice.native)
    facts = with_essentials(facts, voice)
    return Prepared(call, facts, surface.name, voice)


async def _aside(body: bytes, parse: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(parse) if len(body) > PARSE_IN_THREAD_BYTES else parse()


def _ignore(_: object) -> None:
    """What a request asked for is in its line already."""
