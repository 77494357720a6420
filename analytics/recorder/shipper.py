"""The recorder's loop: read, ship, commit, advance; wait when there is nothing or no Postgres."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from analytics.recorder.crashed import crashed_finish
from analytics.recorder.open_requests import Rows
from analytics.recorder.quarantine import Quarantine
from analytics.recorder.reader import Batch, Process, SpoolReader
from analytics.recorder.rows import ATTEMPT, REQUEST, Row, Staging, apart, has_answer
from analytics.recorder.status import RecorderStatus, write_status
from analytics.recorder.store import BadRows, DatabaseAway, Store
from routing.core.ids import request_id_text

logger = logging.getLogger(__name__)

BATCH_ROWS = 4000
POLL_S = 0.1
SHIP_AFTER_S = 0.5  # a row waits at most this long for company
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
STATUS_EVERY_S = 2.0
FEW_REFUSED = 20  # when most of more rows are refused, it is not the rows that are wrong
LOCK_NAME = "recorder.lock"
QUARANTINE_NAME = "quarantine"


class Shipper:
    """`step` does one round and says how long to wait for the next; it never raises for what
    Postgres or a damaged file may do."""

    def __init__(self, folder: Path, store: Store, clock: Callable[[], float] = time.monotonic):
        self._folder = folder
        self._store = store
        self._clock = clock
        self._quarantine = Quarantine(folder / QUARANTINE_NAME)
        self._reader = SpoolReader(folder, self._quarantine)
        self._batch = Batch()
        self._waiting_since: float | None = None
        self._failures = 0
        self._status_at = float("-inf")
        self.shipped_rows = 0

    def step(self) -> float:
        now = self._clock()
        try:
            self._gather(now)
            full = len(self._batch.rows) >= BATCH_ROWS
            if self._is_due(now, full):
                self._ship()
        except DatabaseAway as exc:
            return self._away(exc, now)
        self._back()
        self._tell(now)
        return 0.0 if full else POLL_S

    def drain(self, patience_s: float) -> bool:
        """Ships what is there now, for a stop in good order. False if Postgres did not let us."""
        until = self._clock() + patience_s
        while True:
            before = self.shipped_rows
            try:
                self._gather(self._clock())
                if not self._batch.is_worth_shipping:
                    return True
                self._ship()
            except DatabaseAway as exc:
                self._away(exc, self._clock())
            if self.shipped_rows == before and self._clock() > until:
                return False

    def close(self) -> None:
        self._reader.close()
        self._store.close()

    def _gather(self, now: float) -> None:
        room = BATCH_ROWS - len(self._batch.rows)
        if room > 0:
            self._reader.fill(self._batch, BATCH_ROWS, now)
        for process in self._reader.ended():
            self._settle(process)
        if self._waiting_since is None and len(self._batch.rows):
            self._waiting_since = now

    def _settle(self, process: Process) -> None:
        """What a process left open is ended here, with the prices that were in force."""
        left = process.open.unfinished()
        sheets = self._store.sheets({intent.endpoint_id for intent in left}) if left else {}
        requests = len(process.open)
        self._reader.settle(
            process,
            lambda intent, progress: crashed_finish(intent, progress, sheets),
            self._batch,
        )
        if requests:
            logger.warning(
                "A gateway process ended with %d requests open: settled from the spool (%d "
                "attempts estimated)",
                requests,
                len(left),
            )

    def _is_due(self, now: float, full: bool) -> bool:
        if full or self._batch.finished:
            return True
        return self._waiting_since is not None and now - self._waiting_since >= SHIP_AFTER_S

    def _ship(self) -> None:
        rows = self._batch.rows
        if len(rows):
            self._ship_rows(rows)
        self._batch.committed()
        self.shipped_rows += len(rows)
        self._batch = Batch()
        self._waiting_since = None

    def _ship_rows(self, rows: Rows) -> None:
        bad = list(self._refused(rows))
        if len(bad) > max(FEW_REFUSED, len(rows) // 2):
            raise DatabaseAway(f"{len(bad)} of {len(rows)} rows refused: {bad[0][1]}")
        for row, reason in bad:
            self._set_aside(row, reason)

    def _refused(self, rows: Rows) -> Iterator[tuple[Rows, str]]:
        """Ships all but the rows that can never be stored: halves until each of them stands alone."""
        try:
            self._store.ship(rows)
        except BadRows as exc:
            if len(rows) == 1 and not any(map(has_answer, rows.attempts)):
                yield rows, str(exc)
                return
            for half in _halves(rows):
                yield from self._refused(half)

    def _set_aside(self, rows: Rows, reason: str) -> None:
        kind, row = (ATTEMPT, rows.attempts[0]) if rows.attempts else (REQUEST, rows.requests[0])
        number = f"-{row[2]}" if rows.attempts else ""
        name = f"{kind.table}-{request_id_text(row[1])}{number}.json"
        self._quarantine.keep(name, _as_json(kind, row), reason)

    def _away(self, exc: DatabaseAway, now: float) -> float:
        if self._failures == 0:
            logger.warning("Postgres does not take rows (%s): records wait in the spool", exc)
        wait = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        self._tell(now)
        return wait

    def _back(self) -> None:
        if self._failures:
            logger.warning("Postgres takes rows again after %d tries", self._failures)
            self._failures = 0

    def _tell(self, now: float) -> None:
        if now - self._status_at < STATUS_EVERY_S:
            return
        self._status_at = now
        waiting = None if self._waiting_since is None else now - self._waiting_since
        write_status(
            self._folder,
            RecorderStatus(
                pid=os.getpid(),
                state="waiting" if self._failures else "shipping",
                at=time.time(),
                oldest_waiting_s=waiting or 0.0,
            ),
        )


def _halves(rows: Rows) -> tuple[Rows, Rows]:
    if len(rows.attempts) and len(rows.requests):
        return Rows(attempts=rows.attempts), Rows(requests=rows.requests)
    if len(rows) == 1:
        attempt, request = apart(rows.attempts[0])
        return Rows(attempts=[attempt]), Rows(requests=[request])
    a, r = len(rows.attempts) // 2, len(rows.requests) // 2
    return (
        Rows(rows.attempts[:a], rows.requests[:r]),
        Rows(rows.attempts[a:], rows.requests[r:]),
    )


def _as_json(staging: Staging, row: Row) -> bytes:
    values = {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value
        for name, value in zip(staging.columns, row, strict=True)
    }
    return msgspec.json.encode(values | {"request_id": request_id_text(row[1])})


class SpoolTaken(Exception):
    """Another recorder works on this spool folder."""


def lock_folder(folder: Path) -> int:
    """One recorder per spool folder. The lock lives as long as the returned file descriptor.

    Raises SpoolTaken.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise SpoolTaken(str(folder)) from None
    return fd
