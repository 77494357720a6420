"""From database rows to the immutable picture that gateway processes route from.

One damaged row never costs the whole picture: it is left out, and the log says what to repair.
Without Django, so that a gateway of its own can load it.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

from routing.adapters.quirks import PLAIN, Quirks, quirks_from
from routing.adapters.registry import spoken_beside
from routing.core.catalog import (
    EMPTY_POLICY,
    NO_STATS,
    Caller,
    Credential,
    Endpoint,
    Model,
    Policy,
    PolicyDocument,
    Provider,
    Snapshot,
    Stats,
)
from routing.core.charges import Price
from routing.core.cursor import Cursor
from routing.core.kinds import CHAT
from routing.core.limits import Limit, Limits, limits_of
from routing.core.pricing import PriceSheet
from routing.core.usage import Meter
from routing.services.data_policies import data_policy_of
from routing.services.sealing import CredentialUnreadable, Keyring, open_credential
from routing.snapshots.rows import (
    CredentialRow,
    EndpointRow,
    KeyRow,
    LimitRow,
    ModelRow,
    PolicyRow,
    PriceRow,
    ProviderRow,
    StatsRow,
    read,
    read_version,
)

log = logging.getLogger(__name__)

# A request is priced at the instant it was received, which may lie some minutes back.
PRICE_HISTORY_KEPT = dt.timedelta(hours=1)

_json = msgspec.json.Decoder().decode
_names = msgspec.json.Decoder(list[str]).decode


def read_snapshot(cursor: Cursor, keyring: Keyring, now: dt.datetime | None = None) -> Snapshot:
    """Reads everything anew. The version is read first: what changes meanwhile is read again."""
    moment = now or dt.datetime.now(dt.UTC)
    version = read_version(cursor)
    provider_rows = read(cursor, ProviderRow)
    providers = _providers(provider_rows)
    model_rows = read(cursor, ModelRow)
    by_model_id = {row.id: _model(row) for row in model_rows}
    endpoints = _endpoints(cursor, providers, by_model_id, keyring, moment)
    by_policy_id, default_policy = _policies(cursor)
    return Snapshot(
        version=version,
        models={model.name: model for model in by_model_id.values()},
        endpoints_of=_grouped(by_model_id.values(), endpoints),
        endpoints={endpoint.id: endpoint for endpoint in endpoints},
        providers={provider.slug: provider for provider in providers.values()},
        policies={policy.name: policy for policy in by_policy_id.values()},
        callers=_callers(cursor, by_policy_id, moment),
        default_policy=default_policy,
        aliases=_aliases(model_rows),
        resting_providers=frozenset(row.slug for row in provider_rows if row.id not in providers),
    )


def _providers(rows: Iterable[ProviderRow]) -> dict[int, Provider]:
    """Those that are routed to, by id."""
    found: dict[int, Provider] = {}
    for row in rows:
        if not row.is_active:
            continue
        written = _json(row.quirks)
        try:
            quirks = quirks_from(written) if written else PLAIN
        except msgspec.ValidationError:
            log.exception("provider %s is left out: its quirk record is wrong", row.slug)
            continue
        found[row.id] = Provider(
            id=row.id,
            slug=row.slug,
            name=row.name,
            dialect=row.dialect,
            base_url=row.simulated_base_url or row.base_url,
            simulated=bool(row.simulated_base_url),
            quirks=quirks,
            settlement_path=quirks.settlement_path,
            data_policy=data_policy_of(_json(row.data_policy)),
            also_speaks=spoken_beside(quirks),
        )
    return found


def _model(row: ModelRow) -> Model:
    midnight = dt.datetime.combine(row.since, dt.time(), dt.UTC) if row.since else None
    return Model(
        id=row.id,
        name=row.name,
        maker=row.maker,
        created=int(midnight.timestamp()) if midnight else 0,
        input_modalities=tuple(_names(row.input_modalities)),
        output_modalities=tuple(_names(row.output_modalities)),
        kind=row.kind,
    )


def _endpoints(
    cursor: Cursor,
    providers: dict[int, Provider],
    by_model_id: dict[int, Model],
    keyring: Keyring,
    moment: dt.datetime,
) -> list[Endpoint]:
    prices = _prices(cursor, moment)
    credentials = _credentials(cursor, providers, keyring)
    stats = {row.endpoint_id: _stats(row) for row in read(cursor, StatsRow)}
    return [
        Endpoint(
            id=row.id,
            provider=providers[row.provider_id],
            model=by_model_id[row.model_id],
            upstream_model=row.upstream_model,
            prices=prices.get(row.id) or PriceSheet(),
            capabilities=frozenset(_names(row.capabilities)),
            context_window=row.context_window,
            max_output_tokens=row.max_output_tokens,
            region=row.region,
            quantization=row.quantization,
            is_free=row.is_free,
            status=_status(row, moment.date()),
            credentials=credentials.get(row.provider_id, ()),
            unsupported_parameters=_unsupported(
                providers[row.provider_id], by_model_id[row.model_id]
            ),
            stats=stats.get(row.id, NO_STATS),
        )
        for row in read(cursor, EndpointRow)
        if row.provider_id in providers and row.model_id in by_model_id
    ]


def _unsupported(provider: Provider, model: Model) -> frozenset[str]:
    quirks: Quirks = provider.quirks
    if model.kind == CHAT:
        return frozenset(quirks.drop_params)
    return frozenset(quirks.kind_drop_params.get(model.kind, ()))


def _status(row: EndpointRow, today: dt.date) -> str:
    """An active endpoint ends on its day. A deprecated one is known to have outlived a date that
    was announced, or may; it is routed to until the catalog says that it is retired."""
    ends = row.retires_on is not None and row.retires_on <= today
    return "retired" if ends and row.status == "active" else row.status


def _stats(row: StatsRow) -> Stats:
    return Stats(
        ttft_p50_ms=row.ttft_p50_ms,
        ttft_p95_ms=row.ttft_p95_ms,
        speed_p50_tps=row.speed_p50_tps,
        success_rate=row.success_rate,
        n=row.n,
        weight=row.weight,
        speed_p95_tps=row.speed_p95_tps,
        cached_share=row.cached_share,
        valid_share=row.valid_share,
        valid_n=row.valid_n,
        valid_weight=row.valid_weight,
    )


def _prices(cursor: Cursor, moment: dt.datetime) -> dict[int, PriceSheet]:
    """Approved rows by endpoint: those in force, those to come, and the very recent past."""
    grouped: defaultdict[int, list[Price]] = defaultdict(list)
    for row in read(cursor, PriceRow, since=moment - PRICE_HISTORY_KEPT):
        grouped[row.endpoint_id].append(_price(row))
    return {endpoint_id: PriceSheet(rows) for endpoint_id, rows in grouped.items()}


def _price(row: PriceRow) -> Price:
    return Price(
        id=row.id,
        meter=Meter(row.meter),
        unit_price_usd=row.unit_price_usd,
        effective_from=row.effective_from.astimezone(dt.UTC),
        min_input_tokens=row.min_input_tokens,
        service_tier=row.service_tier,
        utc_from_minute=row.utc_from_minute,
        utc_until_minute=row.utc_until_minute,
        weekdays=row.weekdays,
    )


def _credentials(
    cursor: Cursor, providers: dict[int, Provider], keyring: Keyring
) -> dict[int, tuple[Credential, ...]]:
    """A real key never goes to the simulator, nor the simulator's key to a real provider."""
    grouped: defaultdict[int, tuple[Credential, ...]] = defaultdict(tuple)
    for row in read(cursor, CredentialRow):
        provider = providers.get(row.provider_id)
        if provider is None or provider.simulated != row.is_for_simulator:
            continue
        try:
            secret = open_credential(
                keyring, row.sealed, provider_slug=provider.slug, name=row.name
            )
        except CredentialUnreadable:
            log.exception("a credential of %s is left out", provider.slug)
            continue
        grouped[provider.id] += (Credential(row.id, provider.id, secret),)
    return grouped


def _policies(cursor: Cursor) -> tuple[dict[int, Policy], Policy]:
    """By id, and the one of callers that have none of their own."""
    found: dict[int, Policy] = {}
    default = EMPTY_POLICY
    for row in read(cursor, PolicyRow):
        try:
            document = msgspec.json.decode(row.document, type=PolicyDocument)
            found[row.id] = Policy(row.id, row.name, row.version, document)
        except msgspec.ValidationError:
            log.exception("policy %s is left out: save it anew", row.name)
            continue
        if row.is_default:
            default = found[row.id]
    return found, default


def _callers(
    cursor: Cursor, by_policy_id: dict[int, Policy], moment: dt.datetime
) -> dict[bytes, Caller]:
    limits = _limits(cursor)
    rows = read(cursor, KeyRow, now=moment)
    return {bytes(row.digest): _caller(row, by_policy_id, limits) for row in rows}


def _limits(cursor: Cursor) -> dict[tuple[str, int], LimitRow]:
    """By scope and id of what is limited."""
    return {
        ("key", row.key_id) if row.key_id is not None else ("project", row.project_id or 0): row
        for row in read(cursor, LimitRow)
    }


def _caller(
    row: KeyRow,
    by_policy_id: dict[int, Policy],
    limits: dict[tuple[str, int], LimitRow],
) -> Caller:
    own = by_policy_id.get(row.policy_id or 0)
    return Caller(
        key_id=row.id,
        key_name=row.name,
        project_id=row.project_id,
        organization_id=row.organization_id,
        policy=own or by_policy_id.get(row.project_policy_id or 0),
        kind=row.kind,
        expires_at=row.expires_at.timestamp() if row.expires_at else None,
        limits=_limits_of(row, limits) if limits else None,
    )


def _limits_of(row: KeyRow, limits: dict[tuple[str, int], LimitRow]) -> Limits | None:
    return limits_of(
        row.id,
        _limit("key", row.id, row.name, limits),
        _limit("project", row.project_id, row.project_name, limits),
    )


def _limit(
    scope: str, subject_id: int, name: str, limits: dict[tuple[str, int], LimitRow]
) -> Limit | None:
    """`name` is what clients are told: the key's, or the project's."""
    row = limits.get((scope, subject_id))
    if row is None:
        return None
    return Limit(
        scope=scope,
        subject_id=subject_id,
        name=name,
        requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute,
        concurrent_requests=row.concurrent_requests,
    )


def _grouped(
    all_models: Iterable[Model], endpoints: Iterable[Endpoint]
) -> dict[str, tuple[Endpoint, ...]]:
    grouped: dict[str, list[Endpoint]] = {model.name: [] for model in all_models}
    for endpoint in endpoints:
        grouped[endpoint.model.name].append(endpoint)
    return {name: tuple(found) for name, found in grouped.items()}


def _aliases(rows: Iterable[ModelRow]) -> dict[str, str]:
    """Lower-cased names first, then the catalog's aliases, then short names that fit one model."""
    rows = list(rows)
    aliases = {row.name.lower(): row.name for row in rows}
    for row in rows:
        for alias in _json(row.aliases):
            aliases.setdefault(str(alias).lower(), row.name)
    shorts = Counter(_short(row.name) for row in rows)
    for row in rows:
        if shorts[_short(row.name)] == 1:
            aliases.setdefault(_short(row.name), row.name)
    return aliases


def _short(name: str) -> str:
    return name.rpartition("/")[2].lower()
