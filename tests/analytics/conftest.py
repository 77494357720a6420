from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from analytics.partitions import ensure_day
from analytics.recorder.open_requests import OpenRequests, Rows
from analytics.recorder.shipper import Shipper
from analytics.recorder.store import Store, add_rows, make_staging
from analytics.rollups.fill import roll_up
from routing.core.record import Record
from tests.analytics.stories import EVENING, various
from tests.analytics.world import World, make_world


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def busy(world: World, log: Log) -> World:
    """A day with requests of all sorts, rolled up."""
    log(various(world))
    roll_up(EVENING)
    return world


Log = Callable[[Iterable[Record]], None]


def rows_of(records: Iterable[Record]) -> Rows:
    rows, requests = Rows(), OpenRequests()
    for record in records:
        requests.take(record, rows)
    return rows


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
