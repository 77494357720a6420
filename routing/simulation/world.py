"""The modelled providers: what each answers to a request at a moment of the hour."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import msgspec

from routing.core.catalog import (
    EMPTY_POLICY,
    Credential,
    Endpoint,
    Model,
    Provider,
    Snapshot,
    Stats,
)
from routing.core.charges import Price
from routing.core.errors import FailureClass
from routing.core.health import Z95
from routing.core.moment import Moment
from routing.core.pricing import ZERO_USD, PriceSheet, charge
from routing.core.usage import NO_USAGE, Meter, Usage
from routing.simulation.script import MODEL, Persona, Script
from routing.simulation.traffic import Luck, Request

STARTS_AT = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)
CLOCK_AT_START_S = 10_000.0
KNOWN_BEFORE = 200  # requests that the measurements of the day before rest on
CONTEXT_WINDOW = 131_072

REFUSED_AFTER_S = 0.06
ERROR_AFTER_S = 0.25
NO_CONNECTION_AFTER_S = 5.0
NO_CONNECTION_SHARE = 0.2  # of the requests during the outage; the others get a 503
SPEED_SPREAD = 0.15


def moment(at_s: float) -> Moment:
    return Moment(CLOCK_AT_START_S + at_s, STARTS_AT + dt.timedelta(seconds=at_s))


class Answer(msgspec.Struct, frozen=True):
    """How an attempt goes. Times are from its start."""

    ends_after_s: float
    failure: FailureClass | None = None
    ttft_ms: float | None = None
    speed_tps: float | None = None
    cost_usd: Decimal = ZERO_USD
    usage: Usage = NO_USAGE


class World:
    """One run's providers: what the hidden limit let through, and what their caches hold."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.endpoints = tuple(
            [_endpoint(n, one, script) for n, one in enumerate(script.personas, start=1)]
        )
        self.snapshot = _snapshot(self.endpoints)
        self._cached_at_s: dict[tuple[int, str], float] = {}  # by persona and conversation
        self._buckets = {
            n: _Bucket(one.limit_per_s, one.limit_burst)
            for n, one in enumerate(script.personas)
            if one.limit_per_s is not None
        }

    def place(self, endpoint: Endpoint) -> int:
        return endpoint.id - 1

    def send(self, place: int, at_s: float, request: Request, luck: Luck) -> Answer:
        bucket = self._buckets.get(place)
        if bucket is not None and not bucket.take(at_s):
            return Answer(REFUSED_AFTER_S, FailureClass.CAPACITY)
        answer = self._served(place, at_s, request, luck)
        if answer.failure is None:
            self._cached_at_s[place, request.facts.conversation] = at_s
        return answer

    def foresee(self, place: int, at_s: float, request: Request, luck: Luck) -> Answer:
        """What `send` would answer; uses nothing up."""
        bucket = self._buckets.get(place)
        if bucket is not None and bucket.level_at(at_s) < 1.0:
            return Answer(REFUSED_AFTER_S, FailureClass.CAPACITY)
        return self._served(place, at_s, request, luck)

    def _usage(self, place: int, at_s: float, request: Request) -> Usage:
        cached = 0
        if self.script.personas[place].cache_read_usd:
            since = self._cached_at_s.get((place, request.facts.conversation), -math.inf)
            cached = request.known_tokens if at_s - since <= self.script.cached_for_s else 0
        return Usage(request.facts.input_tokens, cached, output_total=request.output_tokens)

    def _served(self, place: int, at_s: float, request: Request, luck: Luck) -> Answer:
        persona, share = self.script.personas[place], at_s / self.script.duration_s
        outage, slow_down = self.script.outage, self.script.slow_down
        if outage.slug == persona.slug and outage.holds(share):
            if luck.failure < NO_CONNECTION_SHARE:
                return Answer(NO_CONNECTION_AFTER_S, FailureClass.CONNECT)
            return Answer(ERROR_AFTER_S, FailureClass.TRANSIENT)
        if luck.failure < persona.failure_share:
            return Answer(ERROR_AFTER_S, FailureClass.TRANSIENT)
        is_slow = slow_down.slug == persona.slug and slow_down.holds(share)
        factor = self.script.slow_factor if is_slow else 1.0
        ttft_ms = persona.ttft_ms * factor * math.exp(persona.ttft_spread * luck.ttft)
        speed_tps = persona.speed_tps / factor * math.exp(SPEED_SPREAD * luck.speed)
        usage = self._usage(place, at_s, request)
        bill = charge(usage, self.endpoints[place].prices, moment(at_s).utc)
        return Answer(
            ends_after_s=ttft_ms / 1000.0 + (usage.output_total or 0) / speed_tps,
            ttft_ms=ttft_ms,
            speed_tps=speed_tps,
            cost_usd=bill.amount_usd,
            usage=usage,
        )


class _Bucket:
    """A token bucket, as providers limit requests by."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._level, self._at_s = burst, 0.0

    def level_at(self, at_s: float) -> float:
        return min(self._level + (at_s - self._at_s) * self._per_s, self._burst)

    def take(self, at_s: float) -> bool:
        self._level, self._at_s = self.level_at(at_s), at_s
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


def _snapshot(endpoints: tuple[Endpoint, ...]) -> Snapshot:
    model = endpoints[0].model
    return Snapshot(
        version=1,
        models={model.name: model},
        endpoints_of={model.name: endpoints},
        endpoints={one.id: one for one in endpoints},
        providers={one.provider.slug: one.provider for one in endpoints},
        policies={},
        callers={},
        default_policy=EMPTY_POLICY,
    )


def _endpoint(number: int, persona: Persona, script: Script) -> Endpoint:
    provider = Provider(
        id=number,
        slug=persona.slug,
        name=persona.slug.title(),
        dialect="openai_compat",
        base_url="",
        simulated=True,
        quirks=None,
    )
    return Endpoint(
        id=number,
        provider=provider,
        model=Model(id=1, name=MODEL, maker="OpenAI", created=0),
        upstream_model=MODEL,
        prices=PriceSheet(_prices(number, persona, script)),
        context_window=CONTEXT_WINDOW,
        credentials=(Credential(number, number, ""),),
        stats=_known_before(persona),
    )


def _known_before(persona: Persona) -> Stats:
    late_ms = persona.ttft_ms * math.exp(Z95 * persona.ttft_spread)
    success = 1.0 - persona.failure_share
    return Stats(persona.ttft_ms, late_ms, persona.speed_tps, success, KNOWN_BEFORE)


def _prices(number: int, persona: Persona, script: Script) -> list[Price]:
    since = STARTS_AT - dt.timedelta(days=30)
    rows = [(Meter.INPUT, persona.input_usd, since), (Meter.OUTPUT, persona.output_usd, since)]
    if persona.cache_read_usd:
        rows.append((Meter.CACHE_READ, persona.cache_read_usd, since))
    change = script.price_change
    if change.slug == persona.slug:
        at = STARTS_AT + dt.timedelta(seconds=change.at * script.duration_s)
        rows += [(Meter.INPUT, change.input_usd, at), (Meter.OUTPUT, change.output_usd, at)]
    return [
        Price(number * 10 + n, meter, Decimal(usd), at) for n, (meter, usd, at) in enumerate(rows)
    ]
