"""Days of the log as partitions: made before rows come, dropped when their time is over."""

from __future__ import annotations

import datetime as dt
import re

from django.db import connection, transaction

from analytics.cursor import Cursor
from analytics.models import DirtyBucket, FillState

TABLES = ("request_log", "attempt")
_LOCK = 0x70616E01  # one number for all who make or drop partitions
_DAY = dt.timedelta(days=1)


def partition_name(table: str, day: dt.date) -> str:
    return f"{table}_{day:%Y%m%d}"


def ensure_day(day: dt.date) -> None:
    """Idempotent, and safe when several processes ask at once.

    A new partition is attached, not created in place: readers of the log do not have to wait.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        ensure_day_in(cursor, day)


def ensure_day_in(cursor: Cursor, day: dt.date) -> None:
    """As `ensure_day`, in the transaction of the caller, with Django's cursor or psycopg's own."""
    if all(_exists(cursor, table, day) for table in TABLES):
        return
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    for table in TABLES:
        name = partition_name(table, day)
        if not _exists(cursor, table, day):
            cursor.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")
            cursor.execute(
                f"ALTER TABLE {table} ATTACH PARTITION {name}"
                f" FOR VALUES FROM ('{day}') TO ('{day + _DAY}')"
            )


def days_kept() -> list[dt.date]:
    """The days that have a partition, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = 'request_log'::regclass"
        )
        found = (_day_of(name) for (name,) in cursor.fetchall())
        return sorted(day for day in found if day is not None)


def drop_before(day: dt.date) -> list[dt.date]:
    """Drops the whole days before `day` and returns them. Idempotent.

    A day goes only when the rollups have all of it: they are what totals come from afterwards.
    """
    dropped: list[dt.date] = []
    for old in days_kept():
        if old >= day or not _is_rolled_up(old):
            break
        with transaction.atomic():
            FillState.objects.update(kept_from=old + _DAY)
            drop_day(old)
        dropped.append(old)
    return dropped


def _is_rolled_up(day: dt.date) -> bool:
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    end = start + _DAY
    filled = FillState.objects.filter(end__gte=end).exists()
    dirty = DirtyBucket.objects.filter(bucket_start__gte=start, bucket_start__lt=end).exists()
    return filled and not dirty


def drop_day(day: dt.date) -> None:
    """Idempotent. Both tables in one transaction, so a day is whole or gone."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        for table in TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS {partition_name(table, day)}")


def _exists(cursor: Cursor, table: str, day: dt.date) -> bool:
    # Not to_regclass: within a transaction it remembers that there was none.
    cursor.execute(
        "SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass AND c.relname = %s",
        [table, partition_name(table, day)],
    )
    return bool(cursor.fetchall())


def _day_of(partition: str) -> dt.date | None:
    found = re.fullmatch(r"request_log_(\d{8})", partition)
    return dt.datetime.strptime(found[1], "%Y%m%d").replace(tzinfo=dt.UTC).date() if found else None
