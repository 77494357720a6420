"""Postgres as the recorder uses it: one connection of its own, every wait bounded."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import psycopg
from psycopg.types.string import BytesBinaryDumper

from analytics.days import ensure_day_in
from analytics.prices import load_sheets
from analytics.recorder.open_requests import Rows
from analytics.recorder.rows import (
    ATTEMPT,
    INSERT_ANSWERED,
    INSERT_ATTEMPTS,
    INSERT_REQUESTS,
    REQUEST,
    Row,
    Staging,
)
from routing.core.pricing import PriceSheet

_OPTIONS = (
    "-c statement_timeout=15000 -c lock_timeout=5000 -c synchronous_commit=on"
    " -c idle_in_transaction_session_timeout=20000 -c timezone=UTC -c jit=off"
)
CONNECT_TIMEOUT_S = 3
DEADLINE_S = 20.0  # for a server that is there and says nothing
FUTURE_DAYS = 1  # a clock that is further ahead is wrong


def _adding(*inserts: str) -> str:
    """A bucket whose quarter of an hour is over has been or is being rolled up: says that it
    changed."""
    named = ", ".join(f"added_{n} AS ({insert})" for n, insert in enumerate(inserts))
    added = " UNION ALL ".join(f"SELECT received_at FROM added_{n}" for n in range(len(inserts)))  # noqa: S608
    return (
        f"WITH {named} INSERT INTO dirty_bucket (bucket_start) SELECT DISTINCT bucket FROM"  # noqa: S608
        f" (SELECT date_bin('15 minutes', received_at, '2000-01-01 00:00+00') FROM ({added}) a)"
        " b (bucket) WHERE bucket + interval '15 minutes' <= now()"
    )


_ADD_ATTEMPTS = _adding(INSERT_ATTEMPTS, INSERT_ANSWERED)
_ADD_REQUESTS = _adding(INSERT_REQUESTS)


T = TypeVar("T")


class DatabaseAway(Exception):
    """Not reachable, hung, not migrated or out of space: the same batch can be tried again."""


class BadRows(Exception):
    """At least one row can never be stored. The others of the batch still can."""


class Store:
    def __init__(
        self, connection_params: Mapping[str, Any], deadline_s: float = DEADLINE_S
    ) -> None:
        own = {"context", "cursor_factory"}  # Django's, for its own connections
        self._params = {
            **{name: value for name, value in connection_params.items() if name not in own},
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": _OPTIONS,
            "application_name": "panelboard recorder",
            "autocommit": True,
            "prepare_threshold": 1,
        }
        self._deadline_s = deadline_s
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._ready_days: set[dt.date] = set()

    def ship(self, rows: Rows) -> None:
        """All rows in one transaction, each at most once for ever. Raises DatabaseAway, BadRows."""
        self._guarded(lambda connection: self._ship(connection, rows))

    def sheets(self, endpoint_ids: Iterable[int]) -> dict[int, PriceSheet]:
        """Raises DatabaseAway."""
        wanted = list(endpoint_ids)
        return self._guarded(lambda connection: load_sheets(connection.cursor(), wanted))

    def prepare(self, day: dt.date) -> None:
        """Makes the partitions of a day before rows need them. Raises DatabaseAway."""
        self._guarded(lambda connection: self._ready(connection, [day]))

    def close(self) -> None:
        connection, self._connection = self._connection, None
        self._ready_days.clear()
        if connection is not None:
            connection.close()

    def _guarded(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        try:
            connection = self._connected()
            with _cut_after(connection, self._deadline_s):
                return work(connection)
        except (psycopg.DataError, psycopg.IntegrityError, ValueError, OverflowError) as exc:
            self._ready_days.clear()  # a partition may have been dropped under us
            raise BadRows(str(exc).partition("\n")[0]) from exc
        except (psycopg.Error, OSError) as exc:
            self.close()
            raise DatabaseAway(str(exc).partition("\n")[0] or type(exc).__name__) from exc

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            connection = psycopg.connect(**self._params)
            connection.adapters.register_dumper(
                bytes, BytesBinaryDumper
            )  # not the DB-API's, in Python
            make_staging(connection.cursor())
            self._connection = connection
        return self._connection

    def _ship(self, connection: psycopg.Connection[Any], rows: Rows) -> None:
        days = {row[0] for row in rows.attempts} | {row[0] for row in rows.requests}
        self._ready(connection, days - self._ready_days)
        with connection.transaction(), connection.cursor() as cursor:
            add_rows(cursor, rows)

    def _ready(self, connection: psycopg.Connection[Any], days: Iterable[dt.date]) -> None:
        latest = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=FUTURE_DAYS)
        for day in sorted(days):
            if day > latest:
                raise ValueError(f"{day} is in the future")
            with connection.transaction(), connection.cursor() as cursor:
                _refuse_dropped(cursor, day)
                ensure_day_in(cursor, day)
            self._ready_days.add(day)


def make_staging(cursor: psycopg.Cursor[Any]) -> None:
    """Once per connection."""
    for staging in (ATTEMPT, REQUEST):
        cursor.execute(staging.create)


def add_rows(cursor: psycopg.Cursor[Any], rows: Rows) -> None:
    """In the transaction of the caller, with the marks of buckets that are over."""
    for staging, add, found in (
        (ATTEMPT, _ADD_ATTEMPTS, rows.attempts),
        (REQUEST, _ADD_REQUESTS, rows.requests),
    ):
        if found:
            _copy(cursor, staging, found)
            cursor.execute(add)


def _copy(cursor: psycopg.Cursor[Any], staging: Staging, rows: list[Row]) -> None:
    with cursor.copy(staging.copy) as copy:
        copy.set_types(staging.types)
        write_row = copy.write_row
        for row in rows:
            write_row(row)


def _refuse_dropped(cursor: psycopg.Cursor[Any], day: dt.date) -> None:
    """Rows of a day that retention has dropped would be rolled up without their neighbours."""
    cursor.execute("SELECT 1 FROM fill_state WHERE kept_from > %s", [day])
    if cursor.fetchone():
        raise ValueError(f"the log of {day} has been dropped by retention")


@contextlib.contextmanager
def _cut_after(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """Ends a wait for a server that is stopped: no timeout of its own would ever fire."""
    timer = threading.Timer(seconds, _cut, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(connection: psycopg.Connection[Any]) -> None:
    with contextlib.suppress(OSError, psycopg.Error):
        cut = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with cut:
            cut.shutdown(socket.SHUT_RDWR)
