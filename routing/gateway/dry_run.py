"""Plans a request as if it had just arrived, and sends nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import msgspec
import orjson

from routing.adapters.base import ChatCall, Headers
from routing.core.catalog import Caller
from routing.core.decision import Decision
from routing.core.kinds import CHAT
from routing.core.moment import Moment
from routing.core.plan import choose_policy, plan
from routing.core.refusal import NoEndpointLeft
from routing.core.request import RequestFacts
from routing.gateway.essentials import with_essentials
from routing.gateway.kind_requests import parse_kind
from routing.gateway.parse import parse_chat
from routing.gateway.preferences import facts_for
from routing.gateway.service import PARSE_IN_THREAD_BYTES, Gateway
from routing.surfaces.base import Asker, Surface

Fields = dict[str, Any]


async def decide(
    gateway: Gateway,
    caller: Caller,
    body: Fields,
    headers: Headers,
    *,
    kind: str = CHAT,
    surface: Surface | None = None,
) -> tuple[Decision, NoEndpointLeft | None]:
    """The decision, and the refusal where no endpoint was left.

    `surface` is the dialect of `body` where that is not OpenAI's. Raises HubError 400 and 404 for a
    request that would not get as far as a decision.
    """
    call, facts = await _read(gateway, caller, body, headers, kind, surface)
    policy = choose_policy(facts, caller, gateway.snapshot)
    facts = facts_for(policy, facts, caller, call.body, headers)
    expected = gateway.learning.expected_output(facts, caller.key_id)
    facts = msgspec.structs.replace(facts, output_tokens=expected)
    now = Moment(gateway.monotonic(), dt.datetime.fromtimestamp(gateway.wall(), dt.UTC))
    try:
        planned = plan(facts, policy, gateway.snapshot, gateway.health, now, gateway.rng)
    except NoEndpointLeft as refusal:
        if refusal.decision is None:
            raise
        return refusal.decision, refusal
    return planned.decision, None


async def _read(
    gateway: Gateway,
    caller: Caller,
    body: Fields,
    headers: Headers,
    kind: str,
    surface: Surface | None,
) -> tuple[ChatCall, RequestFacts]:
    raw = orjson.dumps(body)
    if kind != CHAT:
        return parse_kind(kind, headers, raw, gateway.snapshot)
    if surface is None:
        if len(raw) > PARSE_IN_THREAD_BYTES:
            return await asyncio.to_thread(parse_chat, body, raw, gateway.snapshot)
        return parse_chat(body, raw, gateway.snapshot)
    asker = Asker("", gateway.wall(), caller.project_id, headers)
    voice = await surface.open(body, asker)
    call, facts = parse_chat(voice.chat, b"", gateway.snapshot)
    return call, with_essentials(facts, voice)
