"""`/v1/messages/count_tokens`: counted by a provider of the dialect, else estimated by the hub."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import suppress
from typing import Any

import msgspec

from routing.adapters.anthropic import counting
from routing.adapters.anthropic.native import DIALECT
from routing.adapters.base import ChatCall, Headers
from routing.core.catalog import Caller, Endpoint
from routing.core.errors import UpstreamError
from routing.core.filters import HardFilters
from routing.core.moment import Moment
from routing.core.plan import choose_policy
from routing.gateway.errors import JSON_HEADERS
from routing.gateway.parse import load_json, parse_chat
from routing.gateway.preferences import facts_for
from routing.gateway.service import PARSE_IN_THREAD_BYTES, Gateway
from routing.gateway.upstream.base import UpstreamRequest
from routing.surfaces.base import Asker
from routing.surfaces.messages.counting import ESTIMATED, count_body, count_tokens
from routing.surfaces.messages.surface import MessagesSurface

MAX_COUNT_BYTES = 64 * 2**10
COUNT_WITHIN_S = 20.0  # by whomever is asked; then the estimate has to do
_SURFACE = MessagesSurface()


async def counted(
    gateway: Gateway, caller: Caller, headers: Headers, raw: bytes
) -> tuple[Headers, bytes]:
    """Headers and body of the answer. Raises HubError 400 and 404."""
    if len(raw) > PARSE_IN_THREAD_BYTES:
        body, estimate = await asyncio.to_thread(_read, raw)
    else:
        body, estimate = _read(raw)
    exact = await _ask_provider(gateway, caller, headers, body)
    if exact is None:
        return [*JSON_HEADERS, *ESTIMATED], count_body(estimate)
    return JSON_HEADERS, count_body(exact)


def _read(raw: bytes) -> tuple[dict[str, Any], int]:
    body = load_json(raw)
    return body, count_tokens(body)


async def _ask_provider(
    gateway: Gateway, caller: Caller, headers: Headers, body: dict[str, Any]
) -> int | None:
    """None where no provider of the dialect may see the prompt, or none answers in time."""
    asker = Asker("", gateway.wall(), caller.project_id, headers)
    voice = await _SURFACE.open({"max_tokens": 1, **body}, asker)
    call = ChatCall(voice.chat, stream=False, wants_usage=False, native=voice.native)
    endpoints = _permitted(gateway, caller, headers, voice.chat)
    try:
        async with asyncio.timeout(COUNT_WITHIN_S):
            return await _first_count(gateway, endpoints, call)
    except TimeoutError:
        return None


async def _first_count(gateway: Gateway, endpoints: list[Endpoint], call: ChatCall) -> int | None:
    for endpoint in endpoints:
        with suppress(UpstreamError):
            found = await _count_at(gateway, endpoint, call)
            if found is not None:
                return found
    return None


def _permitted(
    gateway: Gateway, caller: Caller, headers: Headers, chat: dict[str, Any]
) -> list[Endpoint]:
    """Whom the request and its policy let read the prompt; whether it fits there is not asked."""
    snapshot = gateway.snapshot
    call, facts = parse_chat(chat, b"", snapshot)
    policy = choose_policy(facts, caller, snapshot)
    facts = facts_for(policy, facts, caller, call.body, headers)
    now = Moment(gateway.monotonic(), dt.datetime.fromtimestamp(gateway.wall(), dt.UTC))
    settings = policy.settings(policy.rule_for(facts, now.utc))
    prompt_only = msgspec.structs.replace(
        facts, window_tokens=0, max_output_tokens=None, needs=frozenset()
    )
    filters = HardFilters(prompt_only, settings, now)
    return [
        endpoint
        for endpoint in snapshot.endpoints_of.get(facts.model, ())
        if endpoint.provider.dialect == DIALECT and filters.exclude(endpoint) is None
    ]


async def _count_at(gateway: Gateway, endpoint: Endpoint, call: ChatCall) -> int | None:
    """Raises UpstreamError."""
    built = counting.build_count(call, endpoint, endpoint.credentials[0].secret)
    answer = await gateway.upstream.send(
        UpstreamRequest(
            "POST",
            endpoint.provider.base_url + built.path,
            built.headers,
            built.body,
            gateway.deadlines_for(endpoint),
        )
    )
    try:
        content = await answer.read(MAX_COUNT_BYTES)
    finally:
        await answer.aclose()
    return counting.read_count(content) if answer.status == 200 else None
