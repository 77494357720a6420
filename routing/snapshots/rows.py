"""The rows that a snapshot is made of, by plain SQL that runs on psycopg's cursor and on Django's.

JSON comes as text, because the two read it differently.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from routing.core.cursor import Cursor

VERSION = "SELECT version FROM routing_snapshotversion"

T = TypeVar("T", bound=tuple[Any, ...])


class ProviderRow(NamedTuple):
    id: int
    slug: str
    name: str
    dialect: str
    base_url: str
    simulated_base_url: str
    quirks: str
    data_policy: str
    is_active: bool


class ModelRow(NamedTuple):
    id: int
    name: str
    kind: str
    maker: str
    input_modalities: str
    output_modalities: str
    aliases: str
    since: dt.date | None


class EndpointRow(NamedTuple):
    id: int
    provider_id: int
    model_id: int
    upstream_model: str
    region: str
    quantization: str
    context_window: int | None
    max_output_tokens: int | None
    capabilities: str
    is_free: bool
    status: str
    retires_on: dt.date | None


class StatsRow(NamedTuple):
    endpoint_id: int
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    speed_p50_tps: float | None
    success_rate: float | None
    n: int
    weight: float
    speed_p95_tps: float | None
    cached_share: float | None
    valid_share: float | None
    valid_n: int
    valid_weight: float


class PriceRow(NamedTuple):
    endpoint_id: int
    id: int
    meter: str
    unit_price_usd: Decimal
    effective_from: dt.datetime
    min_input_tokens: int
    service_tier: str
    utc_from_minute: int | None
    utc_until_minute: int | None
    weekdays: int


class CredentialRow(NamedTuple):
    id: int
    provider_id: int
    name: str
    sealed: str
    is_for_simulator: bool


class PolicyRow(NamedTuple):
    id: int
    name: str
    is_default: bool
    version: int
    document: str


class KeyRow(NamedTuple):
    id: int
    name: str
    kind: str
    digest: bytes
    expires_at: dt.datetime | None
    policy_id: int | None
    project_id: int
    project_name: str
    project_policy_id: int | None
    organization_id: int


class LimitRow(NamedTuple):
    key_id: int | None
    project_id: int | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent_requests: int | None


_SELECT: dict[type[Any], str] = {
    ProviderRow: """
SELECT id, slug, name, dialect, base_url, simulated_base_url, quirks::text, data_policy::text,
       lifecycle = 'active'
FROM routing_provider ORDER BY name
""",
    ModelRow: """
SELECT id, name, kind, maker, input_modalities::text, output_modalities::text, aliases::text,
       coalesce(released_on, checked_on)
FROM routing_model ORDER BY name
""",
    EndpointRow: """
SELECT id, provider_id, model_id, upstream_model, region, quantization, context_window,
       max_output_tokens, capabilities::text, is_free, status, retires_on
FROM routing_endpoint WHERE status <> 'paused' ORDER BY id
""",
    StatsRow: """
SELECT endpoint_id, ttft_p50_ms, ttft_p95_ms, speed_p50_tps, success_rate, n, weight,
       speed_p95_tps, cached_share, valid_share, valid_n, valid_weight
FROM routing_endpointstats
""",
    # Approved: those to come and of the very recent past, and before it the last of each kind.
    PriceRow: """
WITH approved AS (SELECT * FROM routing_price WHERE state = 'approved'),
     kept AS (
  SELECT * FROM approved WHERE effective_from > %(since)s
  UNION ALL
  (SELECT DISTINCT ON (endpoint_id, meter, min_input_tokens, service_tier, utc_from_minute,
                       utc_until_minute, weekdays) *
   FROM approved WHERE effective_from <= %(since)s
   ORDER BY endpoint_id, meter, min_input_tokens, service_tier, utc_from_minute,
            utc_until_minute, weekdays, effective_from DESC, id DESC))
SELECT endpoint_id, id, meter, unit_price_usd, effective_from, min_input_tokens, service_tier,
       utc_from_minute, utc_until_minute, weekdays
FROM kept ORDER BY effective_from DESC, id DESC
""",
    CredentialRow: """
SELECT id, provider_id, name, sealed, origin = 'simulator'
FROM routing_credential WHERE disabled_at IS NULL ORDER BY id
""",
    PolicyRow: """
SELECT policy.id, policy.name, policy.is_default, version.version, version.document::text
FROM routing_policy AS policy JOIN routing_policyversion AS version ON version.id = policy.current_id
WHERE policy.archived_at IS NULL ORDER BY policy.name
""",
    KeyRow: """
SELECT key.id, key.name, key.kind, key.digest, key.expires_at, key.policy_id,
       project.id, project.name, project.policy_id, project.organization_id
FROM routing_apikey AS key JOIN routing_project AS project ON project.id = key.project_id
WHERE key.revoked_at IS NULL AND project.archived_at IS NULL
  AND (key.expires_at IS NULL OR key.expires_at > %(now)s)
ORDER BY key.created_at DESC
""",
    # The newest row of every key and project that ever had one.
    LimitRow: """
SELECT DISTINCT ON (key_id, project_id) key_id, project_id, requests_per_minute,
       tokens_per_minute, concurrent_requests
FROM routing_limit ORDER BY key_id, project_id, id DESC
""",
}


def read(cursor: Cursor, kind: type[T], **parameters: object) -> list[T]:
    cursor.execute(_SELECT[kind], parameters or None)
    make = kind._make  # type: ignore[attr-defined]
    return [make(row) for row in cursor.fetchall()]


def read_version(cursor: Cursor) -> int:
    cursor.execute(VERSION)
    return next((int(version) for (version,) in cursor.fetchall()), 0)
