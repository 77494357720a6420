"""Fills the rollups: bucket by bucket, each range deleted and refilled in one transaction.

Running twice, at once or after a crash, changes nothing. A bucket is closed some minutes after its
quarter of an hour, later rows mark it dirty (`DirtyBucket`) and it is filled again. The quarters
that are still open are filled on every run, so pages lag by one run at most.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import Min

from analytics.models import DirtyBucket, FillState, RequestLog
from analytics.models.log import Attempt
from analytics.queries.types import CELL, ceil_to_cell, floor_to_cell
from analytics.rollups.stats import STATS

logger = logging.getLogger(__name__)

NAME = "cells"
GRACE = dt.timedelta(minutes=5)  # longer than any transaction of the recorder
CHUNK = dt.timedelta(hours=2)  # in one transaction
_DAY = dt.timedelta(days=1)
_LOCK = 0x70616E02


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did: buckets filled because they were over, dirty or still open."""

    closed: int
    dirty: int
    open: int


def roll_up(now: dt.datetime) -> Report:
    """Brings all rollups up to `now`."""
    end = _start(now)
    closes = floor_to_cell(now - GRACE)
    dirty = _refill_dirty(end)
    for start, stop in _chunks(end, closes):
        fill(start, stop, reached=stop)
    first_open = max(end, closes)
    for start, stop in _chunks(first_open, ceil_to_cell(now)):
        fill(start, stop)
    FillState.objects.filter(name=NAME).update(state=FillState.State.DONE, updated_at=now)
    return Report(_cells(end, closes), dirty, _cells(first_open, ceil_to_cell(now)))


def fill(start: dt.datetime, end: dt.datetime, *, reached: dt.datetime | None = None) -> None:
    """Refills the buckets of [start, end) from the log; `reached` moves the fill state too."""
    params = {
        "start": start,
        "end": end,
        "first_day": start.date() - _DAY,
        "last_day": end.date() + _DAY,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute("SET LOCAL statement_timeout = '120s'")
        # First the marks: what is committed after this statement keeps its own.
        cursor.execute(
            "DELETE FROM dirty_bucket WHERE bucket_start >= %(start)s AND bucket_start < %(end)s",
            params,
        )
        for stat in STATS:
            cursor.execute(stat.delete_sql, params)
        for stat in STATS:
            cursor.execute(stat.insert_sql, params)
        if reached is not None:
            FillState.objects.filter(name=NAME, end__lt=reached).update(end=reached)


def mark_dirty(instants: Iterable[dt.datetime]) -> None:
    """For whoever changes what a bucket sums up, in the same transaction as the change."""
    starts = {floor_to_cell(instant) for instant in instants}
    DirtyBucket.objects.bulk_create(DirtyBucket(bucket_start=start) for start in sorted(starts))


def _start(now: dt.datetime) -> dt.datetime:
    """Where this run begins, having said in the database that it began."""
    state, _ = FillState.objects.get_or_create(
        name=NAME,
        defaults={
            "state": FillState.State.STARTED,
            "end": floor_to_cell(_first_row() or now),
            "updated_at": now,
        },
    )
    FillState.objects.filter(name=NAME).update(state=FillState.State.STARTED)
    return state.end


def _first_row() -> dt.datetime | None:
    firsts = [
        model.objects.aggregate(first=Min("received_at"))["first"]
        for model in (RequestLog, Attempt)
    ]
    return min((first for first in firsts if first is not None), default=None)


def _refill_dirty(end: dt.datetime) -> int:
    """Dirty buckets before `end`; later ones are filled anyway."""
    final = _final_before()
    starts = sorted(
        DirtyBucket.objects.filter(bucket_start__lt=end)
        .values_list("bucket_start", flat=True)
        .distinct()
    )
    frozen = [start for start in starts if final is not None and start < final]
    if frozen:
        logger.error("%d marked buckets are older than the log and stay as they are", len(frozen))
        DirtyBucket.objects.filter(bucket_start__lt=final).delete()
    for start, stop in _runs(starts[len(frozen) :]):
        fill(start, stop)
    return len(starts) - len(frozen)


def _final_before() -> dt.datetime | None:
    day = FillState.objects.filter(name=NAME).values_list("kept_from", flat=True).first()
    return dt.datetime.combine(day, dt.time(), dt.UTC) if day else None


def _runs(starts: Iterable[dt.datetime]) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """Neighbouring buckets together, up to a chunk."""
    run: tuple[dt.datetime, dt.datetime] | None = None
    for start in starts:
        if run is not None and run[1] == start and start - run[0] < CHUNK:
            run = (run[0], start + CELL)
            continue
        if run is not None:
            yield run
        run = (start, start + CELL)
    if run is not None:
        yield run


def _chunks(start: dt.datetime, end: dt.datetime) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    while start < end:
        stop = min(start + CHUNK, end)
        yield start, stop
        start = stop


def _cells(start: dt.datetime, end: dt.datetime) -> int:
    return max((end - start) // CELL, 0)
