"""Days of the log as partitions: made before rows come, dropped when their time is over."""

from __future__ import annotations

import datetime as dt
import re

from django.db import connection, transaction

from analytics.days import DAY, LOCK, TABLES, ensure_day_in, partition_name
from analytics.models import DirtyBucket, FillState


def ensure_day(day: dt.date) -> None:
    """As `ensure_day_in`, in a transaction of its own."""
    with transaction.atomic(), connection.cursor() as cursor:
        ensure_day_in(cursor, day)


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
            FillState.objects.update(kept_from=old + DAY)
            drop_day(old)
        dropped.append(old)
    return dropped


def _is_rolled_up(day: dt.date) -> bool:
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    end = start + DAY
    filled = FillState.objects.filter(end__gte=end).exists()
    dirty = DirtyBucket.objects.filter(bucket_start__gte=start, bucket_start__lt=end).exists()
    return filled and not dirty


def drop_day(day: dt.date) -> None:
    """Idempotent. Both tables in one transaction, so a day is whole or gone."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        for table in TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS {partition_name(table, day)}")


def _day_of(partition: str) -> dt.date | None:
    found = re.fullmatch(r"request_log_(\d{8})", partition)
    return dt.datetime.strptime(found[1], "%Y%m%d").replace(tzinfo=dt.UTC).date() if found else None
