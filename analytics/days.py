"""The partition of a day in both tables of the log, in plain SQL: for the recorder and for Django."""

from __future__ import annotations

import datetime as dt

from routing.core.cursor import Cursor

TABLES = ("request_log", "attempt")
LOCK = 0x70616E01  # one number for all who make or drop partitions
DAY = dt.timedelta(days=1)


def partition_name(table: str, day: dt.date) -> str:
    return f"{table}_{day:%Y%m%d}"


def ensure_day_in(cursor: Cursor, day: dt.date) -> None:
    """Idempotent, in the transaction of the caller, and safe when several processes ask at once.

    A new partition is attached, not created in place: readers of the log do not have to wait.
    """
    if all(_exists(cursor, table, day) for table in TABLES):
        return
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    for table in TABLES:
        name = partition_name(table, day)
        if not _exists(cursor, table, day):
            cursor.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")
            cursor.execute(
                f"ALTER TABLE {table} ATTACH PARTITION {name}"
                f" FOR VALUES FROM ('{day}') TO ('{day + DAY}')"
            )


def _exists(cursor: Cursor, table: str, day: dt.date) -> bool:
    # Not to_regclass: within a transaction it remembers that there was none.
    cursor.execute(
        "SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass AND c.relname = %s",
        [table, partition_name(table, day)],
    )
    return bool(cursor.fetchall())
