"""What the simulated hour consists of: providers, their troubles, and the traffic."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from routing.core.policies import ServiceLevel

MODEL = "openai/gpt-oss-120b"


class Persona(msgspec.Struct, frozen=True):
    """A modelled provider. Times and speeds are log-normal around their medians."""

    slug: str
    input_usd: str  # per 1M tokens
    output_usd: str
    ttft_ms: float
    ttft_spread: float  # standard deviation of the logarithm
    speed_tps: float
    failure_share: float = 0.003
    limit_per_s: float | None = None  # not announced: more than this is answered with 429
    limit_burst: float = 10.0
    cache_read_usd: str = ""  # per 1M tokens; "" where a cache read costs as much as any input

    @property
    def list_price_usd(self) -> Decimal:
        """What people compare by: three parts input, one part output."""
        return Decimal(self.input_usd) * 3 + Decimal(self.output_usd)


class Span(msgspec.Struct, frozen=True):
    """Of the hour's length, from 0 to 1."""

    slug: str
    start: float
    end: float

    def holds(self, share: float) -> bool:
        return self.start <= share < self.end


class PriceChange(msgspec.Struct, frozen=True):
    slug: str
    at: float
    input_usd: str
    output_usd: str


class Script(msgspec.Struct, frozen=True):
    personas: tuple[Persona, ...]
    outage: Span  # every request there fails: most at once, some after a wait
    slow_down: Span
    slow_factor: float  # of the time to the first token and of the time per token
    price_change: PriceChange
    duration_s: float
    requests_per_s: float
    slo: ServiceLevel
    processes: int = 2  # of the gateway: each has its own health book
    conversations: int = 80  # that go on at the same time
    turns: float = 6.0  # on average
    cached_for_s: float = 300.0

    @property
    def limited(self) -> Persona:
        return next(one for one in self.personas if one.limit_per_s is not None)

    def within_slo(self, ttft_ms: float) -> bool:
        return self.slo.ttft_p95_ms is None or ttft_ms <= self.slo.ttft_p95_ms


def hour(duration_s: float = 3600.0, requests_per_s: float = 4.0) -> Script:
    """The troubles keep their places where the duration is another one."""
    return Script(
        personas=(
            Persona("bargain", "0.06", "0.24", 1100, 0.50, 35, failure_share=0.02),
            Persona(
                "thrift", "0.10", "0.40", 600, 0.35, 90, limit_per_s=2.0, cache_read_usd="0.02"
            ),
            Persona("steady", "0.15", "0.60", 350, 0.35, 110, cache_read_usd="0.05"),
            Persona("midway", "0.20", "0.80", 300, 0.30, 150),
            Persona("swift", "0.60", "2.40", 150, 0.30, 450, cache_read_usd="0.06"),
        ),
        outage=Span("steady", 0.15, 0.28),
        slow_down=Span("steady", 0.50, 0.65),
        slow_factor=8.0,
        price_change=PriceChange("swift", 0.85, "0.12", "0.48"),
        duration_s=duration_s,
        requests_per_s=requests_per_s,
        slo=ServiceLevel(ttft_p95_ms=1500.0, success_rate=0.97),
    )
