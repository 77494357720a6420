"""What is known of the requests that have not ended yet, per writing process.

Records go in, finished rows come out. Records may come twice; rows then come once, unless their
request was forgotten meanwhile, and then their keys in Postgres make the second one harmless.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from analytics.recorder import told
from analytics.recorder.rows import Row, attempt_row, lost_request_row, request_row
from routing.core.ids import charge_key
from routing.core.record import Finish, Intent, Progress, Record, RequestDone


@dataclass(slots=True)
class Rows:
    """What a record completed, or a dead process left behind."""

    attempts: list[Row] = field(default_factory=list)
    requests: list[Row] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.attempts) + len(self.requests)

    def extend(self, other: Rows) -> None:
        self.attempts += other.attempts
        self.requests += other.requests


@dataclass(slots=True)
class _Attempt:
    intent: Intent | None = None
    finish: Finish | None = None
    progress: Progress | None = None


class MissingIntent(Exception):
    """The end of an attempt whose beginning was lost: it cannot be booked on anyone."""


Settle = Callable[[Intent, Progress | None], Finish]


class OpenRequests:
    def __init__(self) -> None:
        self._attempts: dict[bytes, dict[int, _Attempt]] = {}

    def __len__(self) -> int:
        return len(self._attempts)

    def take(self, record: Record, rows: Rows) -> None:
        """Adds to `rows` what `record` completes. Raises MissingIntent."""
        _TAKE[type(record)](self, record, rows)

    def unfinished(self) -> list[Intent]:
        return [
            attempt.intent
            for attempts in self._attempts.values()
            for attempt in attempts.values()
            if attempt.intent is not None and attempt.finish is None
        ]

    def settle(self, finish_of: Settle) -> Rows:
        """The writer is dead: ends everything that is open, by `finish_of` where nothing else did."""
        rows = Rows()
        for attempts in self._attempts.values():
            _settle_request(attempts, finish_of, rows)
        self._attempts.clear()
        return rows

    def _intent(self, record: Intent, rows: Rows) -> None:
        attempt = self._attempt(record.request_id, record.attempt_no)
        attempt.intent = record

    def _progress(self, record: Progress, rows: Rows) -> None:
        self._attempt(record.request_id, record.attempt_no).progress = record

    def _finish(self, record: Finish, rows: Rows) -> None:
        attempt = self._attempt(record.request_id, record.attempt_no)
        if attempt.finish is not None:
            return
        if attempt.intent is None:
            self._drop(record.request_id, record.attempt_no)
            raise MissingIntent(charge_key(record.request_id, record.attempt_no))
        attempt.finish = record
        rows.attempts.append(attempt_row(attempt.intent, record, record.e2e_ms))

    def _done(self, record: RequestDone, rows: Rows) -> None:
        self._attempts.pop(record.request_id, None)
        rows.requests.append(request_row(record))

    def _attempt(self, request_id: bytes, attempt_no: int) -> _Attempt:
        attempts = self._attempts.get(request_id)
        if attempts is None:
            attempts = self._attempts[request_id] = {}
        attempt = attempts.get(attempt_no)
        if attempt is None:
            attempt = attempts[attempt_no] = _Attempt()
        return attempt

    def _drop(self, request_id: bytes, attempt_no: int) -> None:
        attempts = self._attempts[request_id]
        del attempts[attempt_no]
        if not attempts:
            del self._attempts[request_id]


_TAKE: dict[type, Callable[[OpenRequests, Record, Rows], None]] = {
    Intent: OpenRequests._intent,  # type: ignore[dict-item]
    Progress: OpenRequests._progress,  # type: ignore[dict-item]
    Finish: OpenRequests._finish,  # type: ignore[dict-item]
    RequestDone: OpenRequests._done,  # type: ignore[dict-item]
}
_TAKE |= {kind: _TAKE[base] for kind, base in told.BASES.items()}


def _settle_request(attempts: dict[int, _Attempt], finish_of: Settle, rows: Rows) -> None:
    last: tuple[Intent, Finish] | None = None
    for _, attempt in sorted(attempts.items()):
        if attempt.intent is None:  # progress of an attempt whose intent was damaged
            continue
        finish = attempt.finish
        if finish is None:
            finish = finish_of(attempt.intent, attempt.progress)
            rows.attempts.append(attempt_row(attempt.intent, finish, None))
        last = attempt.intent, finish
    if last is not None:
        rows.requests.append(lost_request_row(*last, attempts=max(attempts)))
