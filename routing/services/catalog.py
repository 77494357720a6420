"""Loading catalog documents: all of it or nothing, and the same again changes nothing.

What a file lists is written as the file says, with two exceptions that are reported: what an admin
paused stays paused, and records edited in the admin (`source` is "admin") are left alone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from django.db import DataError, connection, transaction
from django.db import models as db
from typing_extensions import override

from routing.catalog.document import (
    Catalog,
    CatalogInvalid,
    CredentialRecord,
    EndpointRecord,
    ModelRecord,
    Problem,
    ProviderRecord,
    parse,
)
from routing.models import Credential, Endpoint, Model, Price, Provider
from routing.services import catalog_rules as rules
from routing.services.addresses import checked_base_url
from routing.services.credentials import CredentialRefused, store_credential
from routing.services.prices import PriceConflict, in_force, jump, new_row

EDITED_HERE = "admin"  # the `source` of a record that a person changed in the admin
LOAD_LOCK = 0x636174616C6F67  # an advisory lock: one load at a time

M = TypeVar("M", bound=db.Model)


class LoadReport(msgspec.Struct):
    """What a load did, by kind of record; `str()` is for people."""

    added: Counter[str] = msgspec.field(default_factory=Counter)
    updated: Counter[str] = msgspec.field(default_factory=Counter)
    unchanged: Counter[str] = msgspec.field(default_factory=Counter)
    warnings: list[str] = msgspec.field(default_factory=list)

    @property
    def is_unchanged(self) -> bool:
        return not (self.added.total() or self.updated.total())

    @override
    def __str__(self) -> str:
        kinds = dict.fromkeys((*self.added, *self.updated, *self.unchanged))
        lines = [
            f"{kind}: {self.added[kind]} added, {self.updated[kind]} updated, "
            f"{self.unchanged[kind]} unchanged"
            for kind in kinds
        ]
        return "\n".join(lines + [f"note: {warning}" for warning in self.warnings])


class DryRun(Exception):
    """Ends the transaction of a dry run; never leaves this module."""


def load(document: Mapping[str, Any]) -> LoadReport:
    """Raises CatalogInvalid naming each wrong record and field; then nothing has changed."""
    return load_all([("catalog", document)])


def load_all(documents: Iterable[tuple[str, object]]) -> LoadReport:
    """Several documents as one: an endpoint may name a provider of another file."""
    try:
        with transaction.atomic():
            return _load(parse(documents))
    except DataError as exc:  # what no rule foresaw, such as a NUL character
        raise CatalogInvalid([Problem("catalog", "", str(exc).strip())]) from None


def preview(documents: Iterable[tuple[str, object]]) -> LoadReport:
    """What `load_all` would do, worked out in full and taken back."""
    report = LoadReport()
    try:
        with transaction.atomic():
            report = _load(parse(documents))
            raise DryRun
    except DryRun:
        return report


def _load(catalog: Catalog) -> LoadReport:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOAD_LOCK])
    _check(catalog)
    loader = _Loader()
    loader.write_providers(record for _, record in catalog.providers)
    loader.write_models(record for _, record in catalog.models)
    loader.write_endpoints(catalog.endpoints)
    loader.write_credentials(catalog.credentials)
    return loader.report


def _check(catalog: Catalog) -> None:
    dialects = dict(Provider.objects.values_list("slug", "dialect"))
    dialects |= {record.slug: record.dialect for _, record in catalog.providers}
    kinds = dict(Model.objects.values_list("name", "kind"))
    kinds |= {record.name: record.kind for _, record in catalog.models}
    problems = [
        *_each(catalog.providers, rules.provider_problems),
        *_each(catalog.models, rules.model_problems),
        *_each(catalog.endpoints, lambda r: rules.endpoint_problems(r, dialects, kinds)),
        *_each(catalog.credentials, lambda r: _credential_problems(r, dialects)),
        *_repeated(catalog.providers, "slug", lambda r: (r.slug,)),
        *_repeated(_aliases(catalog), "aliases", lambda alias: (alias.lower(),)),
        *_repeated(catalog.models, "name", lambda r: (rules.model_slug(r.name),)),
        *_repeated(
            catalog.endpoints, "upstream_model", lambda r: (r.provider, r.upstream_model, r.region)
        ),
    ]
    if problems:
        raise CatalogInvalid(problems)


def _each(
    records: Iterable[tuple[str, Any]], rule: Callable[[Any], Iterable[tuple[str, str]]]
) -> list[Problem]:
    return [
        Problem(where, field, message)
        for where, record in records
        for field, message in rule(record)
    ]


def _repeated(
    records: Iterable[tuple[str, Any]], field: str, key_of: Callable[[Any], tuple[str, ...]]
) -> list[Problem]:
    first: dict[tuple[str, ...], str] = {}
    problems: list[Problem] = []
    for where, record in records:
        earlier = first.setdefault(key_of(record), where)
        if earlier != where:
            problems.append(Problem(where, field, f"the same as in {earlier}"))
    return problems


def _aliases(catalog: Catalog) -> list[tuple[str, str]]:
    return [
        (where, name)
        for where, record in catalog.models
        for name in {alias.lower() for alias in (record.name, *record.aliases)}
    ]


def _credential_problems(
    record: CredentialRecord, providers: Iterable[str]
) -> Iterable[tuple[str, str]]:
    if record.provider not in set(providers):
        yield "provider", rules.unknown("provider", record.provider, list(providers))
    if bool(record.env) == bool(record.file):
        yield "env", "name either an environment variable (env) or a file"


class _Loader:
    """Writes checked records; each kind is read once and compared in memory."""

    def __init__(self) -> None:
        self.report = LoadReport()
        self._providers: dict[str, Provider] = {}
        self._models: dict[str, Model] = {}

    def write_providers(self, records: Iterable[ProviderRecord]) -> None:
        self._providers = {row.slug: row for row in Provider.objects.all()}
        for record in records:
            row = self._providers.get(record.slug) or Provider(slug=record.slug)
            paused = row.pk and row.lifecycle == Provider.Lifecycle.PAUSED
            if paused and record.lifecycle == "active":
                self.report.warnings.append(f"provider {record.slug} stays paused")
                lifecycle = row.lifecycle
            else:
                lifecycle = record.lifecycle
            values = _values(record, "slug", "lifecycle") | {
                "base_url": checked_base_url(record.base_url),
                "lifecycle": lifecycle,
            }
            self._providers[record.slug] = self._write("providers", row, values)

    def write_models(self, records: Iterable[ModelRecord]) -> None:
        self._models = {row.name: row for row in Model.objects.all()}
        for record in records:
            row = self._models.get(record.name) or Model(name=record.name)
            values = _values(record, "name") | {
                "slug": rules.model_slug(record.name),
                "title": record.title or record.name.rpartition("/")[2],
                "maker": record.maker or record.name.partition("/")[0],
            }
            self._models[record.name] = self._write("models", row, values)

    def write_endpoints(self, records: Iterable[tuple[str, EndpointRecord]]) -> None:
        known = {
            (row.provider_id, row.upstream_model, row.region): row
            for row in Endpoint.objects.select_related("provider", "model")
        }
        written: list[tuple[str, EndpointRecord, Endpoint]] = []
        for where, record in records:
            provider = self._providers[record.provider]
            key = (provider.pk, record.upstream_model, record.region)
            row = known.get(key) or Endpoint(
                provider=provider, upstream_model=record.upstream_model, region=record.region
            )
            values = self._endpoint_values(record, row)
            written.append((where, record, self._write("endpoints", row, values)))
        self._write_prices(written)

    def _endpoint_values(self, record: EndpointRecord, row: Endpoint) -> dict[str, Any]:
        values = _values(
            record, "provider", "model", "upstream_model", "region", "free", "status", "prices"
        )
        values |= {"model": self._models[record.model], "is_free": record.free}
        values["capabilities"] = sorted(record.capabilities)
        if record.status is not None and row.status != Endpoint.Status.PAUSED:
            values["status"] = record.status
        elif record.status is not None:
            self.report.warnings.append(f"endpoint {record.provider} {record.model} stays paused")
        return values

    def _write_prices(self, written: list[tuple[str, EndpointRecord, Endpoint]]) -> None:
        history: dict[int, list[Price]] = {row.pk: [] for _, _, row in written}
        for price in Price.objects.filter(endpoint__in=history):
            history[price.endpoint_id].append(price)
        fresh: list[Price] = []
        problems: list[Problem] = []
        for where, record, endpoint in written:
            rows, conflicts = self._new_prices(where, record, endpoint, history[endpoint.pk])
            fresh += rows
            problems += conflicts
        if problems:
            raise CatalogInvalid(problems)
        Price.objects.bulk_create(fresh)
        self.report.added["prices"] += len(fresh)

    def _new_prices(
        self, where: str, record: EndpointRecord, endpoint: Endpoint, history: list[Price]
    ) -> tuple[list[Price], list[Problem]]:
        fresh: list[Price] = []
        problems: list[Problem] = []
        for index, price in sorted(
            enumerate(record.prices), key=lambda item: item[1].effective_from
        ):
            quote = rules.quote_of(price, record)
            try:
                row = new_row(endpoint, [*history, *fresh], quote)
            except PriceConflict as exc:
                problems.append(Problem(where, f"prices[{index}].usd", str(exc)))
                continue
            if row is None:
                self.report.unchanged["prices"] += 1
                continue
            self._note_jump(endpoint, history, row, quote)
            fresh.append(row)
        if not endpoint.is_free and not history and not fresh:
            self.report.warnings.append(f"{endpoint} has no price yet: it is not routed to")
        return fresh, problems

    def _note_jump(self, endpoint: Endpoint, history: list[Price], row: Price, quote: Any) -> None:
        current = in_force(history, quote)
        if current is not None and (why := jump(current.unit_price_usd, row.unit_price_usd)):
            self.report.warnings.append(f"{endpoint}: {row.meter} {why}")

    def write_credentials(self, records: Iterable[tuple[str, CredentialRecord]]) -> None:
        for where, record in records:
            try:
                self._write_credential(record)
            except (CredentialRefused, OSError) as exc:
                raise CatalogInvalid(
                    [Problem(where, "file" if record.file else "env", str(exc))]
                ) from None

    def _write_credential(self, record: CredentialRecord) -> None:
        secret = Path(record.file).read_text() if record.file else os.environ.get(record.env, "")
        if not secret.strip() and record.env:
            self.report.warnings.append(
                f"credential {record.provider}/{record.name}: {record.env} is not set, skipped"
            )
            return
        provider = self._providers[record.provider]
        before = Credential.objects.filter(provider=provider, name=record.name).first()
        origin = Credential.Origin.FILE if record.file else Credential.Origin.ENVIRONMENT
        after = store_credential(provider=provider, name=record.name, secret=secret, origin=origin)
        self._count("credentials", before is None, before is None or before.sealed != after.sealed)

    def _write(self, kind: str, row: M, values: dict[str, Any]) -> M:
        is_new = row.pk is None
        if not is_new and getattr(row, "source", "") == EDITED_HERE:
            self.report.unchanged[kind] += 1
            self.report.warnings.append(f"{row} was edited in the admin and is left as it is")
            return row
        changed = [name for name, value in values.items() if is_new or getattr(row, name) != value]
        for name in changed:
            setattr(row, name, values[name])
        if is_new or changed:
            row.save()
        self._count(kind, is_new, bool(changed))
        return row

    def _count(self, kind: str, is_new: bool, is_changed: bool) -> None:
        tally = self.report.unchanged
        if is_new:
            tally = self.report.added
        elif is_changed:
            tally = self.report.updated
        tally[kind] += 1


def _values(record: msgspec.Struct, *without: str) -> dict[str, Any]:
    """The record's fields as a model keeps them: lists for tuples."""
    return {
        name: list(value) if isinstance(value := getattr(record, name), tuple) else value
        for name in record.__struct_fields__
        if name not in without
    }
