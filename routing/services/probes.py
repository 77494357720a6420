"""The hub's own measurements: one tiny request to each endpoint, streamed where it writes text.

Embeddings and rankings are asked for too, as far as one costs next to nothing; pictures and sound
never are, because each would cost: those are measured by traffic alone.

A probe takes the path of a client's request (adapter, upstream client, records), so that what it
measures is what a client would see. It is booked to the hub's own project, and its expected cost
is reserved before it is sent.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import random
from collections import defaultdict
from collections.abc import Collection, Coroutine, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection
from django.utils import timezone

from routing.core.catalog import EMPTY_POLICY, Caller, Endpoint, Snapshot
from routing.core.kinds import CHAT, EMBEDDING, PROBED, RERANK
from routing.core.pricing import charge
from routing.core.usage import Usage
from routing.gateway.asking import ask_once
from routing.gateway.playground import stream_one
from routing.gateway.service import Gateway
from routing.gateway.settings import GatewaySettings
from routing.gateway.spool import SpoolWriter
from routing.gateway.upstream.guard import AllowList
from routing.gateway.upstream.registry import make_upstream
from routing.services import stopping
from routing.services.keys import probe_key

log = logging.getLogger(__name__)

AT_ONCE = 8
OUTPUT_TOKENS = 24  # enough for a speed, and not more
MORE_OUTPUT_TOKENS = 192  # where the short answer was over too soon to measure its speed
MOST_INPUT_TOKENS = 64  # the prompt and what chat templates add to it
PROMPT = "Count upwards from one in words, separated by blanks, and stop after 200 words."
BODIES: dict[str, dict[str, Any]] = {
    EMBEDDING: {"input": "A short text to be placed among others."},
    RERANK: {
        "query": "Where do ships find their way at night?",
        "documents": ["A lighthouse stands by the sea.", "Bread is baked in the morning."],
    },
}
MOST_USD_WITHOUT_TEXT = Decimal("0.0005")  # of one answer without text: a dearer one is not probed
FIGURES = b"event: panelboard\ndata: "


class ProbeReport(msgspec.Struct, frozen=True):
    probed: int
    skipped: int  # for lack of money left today, or because the worker was told to stop
    cost_usd: Decimal


class Probed(msgspec.Struct, frozen=True):
    cost_usd: Decimal = Decimal(0)
    is_too_quick: bool = False  # a whole answer, but no speed
    is_done: bool = True


class FrozenSnapshots:
    """A snapshot source for a process that lives for one task."""

    trouble = ""

    def __init__(self, snapshot: Snapshot) -> None:
        self.current = snapshot


def probe(
    *, snapshot: Snapshot, provider_id: int, only: Collection[int] | None = None
) -> ProbeReport:
    """Probes the routable endpoints of one provider, all or `only` those with these ids.

    Blocking; at most 8 requests at once.
    """
    endpoints = routable(snapshot, provider_id)
    if only is not None:
        endpoints = [endpoint for endpoint in endpoints if endpoint.id in only]
    random.shuffle(endpoints)  # when the money ends early, it is not always the same who go without
    first = _round(snapshot, endpoints, OUTPUT_TOKENS)
    quick = [endpoint for endpoint, probed in first if probed.is_too_quick]
    second = _round(snapshot, quick, MORE_OUTPUT_TOKENS)
    costs = [probed.cost_usd for _, probed in [*first, *second]]
    done = sum(probed.is_done for _, probed in first)
    return ProbeReport(done, len(endpoints) - done, sum(costs, Decimal(0)))


def _round(
    snapshot: Snapshot, endpoints: Sequence[Endpoint], output_tokens: int
) -> list[tuple[Endpoint, Probed]]:
    """One request to each endpoint that today's money still allows."""
    now = timezone.now()
    expected = {endpoint.id: expected_usd(endpoint, now, output_tokens) for endpoint in endpoints}
    paid = [endpoint for endpoint in endpoints if reserve(now.date(), expected[endpoint.id])]
    if len(paid) < len(endpoints):
        log.warning(
            "daily probe budget of %s USD is used up: %d endpoints of %s are not probed",
            settings.PANELBOARD_PROBE_DAILY_USD,
            len(endpoints) - len(paid),
            endpoints[0].provider.slug,
        )
    if not paid:
        return []
    probed = asyncio.run(_probe_all(snapshot, _caller(), paid, output_tokens))
    found = list(zip(paid, probed, strict=True))
    known = [(one.cost_usd, expected[endpoint.id]) for endpoint, one in found if one.is_done]
    correct(now.date(), sum((cost - reserved for cost, reserved in known), Decimal(0)))
    return found


def unmeasured(snapshot: Snapshot) -> dict[int, list[int]]:
    """Ids of routable endpoints that lack a figure to be ranked by, by provider."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for endpoint in snapshot.endpoints.values():
        stats = endpoint.stats
        is_measured = stats.ttft_p50_ms is not None and stats.speed_p50_tps is not None
        if endpoint.kind != CHAT:  # which have neither
            is_measured = stats.n > 0
        if not is_measured and _is_routable(endpoint):
            found[endpoint.provider.id].append(endpoint.id)
    return dict(found)


def routable(snapshot: Snapshot, provider_id: int) -> list[Endpoint]:
    return [
        endpoint
        for endpoint in snapshot.endpoints.values()
        if endpoint.provider.id == provider_id and _is_routable(endpoint)
    ]


def _is_routable(endpoint: Endpoint) -> bool:
    is_priced = bool(endpoint.prices) or endpoint.is_free
    is_live = endpoint.status != "retired" and bool(endpoint.credentials)
    return endpoint.kind in PROBED and is_live and is_priced and _is_cheap(endpoint)


def _is_cheap(endpoint: Endpoint) -> bool:
    """Text is bounded by its tokens; some of the others are priced by the piece."""
    if endpoint.kind == CHAT:
        return True
    return expected_usd(endpoint, timezone.now(), 0) <= MOST_USD_WITHOUT_TEXT


def expected_usd(endpoint: Endpoint, now: dt.datetime, output_tokens: int) -> Decimal:
    """An upper bound, unless the provider ignores `max_tokens`."""
    if endpoint.kind == CHAT:
        most = Usage(input_total=MOST_INPUT_TOKENS, output_total=output_tokens)
    else:
        searches = 1 if endpoint.kind == RERANK else None
        most = Usage(input_total=MOST_INPUT_TOKENS, output_total=0, searches=searches)
    return charge(most, endpoint.prices, now).amount_usd


def reserve(day: dt.date, usd: Decimal) -> bool:
    """Takes the amount from the day's budget in one statement; False when it does not fit."""
    cap = Decimal(settings.PANELBOARD_PROBE_DAILY_USD)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO routing_probeday AS day (day, spent_usd)
                SELECT %(day)s, %(usd)s WHERE %(usd)s <= %(cap)s
            ON CONFLICT (day) DO UPDATE SET spent_usd = day.spent_usd + excluded.spent_usd
                WHERE day.spent_usd + excluded.spent_usd <= %(cap)s
            RETURNING spent_usd
            """,
            {"day": day, "usd": usd, "cap": cap},
        )
        return cursor.fetchone() is not None


def correct(day: dt.date, difference_usd: Decimal) -> None:
    """What the probes really cost, once it is known."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE routing_probeday SET spent_usd = greatest(spent_usd + %s, 0) WHERE day = %s",
            [difference_usd, day],
        )


async def _probe_all(
    snapshot: Snapshot, caller: Caller, endpoints: Sequence[Endpoint], output_tokens: int
) -> list[Probed]:
    spool = SpoolWriter(
        settings.PANELBOARD_SPOOL_DIR,
        "probe",
        settings.PANELBOARD_SPOOL_MAX_BYTES,
        settings.PANELBOARD_DURABILITY,
    )
    gateway = _gateway(snapshot, spool)
    await gateway.start()
    try:
        slots = asyncio.Semaphore(AT_ONCE)
        return await _unless_told_to_stop(
            [_probe_one(gateway, caller, one, output_tokens, slots) for one in endpoints]
        )
    finally:
        await gateway.stop()
        await asyncio.to_thread(spool.close)


async def _unless_told_to_stop(probes: Sequence[Coroutine[Any, Any, Probed]]) -> list[Probed]:
    """Those that run then are broken off and booked like a request whose client left."""
    running = [asyncio.create_task(one) for one in probes]
    told = asyncio.create_task(stopping.until_told())
    told.add_done_callback(lambda _: [one.cancel() for one in running])
    ended = await asyncio.gather(*running, return_exceptions=True)
    told.cancel()
    return [_of_ended(one) for one in ended]


def _of_ended(ended: Probed | BaseException) -> Probed:
    if isinstance(ended, asyncio.CancelledError):
        return Probed(is_done=False)
    if isinstance(ended, BaseException):
        raise ended
    return ended


def _gateway(snapshot: Snapshot, spool: SpoolWriter) -> Gateway:
    return Gateway(
        snapshots=FrozenSnapshots(snapshot),
        upstream=make_upstream(
            settings.PANELBOARD_UPSTREAM, AllowList.parse(settings.PANELBOARD_PRIVATE_UPSTREAMS)
        ),
        spool=spool,
        settings=GatewaySettings(pepper=settings.PANELBOARD_PEPPER, max_running=AT_ONCE),
    )


def _caller() -> Caller:
    """With a policy that excludes nothing: what policies leave out is measured too."""
    key = probe_key()
    return Caller(
        key_id=key.pk,
        key_name=key.name,
        project_id=key.project_id,
        organization_id=key.project.organization_id,
        policy=EMPTY_POLICY,
        kind=key.kind,
    )


async def _probe_one(
    gateway: Gateway, caller: Caller, endpoint: Endpoint, tokens: int, slots: asyncio.Semaphore
) -> Probed:
    """A failed probe is a measurement too: it is recorded, not raised."""
    async with slots:
        if stopping.was_told():
            return Probed(is_done=False)
        if endpoint.kind == CHAT:
            return await _probe_text(gateway, caller, endpoint.id, tokens)
        return Probed(await ask_once(gateway, caller, endpoint.id, BODIES[endpoint.kind]))


async def _probe_text(gateway: Gateway, caller: Caller, endpoint_id: int, tokens: int) -> Probed:
    body = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": tokens}
    last = b""
    async for data in stream_one(gateway, caller, endpoint_id, body):
        last = data
    if not last.startswith(FIGURES):
        return Probed()
    figures = json.loads(last.removeprefix(FIGURES))
    is_whole = (figures.get("output_tokens") or 0) >= tokens
    return Probed(
        cost_usd=Decimal(figures.get("cost_usd", "0")),
        is_too_quick=is_whole and figures.get("output_tps") is None,
    )
