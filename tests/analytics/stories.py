from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable
from decimal import Decimal

from analytics.queries.types import EVERYTHING, Filters, Period
from routing.core.charges import CostStatus
from routing.core.record import Outcome, Record
from tests.analytics.records import NOON, Told
from tests.analytics.world import World

DAY = Period(NOON - dt.timedelta(hours=12), NOON + dt.timedelta(hours=12))
EVENING = NOON + dt.timedelta(days=1)


def everything(**wanted: object) -> Filters:
    return Filters(scope=EVERYTHING, period=DAY, **wanted)  # type: ignore[arg-type]


def various(world: World, seed: int = 1, n: int = 60) -> Iterable[Record]:
    """Requests of all sorts: rescued, failed, cancelled, refused, probes, simulated."""
    rng = random.Random(seed)
    owners = [
        (world.project, world.key),
        (world.other_project, world.other_key),
        (world.rival_project, world.rival_key),
    ]
    endpoints = [world.at_swift, world.at_steady, world.second_at_steady]
    for _ in range(n):
        project, key = rng.choice(owners)
        endpoint = rng.choice(endpoints)
        at = NOON + dt.timedelta(seconds=rng.randrange(-40_000, 40_000))
        told = Told(
            at,
            project_id=project.pk,
            key_id=key.pk,
            model_id=endpoint.model_id,
            kind=rng.choice(["traffic", "traffic", "playground", "probe"]),
            simulated=rng.random() < 0.3,
        )
        yield from _story(rng, told, endpoint.pk, world.at_steady.pk)


def _story(rng: random.Random, told: Told, endpoint: int, other: int) -> Iterable[Record]:
    cost = Decimal(rng.randrange(1, 10**9)) / 10**12
    status = rng.choice([CostStatus.METERED, CostStatus.ESTIMATED, CostStatus.PROVIDER_REPORTED])
    last = told.finish(cost_usd=cost, cost_status=status)
    match rng.randrange(5):
        case 0:
            yield told.intent(endpoint_id=other)
            yield told.failed(cost_usd=cost / 2)
            yield told.intent(2, endpoint_id=endpoint)
            yield told.finish(2, cost_usd=cost, cost_status=status)
            yield told.done(attempts=2, endpoint_id=endpoint)
        case 1:
            yield told.intent(endpoint_id=endpoint)
            yield told.failed(outcome=Outcome.TIMEOUT)
            yield told.done(outcome=Outcome.TIMEOUT, endpoint_id=None, ttft_ms=None)
        case 2:
            yield told.done(
                outcome=Outcome.BLOCKED, attempts=0, endpoint_id=None, model_id=None, ttft_ms=None
            )
        case 3:
            yield told.intent(endpoint_id=endpoint)
            yield told.failed(outcome=Outcome.CLIENT_CANCELLED, cost_usd=cost)
            yield told.done(outcome=Outcome.CLIENT_CANCELLED, endpoint_id=endpoint, ttft_ms=None)
        case _:
            yield told.intent(endpoint_id=endpoint)
            yield last
            yield told.done(endpoint_id=endpoint)
