from __future__ import annotations

import datetime as dt
import threading

import pytest
from django.db import IntegrityError, connection, connections, transaction

from analytics import partitions
from analytics.models import Attempt, ChargeCorrection, RequestCell
from analytics.rollups.fill import mark_dirty, roll_up
from tests.analytics.conftest import Log
from tests.analytics.records import NOON, Told

DAY = NOON.date()


def after(days: int) -> dt.datetime:
    return NOON + dt.timedelta(days=days)


@pytest.mark.django_db
def test_a_day_is_made_once_however_often_it_is_asked_for() -> None:
    partitions.ensure_day(DAY)
    partitions.ensure_day(DAY)
    assert partitions.days_kept() == [DAY]


@pytest.mark.usefixtures("clean_log")
def test_many_may_ask_for_the_same_day_at_once() -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(6)
    day = dt.date(2026, 1, 2)

    def ask() -> None:
        try:
            barrier.wait()
            partitions.ensure_day(day)
        except BaseException as exc:
            failures.append(exc)
        finally:
            connections["default"].close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = partitions.days_kept()
    partitions.drop_day(day)
    assert not failures
    assert day in kept


@pytest.mark.django_db
def test_the_partition_of_a_day_has_the_indexes_of_the_log() -> None:
    partitions.ensure_day(DAY)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_indexes WHERE tablename = 'request_log_20261120'")
        assert cursor.fetchone() == (3,)
        cursor.execute(
            "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
            " WHERE c.relname = 'request_log' AND NOT i.indisvalid"
        )
        assert cursor.fetchone() == (0,)


@pytest.mark.django_db
def test_old_days_are_dropped_and_their_sums_stay(log: Log) -> None:
    for n in range(3):
        told = Told(after(n))
        log([told.intent(), told.finish(), told.done()])
    roll_up(after(5))
    dropped = partitions.drop_before(DAY + dt.timedelta(days=2))
    assert dropped == [DAY, DAY + dt.timedelta(days=1)]
    assert Attempt.objects.count() == 1
    assert RequestCell.objects.count() == 3
    assert partitions.drop_before(DAY + dt.timedelta(days=2)) == []


@pytest.mark.django_db
def test_a_day_that_is_not_rolled_up_is_not_dropped(log: Log) -> None:
    told = Told()
    log([told.intent(), told.finish(), told.done()])
    assert partitions.drop_before(DAY + dt.timedelta(days=9)) == []
    roll_up(after(5))
    mark_dirty([NOON])
    assert partitions.drop_before(DAY + dt.timedelta(days=9)) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement", ["UPDATE charge_correction SET delta_usd = 0", "DELETE FROM charge_correction"]
)
def test_a_correction_is_never_edited(statement: str) -> None:
    ChargeCorrection.objects.create(
        day=DAY,
        request_id=Told().id,
        attempt_no=1,
        source="settlement",
        delta_usd=1,
        cost_status="metered",
    )
    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert ChargeCorrection.objects.get().delta_usd == 1
