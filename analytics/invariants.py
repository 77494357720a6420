"""What must always hold, as questions to the database. An answer that is not empty is a breach."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from analytics.models import DirtyBucket, FillState
from analytics.partitions import days_kept
from analytics.queries import breakdown, headline
from analytics.queries.types import DIMENSIONS, EVERYTHING, Filters, Period
from analytics.recorder.segments import Segment, segment_paths
from routing.core.spool import BadSegment

OPEN_FOR = dt.timedelta(minutes=30)  # longer than any request
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Breach:
    invariant: str
    detail: str


@dataclass(frozen=True, slots=True)
class Window:
    """The days whose raw rows are looked at, and what is settled by now."""

    first_day: dt.date
    now: dt.datetime


Check = Callable[[Window], Iterator[str]]


def check_all(window: Window) -> list[Breach]:
    return [Breach(name, detail) for name, check in CHECKS.items() for detail in check(window)]


def window_of(days: int, now: dt.datetime) -> Window:
    """At most the days that are kept: older ones cannot be looked at any more."""
    wanted = now.date() - dt.timedelta(days=days - 1)
    return Window(max([wanted, *days_kept()[:1]]), now)


# --- rows ----------------------------------------------------------------------------------------------


def _every_attempt_has_its_request(window: Window) -> Iterator[str]:
    yield from _found(
        """
        SELECT a.request_id::text || ':' || a.attempt_no FROM attempt a
        WHERE a.day >= %(first_day)s AND a.received_at < %(settled)s AND NOT EXISTS (
            SELECT 1 FROM request_log r WHERE r.day = a.day AND r.request_id = a.request_id)
        """,
        window,
    )


def _one_row_per_attempt(window: Window) -> Iterator[str]:
    yield from _found(
        """
        SELECT r.request_id::text || ': ' || r.attempts || ' told, ' || count(a.attempt_no)
            || ' recorded'
        FROM request_log r
        LEFT JOIN attempt a ON a.day = r.day AND a.request_id = r.request_id
            AND a.day >= %(first_day)s
        WHERE r.day >= %(first_day)s AND r.received_at < %(settled)s
        GROUP BY r.request_id, r.attempts HAVING r.attempts <> count(a.attempt_no)
        """,
        window,
    )


def _a_charge_is_the_sum_of_its_lines(window: Window) -> Iterator[str]:
    yield from _found(
        """
        SELECT a.request_id::text || ':' || a.attempt_no || ': ' || a.cost_usd
        FROM attempt a
        WHERE a.day >= %(first_day)s AND a.cost_status IN ('metered', 'estimated')
            AND a.cost_usd <> (
                SELECT coalesce(sum((line ->> 'amount_usd')::numeric), 0)
                FROM jsonb_array_elements(a.lines) line)
        """,
        window,
    )


def _a_line_is_quantity_times_its_price(window: Window) -> Iterator[str]:
    yield from _found(
        """
        SELECT a.request_id::text || ':' || a.attempt_no || ' ' || (line ->> 'meter')
        FROM attempt a
        CROSS JOIN LATERAL jsonb_array_elements(a.lines) line
        JOIN routing_price p ON p.id = (line ->> 'price_id')::bigint
        WHERE a.day >= %(first_day)s
            AND (line ->> 'amount_usd')::numeric <> (line ->> 'quantity')::numeric
                * p.unit_price_usd
                / CASE WHEN p.meter IN ('image', 'audio_second', 'search', 'request') THEN 1
                    ELSE 1000000 END
        """,
        window,
    )


def _a_price_holds_for_its_endpoint_and_time(window: Window) -> Iterator[str]:
    yield from _found(
        """
        SELECT a.request_id::text || ':' || a.attempt_no || ' price ' || (line ->> 'price_id')
        FROM attempt a
        CROSS JOIN LATERAL jsonb_array_elements(a.lines) line
        LEFT JOIN routing_price p ON p.id = (line ->> 'price_id')::bigint
        WHERE a.day >= %(first_day)s AND (
            p.id IS NULL OR p.endpoint_id <> a.endpoint_id OR p.effective_from > a.started_at)
        """,
        window,
    )


def _a_correction_has_its_attempt(window: Window) -> Iterator[str]:
    yield from _found(
        """
        SELECT c.request_id::text || ':' || c.attempt_no FROM charge_correction c
        WHERE c.day >= %(first_day)s AND NOT EXISTS (
            SELECT 1 FROM attempt a WHERE a.day = c.day AND a.request_id = c.request_id
                AND a.attempt_no = c.attempt_no)
        """,
        window,
    )


def _corrected_charges_are_not_negative(window: Window) -> Iterator[str]:
    yield from _found(
        """
        SELECT a.request_id::text || ':' || a.attempt_no FROM attempt a
        JOIN charge_correction c ON c.request_id = a.request_id AND c.attempt_no = a.attempt_no
        WHERE a.day >= %(first_day)s AND c.day >= %(first_day)s
        GROUP BY a.request_id, a.attempt_no, a.cost_usd
        HAVING a.cost_usd + sum(c.delta_usd) < 0
        """,
        window,
    )


# --- sums ----------------------------------------------------------------------------------------------

_RAW = """
SELECT (SELECT count(*) FROM request_log
        WHERE day BETWEEN %(first_day)s AND %(last_day)s
            AND received_at >= %(start)s AND received_at < %(end)s),
    count(*), coalesce(sum(a.cost_usd), 0)
        + coalesce((SELECT sum(c.delta_usd) FROM charge_correction c
            JOIN attempt x ON x.day = c.day AND x.request_id = c.request_id
                AND x.attempt_no = c.attempt_no
            WHERE c.day BETWEEN %(first_day)s AND %(last_day)s
                AND x.day BETWEEN %(first_day)s AND %(last_day)s
                AND x.received_at >= %(start)s AND x.received_at < %(end)s), 0)
FROM attempt a
WHERE a.day BETWEEN %(first_day)s AND %(last_day)s
    AND a.received_at >= %(start)s AND a.received_at < %(end)s
"""


def _rollups_are_what_the_log_says(window: Window) -> Iterator[str]:
    """Per day, as far as the rollups reach; a day with dirty buckets is not judged."""
    end = FillState.objects.values_list("end", flat=True).first()
    if end is None:
        return
    for day in days_kept():
        start = dt.datetime.combine(day, dt.time(), dt.UTC)
        period = Period(start, min(start + _DAY, end))
        if day < window.first_day or period.end <= start or _is_dirty(period):
            continue
        raw, rolled = _raw(period), headline(Filters(EVERYTHING, period, kind="all"))
        if raw != (rolled.requests, rolled.attempts, rolled.cost_usd):
            yield (
                f"{day}: log {raw[0]} requests, {raw[1]} attempts, {raw[2]} USD; rollups"
                f" {rolled.requests}, {rolled.attempts}, {rolled.cost_usd}"
            )


def _raw(period: Period) -> tuple[int, int, Decimal]:
    params = {
        "start": period.start,
        "end": period.end,
        "first_day": period.start.date() - _DAY,
        "last_day": period.end.date() + _DAY,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RAW, params)
        requests, attempts, cost_usd = cursor.fetchone() or (0, 0, Decimal(0))
        return requests, attempts, cost_usd


def _is_dirty(period: Period) -> bool:
    return DirtyBucket.objects.filter(
        bucket_start__gte=period.start, bucket_start__lt=period.end
    ).exists()


def _headlines_are_the_sum_of_their_parts(window: Window) -> Iterator[str]:
    start = dt.datetime.combine(window.first_day, dt.time(), dt.UTC)
    filters = Filters(EVERYTHING, Period(start, window.now), kind="all")
    whole = headline(filters)
    for dimension in DIMENSIONS:
        rows = breakdown(filters, dimension)
        parts = (
            sum(row.requests for row in rows),
            sum((row.cost_usd for row in rows), Decimal(0)),
        )
        if parts != (whole.requests, whole.cost_usd):
            yield f"by {dimension}: {parts}, headline {(whole.requests, whole.cost_usd)}"


# --- the spool -----------------------------------------------------------------------------------------


def _no_dead_process_waits_to_be_settled(window: Window) -> Iterator[str]:
    """On this host. A recorder that runs needs a second or two."""
    for path in segment_paths(Path(settings.PANELBOARD_SPOOL_DIR)):
        age_s = window.now.timestamp() - path.stat().st_mtime
        if age_s > 60 and not _is_written(path):
            yield f"{path.name} was left {age_s:.0f} s ago: is the recorder running?"


def _is_written(path: Path) -> bool:
    try:
        segment = Segment(path)
    except (BadSegment, OSError):
        return False
    try:
        return segment.is_written()
    finally:
        segment.close()


CHECKS: dict[str, Check] = {
    "every attempt has its request": _every_attempt_has_its_request,
    "one row per attempt": _one_row_per_attempt,
    "a charge is the sum of its lines": _a_charge_is_the_sum_of_its_lines,
    "a line is quantity times its price": _a_line_is_quantity_times_its_price,
    "a price holds for its endpoint and time": _a_price_holds_for_its_endpoint_and_time,
    "a correction has its attempt": _a_correction_has_its_attempt,
    "corrected charges are not negative": _corrected_charges_are_not_negative,
    "rollups are what the log says": _rollups_are_what_the_log_says,
    "headlines are the sum of their parts": _headlines_are_the_sum_of_their_parts,
    "no dead process waits to be settled": _no_dead_process_waits_to_be_settled,
}


def _found(query: str, window: Window) -> Iterator[str]:
    params: dict[str, Any] = {"first_day": window.first_day, "settled": window.now - OPEN_FOR}
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        for (detail,) in cursor.fetchall():
            yield detail
