"""The hub's own measurements: one tiny streaming request to each endpoint.

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
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection
from django.utils import timezone

from routing.core.catalog import EMPTY_POLICY, Caller, Endpoint, Snapshot
from routing.core.pricing import charge
from routing.core.usage import Usage
from routing.gateway.playground import stream_one
from routing.gateway.service import Gateway, GatewaySettings
from routing.gateway.spool import SpoolWriter
from routing.gateway.upstream.guard import AllowList
from routing.gateway.upstream.registry import make_upstream
from routing.services.keys import probe_key

log = logging.getLogger(__name__)

AT_ONCE = 8
MAX_OUTPUT_TOKENS = 24  # enough for a speed, and not more
MOST_INPUT_TOKENS = 64  # the prompt and what chat templates add to it
PROBE_BODY: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Count from 1 to 40, digits separated by blanks."}],
    "max_tokens": MAX_OUTPUT_TOKENS,
}
FIGURES = b"event: panelboard\ndata: "


class ProbeReport(msgspec.Struct, frozen=True):
    probed: int
    skipped: int  # for lack of money left today
    cost_usd: Decimal


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
    now = timezone.now()
    paid = [endpoint for endpoint in endpoints if reserve(now.date(), expected_usd(endpoint, now))]
    skipped = len(endpoints) - len(paid)
    if skipped:
        log.warning(
            "daily probe budget of %s USD is used up: %d endpoints of %s are not probed",
            settings.PANELBOARD_PROBE_DAILY_USD,
            skipped,
            endpoints[0].provider.slug,
        )
    costs = asyncio.run(_probe_all(snapshot, _caller(), paid)) if paid else []
    expected = sum((expected_usd(endpoint, now) for endpoint in paid), Decimal(0))
    actual = sum(costs, Decimal(0))
    correct(now.date(), actual - expected)
    return ProbeReport(len(paid), skipped, actual)


def unmeasured(snapshot: Snapshot) -> dict[int, list[int]]:
    """Ids of routable endpoints without any figure, by provider."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for endpoint in snapshot.endpoints.values():
        if not endpoint.stats.n and _is_routable(endpoint):
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
    return endpoint.status != "retired" and bool(endpoint.credentials) and is_priced


def expected_usd(endpoint: Endpoint, now: dt.datetime) -> Decimal:
    """An upper bound, unless the provider ignores `max_tokens`."""
    most = Usage(input_total=MOST_INPUT_TOKENS, output_total=MAX_OUTPUT_TOKENS)
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
    snapshot: Snapshot, caller: Caller, endpoints: Sequence[Endpoint]
) -> list[Decimal]:
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
        return await asyncio.gather(
            *(_probe_one(gateway, caller, endpoint, slots) for endpoint in endpoints)
        )
    finally:
        await gateway.stop()
        await asyncio.to_thread(spool.close)


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
    gateway: Gateway, caller: Caller, endpoint: Endpoint, slots: asyncio.Semaphore
) -> Decimal:
    """The cost in USD. A failed probe is a measurement too: it is recorded, not raised."""
    async with slots:
        last = b""
        async for data in stream_one(gateway, caller, endpoint.id, dict(PROBE_BODY)):
            last = data
    if not last.startswith(FIGURES):
        return Decimal(0)
    return Decimal(json.loads(last.removeprefix(FIGURES)).get("cost_usd", "0"))
