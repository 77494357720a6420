"""What is known of the requests that have not ended yet, per writing process.

Records go in, finished rows come out. Records may come twice; rows then come once, unless their
request was forgotten meanwhile, and then their keys in Postgres make the second one harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from analytics.recorder import told
from analytics.recorder.rows import Row, attempt_row, lost_request_row, request_row
from routing.core.ids import charge_key
from routing.core.record import END_MARK, Finish, Intent, Progress, Record, RequestDone


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


_Attempts = dict[int, _Attempt]  # by number


class MissingIntent(Exception):
    """The end of an attempt whose beginning was lost: it cannot be booked on anyone."""


Settle = Callable[[Intent, Progress | None], Finish]
Refuse = Callable[[bytes, str], None]
"""Sets a frame's body aside, for a reason."""


class OpenRequests:
    """By request id. Most know one `Intent` alone, and are kept as that."""

    def __init__(self) -> None:
        self._known: dict[bytes, Intent | _Attempts] = {}

    def __len__(self) -> int:
        return len(self._known)

    def take_frames(self, bodies: Iterable[bytes], rows: Rows, refuse: Refuse) -> None:
        """As `take`, of encoded records, with a short way for what nearly all of them are."""
        known, attempts = self._known, rows.attempts
        for body in bodies:
            try:
                if body[0] == END_MARK:
                    finish, done = told.decode_end(body)
                    intent = known.pop(finish.request_id, None)
                    if type(intent) is told.Intent and intent.attempt_no == finish.attempt_no:
                        attempts.append(attempt_row(intent, finish, finish.e2e_ms, done))
                    else:
                        self._end(intent, finish, done, rows)
                else:
                    record = told.decode(body)
                    if type(record) is told.Intent and record.request_id not in known:
                        known[record.request_id] = record
                    else:
                        self.take(record, rows)
            except MissingIntent as exc:
                refuse(body, f"no intent for {exc}")
            except (msgspec.DecodeError, ValueError, OverflowError) as exc:
                refuse(body, f"not a record: {exc}")

    def take(self, record: Record, rows: Rows) -> None:
        """Adds to `rows` what `record` completes. Raises MissingIntent."""
        _TAKE[type(record)](self, record, rows)

    def unfinished(self) -> list[Intent]:
        return [
            attempt.intent
            for attempts in map(_attempts_in, self._known.values())
            for attempt in attempts.values()
            if attempt.intent is not None and attempt.finish is None
        ]

    def settle(self, finish_of: Settle) -> Rows:
        """The writer is dead: ends everything that is open, by `finish_of` where nothing else did."""
        rows = Rows()
        for known in self._known.values():
            _settle_request(_attempts_in(known), finish_of, rows)
        self._known.clear()
        return rows

    def _end(
        self, known: Intent | _Attempts | None, finish: Finish, done: RequestDone, rows: Rows
    ) -> None:
        attempt = _attempts_in(known).get(finish.attempt_no)
        intent = None if attempt is None else attempt.intent
        if attempt is not None and intent is not None and attempt.finish is None:
            rows.attempts.append(attempt_row(intent, finish, finish.e2e_ms, done))
            return
        rows.requests.append(request_row(done))
        if intent is None:
            raise MissingIntent(charge_key(finish.request_id, finish.attempt_no))

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
        self._known.pop(record.request_id, None)
        rows.requests.append(request_row(record))

    def _attempt(self, request_id: bytes, attempt_no: int) -> _Attempt:
        attempts = self._known[request_id] = _attempts_in(self._known.get(request_id))
        attempt = attempts.get(attempt_no)
        if attempt is None:
            attempt = attempts[attempt_no] = _Attempt()
        return attempt

    def _drop(self, request_id: bytes, attempt_no: int) -> None:
        attempts = _attempts_in(self._known.pop(request_id))
        del attempts[attempt_no]
        if attempts:
            self._known[request_id] = attempts


def _attempts_in(known: Intent | _Attempts | None) -> _Attempts:
    if known is None:
        return {}
    return {known.attempt_no: _Attempt(known)} if isinstance(known, Intent) else known


_TAKE: dict[type, Callable[[OpenRequests, Record, Rows], None]] = {
    Intent: OpenRequests._intent,  # type: ignore[dict-item]
    Progress: OpenRequests._progress,  # type: ignore[dict-item]
    Finish: OpenRequests._finish,  # type: ignore[dict-item]
    RequestDone: OpenRequests._done,  # type: ignore[dict-item]
}
_TAKE |= {kind: _TAKE[base] for kind, base in told.BASES.items()}


def _settle_request(attempts: _Attempts, finish_of: Settle, rows: Rows) -> None:
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
