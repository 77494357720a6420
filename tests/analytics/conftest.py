from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from analytics.partitions import ensure_day
from analytics.recorder.open_requests import OpenRequests, Rows
from analytics.recorder.shipper import Shipper
from analytics.recorder.store import Store, add_rows, make_staging
from routing.core.record import Record
from routing.models import (
    ApiKey,
    Endpoint,
    Model,
    Organization,
    Price,
    Project,
    Provider,
)


@dataclass
class World:
    """Two organizations, two providers, one model, three endpoints, prices since long ago."""

    acme: Organization
    rival: Organization
    project: Project
    other_project: Project
    rival_project: Project
    key: ApiKey
    other_key: ApiKey
    rival_key: ApiKey
    model: Model
    second_model: Model
    swift: Provider
    steady: Provider
    at_swift: Endpoint
    at_steady: Endpoint
    second_at_steady: Endpoint


def _key(project: Project, name: str) -> ApiKey:
    digest = name.encode().ljust(32, b".")
    return ApiKey.objects.create(
        project=project, name=name, start="pb_live_12345678", last4="abcd", digest=digest
    )


def _model(name: str) -> Model:
    return Model.objects.create(
        name=name,
        slug=name.replace("/", "-"),
        title=name,
        maker="Acme",
        input_modalities=["text"],
        output_modalities=["text"],
    )


def _endpoint(provider: Provider, model: Model, usd_in: str, usd_out: str) -> Endpoint:
    endpoint = Endpoint.objects.create(provider=provider, model=model, upstream_model=model.name)
    for meter, usd in (("input", usd_in), ("output", usd_out)):
        Price.objects.create(
            endpoint=endpoint,
            meter=meter,
            unit_price_usd=Decimal(usd),
            effective_from=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            source="test",
            checked_on=dt.date(2026, 1, 1),
        )
    return endpoint


@pytest.fixture
def world(db: None) -> World:
    acme = Organization.objects.create(slug="acme", name="Acme")
    rival = Organization.objects.create(slug="rival", name="Rival")
    project = Project.objects.create(organization=acme, slug="main", name="Main")
    other = Project.objects.create(organization=acme, slug="other", name="=Other()")
    foreign = Project.objects.create(organization=rival, slug="main", name="Rival main")
    swift = Provider.objects.create(
        slug="swift",
        name="Swift",
        dialect="openai_compat",
        base_url="https://swift.example/v1",
        quirks={"settlement_path": "/settlement"},
    )
    steady = Provider.objects.create(
        slug="steady", name="Steady", dialect="openai_compat", base_url="https://steady.example/v1"
    )
    first, second = _model("acme/one"), _model("acme/two")
    return World(
        acme=acme,
        rival=rival,
        project=project,
        other_project=other,
        rival_project=foreign,
        key=_key(project, "key"),
        other_key=_key(other, "other key"),
        rival_key=_key(foreign, "rival key"),
        model=first,
        second_model=second,
        swift=swift,
        steady=steady,
        at_swift=_endpoint(swift, first, "0.15", "0.60"),
        at_steady=_endpoint(steady, first, "0.10", "0.50"),
        second_at_steady=_endpoint(steady, second, "1", "3"),
    )


def rows_of(records: Iterable[Record]) -> Rows:
    rows, requests = Rows(), OpenRequests()
    for record in records:
        requests.take(record, rows)
    return rows


Log = Callable[[Iterable[Record]], None]


@pytest.fixture
def log(db: None) -> Log:
    """Puts records into the log as the recorder does, within the test's own transaction."""

    def put(records: Iterable[Record]) -> None:
        rows = rows_of(records)
        for day in {row[0] for row in [*rows.attempts, *rows.requests]}:
            ensure_day(day)
        with connection.cursor() as cursor:
            make_staging(cursor.cursor)
            # ON COMMIT DELETE ROWS does not come about inside a test's transaction.
            cursor.execute("TRUNCATE stage_attempt, stage_request_log")
            add_rows(cursor.cursor, rows)

    return put


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def clean_log(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """For tests of what is committed. Empties what they fill, which is faster than all tables."""
    with django_db_blocker.unblock():
        yield
        with connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE request_log, attempt, charge_correction, dirty_bucket, fill_state,"
                " request_cell, attempt_cell, latency_cell"
            )
        connection.close()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clean_log: None) -> Iterator[Store]:
    opened = Store(connection.get_connection_params())
    yield opened
    opened.close()


@pytest.fixture
def shipper(spool: Path, store: Store, clock: Clock) -> Iterator[Shipper]:
    started = Shipper(spool, store, clock)
    yield started
    started.close()
