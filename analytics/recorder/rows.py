"""Records as rows: the columns of the log, and the tuples that COPY takes.

The tuples go into staging tables whose types are cheap to send (epoch seconds, text for money, JSON
as bytes); `Staging.insert` turns them into the log's own types inside Postgres. Columns stand in the
order of the records' fields, so that a row is made of whole runs of them. An attempt that answered
its request brings the request along: what both have in common is sent once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from msgspec.structs import astuple

from routing.core.ids import utc_day_of
from routing.core.record import Finish, Intent, Outcome, RequestDone
from routing.core.usage import Usage

Row = tuple[Any, ...]

_NUL = "\0"
_days: dict[bytes, dt.date] = {}


@dataclass(frozen=True)
class Staging:
    """A staging table: (column, its type there) in order."""

    table: str  # of the log
    columns: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"stage_{self.table}"

    @cached_property
    def types(self) -> list[str]:
        """As whose values are sent: in binary, an id is the same bytes as bytea and as uuid."""
        return ["bytea" if kind == "uuid" else kind for kind in self.columns.values()]

    @property
    def create(self) -> str:
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        return f"CREATE TEMP TABLE IF NOT EXISTS {self.name} ({columns}) ON COMMIT DELETE ROWS"

    @property
    def copy(self) -> str:
        return f"COPY {self.name} FROM STDIN (FORMAT BINARY)"

    def insert(self, table: str, sources: Mapping[str, str], where: str = "true") -> str:
        """Adds what is not there yet and returns when it was received. `sources` tells which column
        here becomes which one there."""
        wanted = ", ".join(_converted(name, self.columns[name]) for name in sources.values())
        return (
            f"INSERT INTO {table} ({', '.join(sources)}) SELECT {wanted} FROM {self.name}"  # noqa: S608
            f" WHERE {where} ON CONFLICT DO NOTHING RETURNING received_at"
        )


def _converted(name: str, kind: str) -> str:
    if name.endswith("_at"):
        return f"to_timestamp({name})"
    if name.endswith("_usd"):
        return f"{name}::numeric"
    if kind == "bytea":
        return f"convert_from({name}, 'UTF8')::jsonb"
    return name


_ATTEMPT = {
    "day": "date",
    "request_id": "uuid",
    "attempt_no": "int4",
    "started_at": "float8",
    "received_at": "float8",
    "endpoint_id": "int8",
    "credential_id": "int8",
    "key_id": "int8",
    "project_id": "int8",
    "organization_id": "int8",
    "kind": "text",
    "surface": "text",
    "requested_model": "text",
    "model_id": "int8",
    "upstream_model": "text",
    "stream": "bool",
    "input_estimate": "int8",
    "simulated": "bool",
    "service_tier": "text",
    "policy": "text",
    "policy_version": "int4",
    "outcome": "text",
    "http_status": "int4",
    "error_code": "text",
    "error_message": "text",
    "failure": "text",
    "response_model": "text",
    "provider_request_id": "text",
    "finish_reason": "text",
    "input_total": "int8",
    "cache_read": "int8",
    "cache_write_5m": "int8",
    "cache_write_1h": "int8",
    "output_total": "int8",
    "reasoning": "int8",
    "images": "int8",
    "audio_seconds": "int8",
    "searches": "int8",
    "provider_cost_usd": "text",
    "usage_source": "text",
    "characters": "int8",
    "pixels": "int8",
    "usage_raw": "text",
    "cost_usd": "text",
    "cost_status": "text",
    "lines": "bytea",
    "headers_ms": "float8",
    "ttft_ms": "float8",
    "ttfa_ms": "float8",
    "last_chunk_ms": "float8",
    "e2e_ms": "float8",
    "content_frames": "int4",
    "first_chunk_tokens": "int4",
    "dropped_params": "text",
}
# Of the request that ended with the attempt, beside what stands above.
_ANSWER = {
    "request_model_id": "int8",
    "request_outcome": "text",
    "client_status": "int4",
    "client_error_code": "text",
    "attempts": "int4",
    "answered_by": "int8",
    "request_ttft_ms": "float8",
    "request_e2e_ms": "float8",
    "overhead_ms": "float8",
    "decision": "bytea",
}
_ANSWER_OF = {
    "model_id": "request_model_id",
    "outcome": "request_outcome",
    "http_status": "client_status",
    "error_code": "client_error_code",
    "endpoint_id": "answered_by",
    "ttft_ms": "request_ttft_ms",
    "e2e_ms": "request_e2e_ms",
}
ATTEMPT = Staging("attempt", _ATTEMPT | _ANSWER)
REQUEST = Staging(
    "request_log",
    {
        "day": "date",
        "request_id": "uuid",
        "received_at": "float8",
        "key_id": "int8",
        "project_id": "int8",
        "organization_id": "int8",
        "kind": "text",
        "surface": "text",
        "requested_model": "text",
        "model_id": "int8",
        "stream": "bool",
        "outcome": "text",
        "http_status": "int4",
        "error_code": "text",
        "attempts": "int4",
        "endpoint_id": "int8",
        "ttft_ms": "float8",
        "e2e_ms": "float8",
        "overhead_ms": "float8",
        "simulated": "bool",
        "policy": "text",
        "policy_version": "int4",
        "decision": "bytea",
    },
)


INSERT_ATTEMPTS = ATTEMPT.insert("attempt", {name: name for name in _ATTEMPT})
INSERT_ANSWERED = ATTEMPT.insert(
    "request_log",
    {name: _ANSWER_OF.get(name, name) for name in REQUEST.columns},
    "attempts IS NOT NULL",
)
INSERT_REQUESTS = REQUEST.insert("request_log", {name: name for name in REQUEST.columns})


def _place(record: type[msgspec.Struct], field: str) -> int:
    return record.__struct_fields__.index(field)


# Runs of fields that are columns as they are.
_BEGUN = slice(_place(Intent, "attempt_no"), None)
_OUTCOME = slice(_place(Finish, "outcome"), _place(Finish, "usage"))
_QUANTITIES = slice(0, _place(Usage, "provider_cost_usd"))
_TIMES = slice(_place(Finish, "headers_ms"), _place(Finish, "e2e_ms"))
_DONE = slice(_place(RequestDone, "received_at"), _place(RequestDone, "decision"))
_ANSWERED = slice(_place(RequestDone, "outcome"), _place(RequestDone, "simulated"))
_NO_ANSWER = (None,) * len(_ANSWER)


def attempt_row(
    intent: Intent, finish: Finish, e2e_ms: float | None, done: RequestDone | None = None
) -> Row:
    """With `done`, the row of the request too: it tells of `finish.request_id` and its `Intent`."""
    request_id, ended, usage = finish.request_id, astuple(finish), finish.usage
    row = (
        day_of(request_id),
        request_id,
        *astuple(intent)[_BEGUN],
        *ended[_OUTCOME],
        *astuple(usage)[_QUANTITIES],
        None if usage.provider_cost_usd is None else str(usage.provider_cost_usd),
        usage.source,
        usage.characters,
        usage.pixels,
        finish.usage_raw.decode(errors="replace"),
        str(finish.cost_usd),
        finish.cost_status,
        finish.lines,
        *ended[_TIMES],
        e2e_ms,
        finish.content_frames,
        finish.first_chunk_tokens,
        ",".join(finish.dropped_params),
        *(_NO_ANSWER if done is None else _answer(done)),
    )
    return _without_nul(row) if _has_nul(intent, finish, done) else row


def _answer(done: RequestDone) -> Row:
    return (done.model_id, *astuple(done)[_ANSWERED], _jsonb(done.decision) or None)


def has_answer(row: Row) -> bool:
    return row[-len(_ANSWER) :] != _NO_ANSWER


def apart(row: Row) -> tuple[Row, Row]:
    """The attempt alone, and its request as a row of `REQUEST`."""
    values = dict(zip(ATTEMPT.columns, row, strict=True))
    request = tuple(values[_ANSWER_OF.get(name, name)] for name in REQUEST.columns)
    return (*row[: len(_ATTEMPT)], *_NO_ANSWER), request


def request_row(done: RequestDone) -> Row:
    request_id = done.request_id
    row = (day_of(request_id), request_id, *astuple(done)[_DONE], _jsonb(done.decision) or None)
    return _without_nul(row) if _NUL in done.requested_model or _NUL in done.error_code else row


def lost_request_row(intent: Intent, last: Finish, attempts: int) -> Row:
    """For a request whose process died before it could say how the request ended.

    What the client got and when is not known. `last` is the end of its last attempt.
    """
    answered = last.outcome == Outcome.OK
    outcome = Outcome.OK if answered else Outcome.CRASHED
    row = (
        day_of(intent.request_id),
        intent.request_id,
        intent.received_at,
        intent.key_id,
        intent.project_id,
        intent.organization_id,
        intent.kind,
        intent.surface,
        intent.requested_model,
        intent.model_id,
        intent.stream,
        outcome,
        None,
        "" if answered else "hub_crashed",
        attempts,
        intent.endpoint_id if answered else None,
        None,
        None,
        None,
        intent.simulated,
        intent.policy,
        intent.policy_version,
        None,
    )
    return _without_nul(row) if _NUL in intent.requested_model else row


def day_of(request_id: bytes) -> dt.date:
    """As `routing.core.ids.utc_day_of`, remembered, because it is asked for every row."""
    moment = request_id[:5]  # 40 of the 48 bits of a time in ms: 256 ms, in which no day begins
    day = _days.get(moment)
    if day is None:
        if len(_days) > 1000:
            _days.clear()
        day = _days[moment] = utc_day_of(request_id)
    return day


def _has_nul(intent: Intent, finish: Finish, done: RequestDone | None) -> bool:
    """In any text that a client or a provider wrote."""
    return (
        _NUL in intent.requested_model
        or _NUL in finish.error_code
        or _NUL in finish.error_message
        or _NUL in finish.response_model
        or _NUL in finish.provider_request_id
        or _NUL in finish.finish_reason
        or b"\0" in finish.usage_raw
        or _NUL in intent.service_tier
        or _NUL in "".join(finish.dropped_params)
        or (done is not None and _NUL in done.error_code)
    )


def _without_nul(row: Row) -> Row:
    """Postgres has no NUL in text."""
    return tuple(v.replace(_NUL, "\ufffd") if isinstance(v, str) else v for v in row)


def _jsonb(encoded: bytes) -> bytes:
    return encoded.replace(b"\\u0000", b"\\ufffd") if b"\\u0000" in encoded else encoded
