"""What the queries take and give. Plain values: nothing here touches the database.

Instants are aware UTC datetimes, money is `Decimal` US dollars, tokens are integers, and a figure
that cannot be given honestly (nothing measured, too few rows) is None instead of zero.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal
from uuid import UUID

Dimension = Literal["provider", "model", "project", "key", "endpoint", "outcome"]
MeasuredBy = Literal["endpoint", "provider", "model"]
Bucket = Literal["hour", "day"]

DIMENSIONS: tuple[Dimension, ...] = ("provider", "model", "project", "key", "endpoint", "outcome")
CELL = dt.timedelta(minutes=15)  # the finest grain a figure can be asked for


# --- what is asked ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose data may be seen. None means everything, and is for staff alone."""

    project_ids: frozenset[int] | None


EVERYTHING = Scope(project_ids=None)


@dataclass(frozen=True, slots=True)
class Period:
    """`start` inclusive, `end` exclusive. Figures come in quarters of an hour: see `snapped`."""

    start: dt.datetime
    end: dt.datetime

    def snapped(self) -> Period:
        """The same period widened to whole quarters of an hour, which is what gets summed."""
        return Period(floor_to_cell(self.start), ceil_to_cell(self.end))

    @property
    def is_snapped(self) -> bool:
        return self.snapped() == self


_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


def floor_to_cell(moment: dt.datetime) -> dt.datetime:
    return (moment - _EPOCH) // CELL * CELL + _EPOCH


def ceil_to_cell(moment: dt.datetime) -> dt.datetime:
    floor = floor_to_cell(moment)
    return floor if floor == moment else floor + CELL


@dataclass(frozen=True, slots=True)
class Filters:
    """`provider` is a slug, `model` a canonical name, `outcome` the outcome of the request.

    `kind` "" means traffic, playground and batch (in `measurements`: probes too), "all" means all kinds.
    A period is widened to whole quarters of an hour.
    """

    scope: Scope
    period: Period
    provider: str = ""
    model: str = ""
    project_id: int | None = None
    key_id: int | None = None
    endpoint_id: int | None = None
    kind: str = ""
    outcome: str = ""
    surface: str = ""  # of the list of requests alone: sums are not kept by it


# --- figures with their uncertainty ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share:
    """k of n, with the Wilson 95 % interval as fractions of one."""

    k: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.k / self.n


@dataclass(frozen=True, slots=True)
class Quantile:
    """A percentile with its order-statistic 95 % interval; None ends where n is too small."""

    value: float
    low: float | None
    high: float | None
    n: int


# --- sums ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Headline:
    requests: int
    ok: int
    attempts: int
    delivered: Share | None  # ok of what could have been delivered (facts: delivered success)
    cost_usd: Decimal
    cost_by_status: Mapping[str, Decimal]
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    rescued: int  # requests that ended well after a failed attempt
    simulated_share: float | None  # of the requests; None when there were none
    ttft_p50: Quantile | None  # from the moment the request was received
    ttft_p95: Quantile | None  # None too when filtered by key: latency is not kept per key

    @property
    def cached_share(self) -> float | None:
        """Of the input tokens, that providers read from their caches."""
        return self.cache_read_tokens / self.input_tokens if self.input_tokens else None


@dataclass(frozen=True, slots=True)
class BreakdownRow:
    """`id` is 0 (slug "") for what belongs to none: no provider answered, model unknown."""

    id: int
    label: str
    slug: str
    requests: int
    ok: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """`id`, `slug` and `label` name the series; `start` is the first instant of the bucket."""

    start: dt.datetime
    id: int
    slug: str
    label: str
    cost_usd: Decimal
    requests: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured of one endpoint, provider or model, over attempts."""

    n: int  # attempts
    ok: int
    success: Share | None  # ok of ok + provider errors + rate limits + timeouts
    ttft_p50: Quantile | None
    ttft_p95: Quantile | None
    speed_p50: Quantile | None  # output tokens per second after the first chunk
    e2e_p50: Quantile | None
    censored_share: float | None  # ended by the client or by a deadline before the first token
    simulated: bool
    last_at: dt.datetime | None  # the last quarter of an hour with data
    form: Share | None = None  # of answers with tool calls or a schema: those of sound form


@dataclass(frozen=True, slots=True)
class MonthlyBill:
    month: dt.date  # its first day
    total_usd: Decimal
    by_provider: Sequence[BreakdownRow]
    by_model: Sequence[BreakdownRow]
    by_project: Sequence[BreakdownRow]
    by_key: Sequence[BreakdownRow]
    by_status: Mapping[str, Decimal]
    simulated_usd: Decimal  # part of the total
    corrections_usd: Decimal  # part of the total: what settlement added or took back
    requests: int
    probe_usd: Decimal  # part of the total: the hub's own measurements
    shadow_usd: Decimal  # part of the total: copies that policies send to a second provider


@dataclass(frozen=True, slots=True)
class Freshness:
    last_request_at: dt.datetime | None
    last_rollup_at: dt.datetime | None
    spool_lag_s: float | None  # age of the oldest record that waits on this host, None if unknown
    recorder: str = ""  # shipping | waiting (Postgres does not take rows) | silent (not running)


# --- rows ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestRow:
    request_id: UUID
    received_at: dt.datetime
    project_id: int
    project: str  # its name
    key_id: int
    key: str  # its name
    kind: str
    surface: str
    requested_model: str
    model: str  # canonical name, "" if unknown
    provider: str  # slug of the one that answered, "" if none did
    provider_name: str
    endpoint_id: int | None
    outcome: str
    http_status: int | None  # None when the hub crashed before it could know
    error_code: str
    attempts: int
    stream: bool
    ttft_ms: float | None
    e2e_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: Decimal  # corrections included
    cost_status: str  # the weakest of its attempts; "" without attempts
    simulated: bool
    policy: str
    images: int | None = None  # and below: what is not counted in tokens, over all attempts
    pixels: int | None = None
    audio_seconds: int | None = None
    characters: int | None = None
    searches: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    rows: Sequence[RequestRow]
    next_cursor: str  # "" on the last page


@dataclass(frozen=True, slots=True)
class LineOfCharge:
    meter: str
    quantity: int
    amount_usd: Decimal
    price_id: int
    unit_price_usd: Decimal | None  # None if that price row is gone
    per: int  # 1,000,000 for token meters, else 1
    price_source: str
    effective_from: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Correction:
    attempt_no: int
    source: str
    delta_usd: Decimal
    cost_status: str
    created_at: dt.datetime
    lines: Sequence[LineOfCharge]
    note: str


@dataclass(frozen=True, slots=True)
class ReceiptAttempt:
    attempt_no: int
    started_at: dt.datetime
    offset_ms: float  # from the moment the request was received
    endpoint_id: int
    provider: str
    provider_name: str
    model: str
    upstream_model: str
    response_model: str
    outcome: str
    http_status: int | None
    failure: str
    error_code: str
    error_message: str
    provider_request_id: str
    finish_reason: str
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    usage_source: str
    usage_raw: str  # the provider's own usage object, as it came
    cost_usd: Decimal  # corrections included
    recorded_cost_usd: Decimal  # before corrections
    cost_status: str
    lines: Sequence[LineOfCharge]
    headers_ms: float | None
    ttft_ms: float | None
    ttfa_ms: float | None
    last_chunk_ms: float | None
    e2e_ms: float | None
    speed_tps: float | None
    dropped_params: Sequence[str]
    service_tier: str
    simulated: bool
    images: int | None = None
    pixels: int | None = None
    audio_seconds: int | None = None
    characters: int | None = None
    searches: int | None = None


@dataclass(frozen=True, slots=True)
class ReceiptCandidate:
    """One endpoint as the policy saw it when it decided."""

    endpoint_id: int
    provider: str
    provider_name: str
    model: str
    expected_cost_usd: Decimal
    ttft_ms: float | None
    speed_tps: float | None
    success_rate: float | None
    samples: int
    score: float
    share: float
    excluded: str
    detail: str
    place: int | None  # 1 for the one to be tried first; None when it was not to be tried
    valid_rate: float | None = None  # of sound form, of answers with one; None: none was needed
    valid_samples: int = 0
    explored: float = 0.0  # the part of `share` that is there to keep it measured


@dataclass(frozen=True, slots=True)
class Receipt:
    request: RequestRow
    overhead_ms: float | None
    policy_version: int
    objective: str
    snapshot_version: int | None
    attempts: Sequence[ReceiptAttempt]
    candidates: Sequence[ReceiptCandidate]
    corrections: Sequence[Correction]
    cost_by_status: Mapping[str, Decimal] = field(default_factory=dict)
    rule: str = ""  # of the policy: the one that held
    estimated_input_tokens: int | None = None  # that the candidates' costs are for
    estimated_output_tokens: int | None = None
    runner_up: ReceiptCandidate | None = None  # the next choice, had the first not been there
    replay_of: str = ""  # the request whose answer was given again

    @property
    def runner_up_cost_usd(self) -> Decimal | None:
        """Expected."""
        return None if self.runner_up is None else self.runner_up.expected_cost_usd
