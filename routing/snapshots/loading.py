"""From database rows to the immutable picture that gateway processes route from.

One damaged row never costs the whole picture: it is left out, and the log says what to repair.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
from django.utils import timezone

from routing import models
from routing.adapters.quirks import PLAIN, Quirks, quirks_from
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
from routing.core.kinds import CHAT
from routing.core.limits import Limits, limits_of
from routing.core.pricing import Price, PriceSheet
from routing.services.credentials import CredentialUnreadable, unseal
from routing.services.data_policies import data_policy_of
from routing.services.limits import core_limit, limits_in_force
from routing.services.prices import core_row

log = logging.getLogger(__name__)

# A request is priced at the instant it was received, which may lie some minutes back.
PRICE_HISTORY_KEPT = dt.timedelta(hours=1)


def load_snapshot(now: dt.datetime | None = None) -> Snapshot:
    """Reads everything anew. The version is read first: what changes meanwhile is read again."""
    moment = now or timezone.now()
    version = read_version()
    providers = _providers()
    model_rows = list(models.Model.objects.all())
    by_model_id = {row.pk: _model(row) for row in model_rows}
    endpoints = _endpoints(providers, by_model_id, moment)
    policies = _policies()
    by_policy_id = {policy.id: policy for policy in policies}
    return Snapshot(
        version=version,
        models={model.name: model for model in by_model_id.values()},
        endpoints_of=_grouped(by_model_id.values(), endpoints),
        endpoints={endpoint.id: endpoint for endpoint in endpoints},
        providers={provider.slug: provider for provider in providers.values()},
        policies={policy.name: policy for policy in policies},
        callers=_callers(by_policy_id, moment),
        default_policy=_default_policy(by_policy_id),
        aliases=_aliases(model_rows),
    )


def read_version() -> int:
    return models.SnapshotVersion.objects.values_list("version", flat=True).first() or 0


def _providers() -> dict[int, Provider]:
    """Those that are routed to, by id."""
    found: dict[int, Provider] = {}
    for row in models.Provider.objects.filter(lifecycle=models.Provider.Lifecycle.ACTIVE):
        try:
            quirks = quirks_from(row.quirks) if row.quirks else PLAIN
        except msgspec.ValidationError:
            log.exception("provider %s is left out: its quirk record is wrong", row.slug)
            continue
        found[row.pk] = Provider(
            id=row.pk,
            slug=row.slug,
            name=row.name,
            dialect=row.dialect,
            base_url=row.active_base_url,
            simulated=row.is_simulated,
            quirks=quirks,
            settlement_path=quirks.settlement_path,
            data_policy=data_policy_of(row.data_policy),
        )
    return found


def _model(row: models.Model) -> Model:
    day = row.released_on or row.checked_on
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC) if day else None
    return Model(
        id=row.pk,
        name=row.name,
        maker=row.maker,
        created=int(midnight.timestamp()) if midnight else 0,
        input_modalities=tuple(row.input_modalities),
        output_modalities=tuple(row.output_modalities),
        kind=row.kind,
    )


def _endpoints(
    providers: dict[int, Provider], by_model_id: dict[int, Model], moment: dt.datetime
) -> list[Endpoint]:
    prices = _prices(moment)
    credentials = _credentials(providers)
    stats = {row.endpoint_id: _stats(row) for row in models.EndpointStats.objects.all()}
    rows = models.Endpoint.objects.exclude(status=models.Endpoint.Status.PAUSED).order_by("pk")
    return [
        Endpoint(
            id=row.pk,
            provider=providers[row.provider_id],
            model=by_model_id[row.model_id],
            upstream_model=row.upstream_model,
            prices=prices.get(row.pk) or PriceSheet(),
            capabilities=frozenset(row.capabilities),
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
            stats=stats.get(row.pk, NO_STATS),
        )
        for row in rows
        if row.provider_id in providers and row.model_id in by_model_id
    ]


def _unsupported(provider: Provider, model: Model) -> frozenset[str]:
    quirks: Quirks = provider.quirks
    if model.kind == CHAT:
        return frozenset(quirks.drop_params)
    return frozenset(quirks.kind_drop_params.get(model.kind, ()))


def _status(row: models.Endpoint, today: dt.date) -> str:
    """An active endpoint ends on its day. A deprecated one is known to have outlived a date that
    was announced, or may; it is routed to until the catalog says that it is retired."""
    ends = row.retires_on is not None and row.retires_on <= today
    if ends and row.status == models.Endpoint.Status.ACTIVE:
        return models.Endpoint.Status.RETIRED.value
    return str(row.status)


def _stats(row: models.EndpointStats) -> Stats:
    return Stats(
        ttft_p50_ms=row.ttft_p50_ms,
        ttft_p95_ms=row.ttft_p95_ms,
        speed_p50_tps=row.speed_p50_tps,
        success_rate=row.success_rate,
        n=row.n,
    )


def _prices(moment: dt.datetime) -> dict[int, PriceSheet]:
    """Approved rows by endpoint: those in force, those to come, and the very recent past."""
    grouped: defaultdict[int, list[Price]] = defaultdict(list)
    superseded: set[tuple[Any, ...]] = set()
    approved = models.Price.objects.filter(state=models.Price.State.APPROVED)
    for row in approved.order_by("-effective_from", "-pk"):
        conditions = (
            row.endpoint_id,
            row.meter,
            row.min_input_tokens,
            row.service_tier,
            row.utc_from_minute,
            row.utc_until_minute,
            row.weekdays,
        )
        if conditions in superseded:
            continue
        if row.effective_from <= moment - PRICE_HISTORY_KEPT:
            superseded.add(conditions)  # an older row can no longer be in force
        grouped[row.endpoint_id].append(core_row(row))
    return {endpoint_id: PriceSheet(rows) for endpoint_id, rows in grouped.items()}


def _credentials(providers: dict[int, Provider]) -> dict[int, tuple[Credential, ...]]:
    """A real key never goes to the simulator, nor the simulator's key to a real provider."""
    grouped: defaultdict[int, tuple[Credential, ...]] = defaultdict(tuple)
    for row in models.Credential.objects.filter(disabled_at=None).order_by("pk"):
        provider = providers.get(row.provider_id)
        is_for_simulator = row.origin == models.Credential.Origin.SIMULATOR
        if provider is None or provider.simulated != is_for_simulator:
            continue
        try:
            secret = unseal(row.sealed, provider_slug=provider.slug, name=row.name)
        except CredentialUnreadable:
            log.exception("a credential of %s is left out", provider.slug)
            continue
        grouped[provider.id] += (Credential(row.pk, provider.id, secret),)
    return grouped


def _policies() -> list[Policy]:
    found: list[Policy] = []
    rows = models.Policy.objects.filter(archived_at=None).exclude(current=None)
    for row in rows.select_related("current"):
        assert row.current is not None
        try:
            document = msgspec.convert(row.current.document, PolicyDocument)
        except msgspec.ValidationError:
            log.exception("policy %s is left out: save it anew", row.name)
            continue
        found.append(Policy(row.pk, row.name, row.current.version, document))
    return found


def _default_policy(by_policy_id: dict[int, Policy]) -> Policy:
    row = models.Policy.objects.filter(is_default=True).values_list("pk", flat=True).first()
    return by_policy_id.get(row or 0, EMPTY_POLICY)


def _callers(by_policy_id: dict[int, Policy], moment: dt.datetime) -> dict[bytes, Caller]:
    rows = (
        models.ApiKey.objects.filter(revoked_at=None, project__archived_at=None)
        .exclude(expires_at__lte=moment)
        .select_related("project")
    )
    limits = _limits()
    return {bytes(row.digest): _caller(row, by_policy_id, limits) for row in rows}


def _limits() -> dict[tuple[str, int], models.Limit]:
    """By scope and id of what is limited."""
    rows = limits_in_force()
    return {
        ("key", row.key_id) if row.key_id is not None else ("project", row.project_id or 0): row
        for row in rows
    }


def _caller(
    row: models.ApiKey,
    by_policy_id: dict[int, Policy],
    limits: dict[tuple[str, int], models.Limit],
) -> Caller:
    own = by_policy_id.get(row.policy_id or 0)
    return Caller(
        key_id=row.pk,
        key_name=row.name,
        project_id=row.project_id,
        organization_id=row.project.organization_id,
        policy=own or by_policy_id.get(row.project.policy_id or 0),
        kind=row.kind,
        expires_at=row.expires_at.timestamp() if row.expires_at else None,
        limits=_limits_of(row, limits) if limits else None,
    )


def _limits_of(row: models.ApiKey, limits: dict[tuple[str, int], models.Limit]) -> Limits | None:
    own, project = limits.get(("key", row.pk)), limits.get(("project", row.project_id))
    return limits_of(
        row.pk,
        core_limit(own, row.name) if own is not None else None,
        core_limit(project, row.project.name) if project is not None else None,
    )


def _grouped(
    all_models: Iterable[Model], endpoints: Iterable[Endpoint]
) -> dict[str, tuple[Endpoint, ...]]:
    grouped: dict[str, list[Endpoint]] = {model.name: [] for model in all_models}
    for endpoint in endpoints:
        grouped[endpoint.model.name].append(endpoint)
    return {name: tuple(found) for name, found in grouped.items()}


def _aliases(rows: Iterable[models.Model]) -> dict[str, str]:
    """Lower-cased names first, then the catalog's aliases, then short names that fit one model."""
    rows = list(rows)
    aliases = {row.name.lower(): row.name for row in rows}
    for row in rows:
        for alias in row.aliases:
            aliases.setdefault(str(alias).lower(), row.name)
    shorts = Counter(_short(row.name) for row in rows)
    for row in rows:
        if shorts[_short(row.name)] == 1:
            aliases.setdefault(_short(row.name), row.name)
    return aliases


def _short(name: str) -> str:
    return name.rpartition("/")[2].lower()
