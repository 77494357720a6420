"""Records as rows: the columns of the log, and the tuples that COPY takes.

The tuples go into staging tables whose types are cheap to send (epoch seconds, JSON as bytes);
`Staging.select` turns them into the log's own types inside Postgres.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from routing.core.ids import unix_ms_of
from routing.core.record import Finish, Intent, Outcome, RequestDone

Row = tuple[Any, ...]

_json = msgspec.json.Encoder()
_MS_PER_DAY = 86_400_000
_EPOCH_ORDINAL = dt.date(1970, 1, 1).toordinal()
_days: dict[int, dt.date] = {}


@dataclass(frozen=True, slots=True)
class Staging:
    """One table of the log and its staging table: (column, staging type) in order."""

    table: str
    columns: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"stage_{self.table}"

    @property
    def types(self) -> list[str]:
        return list(self.columns.values())

    @property
    def create(self) -> str:
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        return f"CREATE TEMP TABLE IF NOT EXISTS {self.name} ({columns}) ON COMMIT DELETE ROWS"

    @property
    def copy(self) -> str:
        return f"COPY {self.name} FROM STDIN (FORMAT BINARY)"

    @property
    def insert(self) -> str:
        """Adds what is not there yet and returns when it was received."""
        wanted = ", ".join(_converted(name, kind) for name, kind in self.columns.items())
        return (
            f"INSERT INTO {self.table} ({', '.join(self.columns)}) SELECT {wanted}"  # noqa: S608
            f" FROM {self.name} ON CONFLICT DO NOTHING RETURNING received_at"
        )


def _converted(name: str, kind: str) -> str:
    if name.endswith("_at"):
        return f"to_timestamp({name})"
    if kind == "bytea":
        return f"convert_from({name}, 'UTF8')::jsonb"
    return name


ATTEMPT = Staging(
    "attempt",
    {
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
        "provider_cost_usd": "numeric",
        "usage_source": "text",
        "usage_raw": "text",
        "cost_usd": "numeric",
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
    },
)
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


def attempt_row(intent: Intent, finish: Finish, e2e_ms: float | None) -> Row:
    usage = finish.usage
    return (
        day_of(finish.request_id),
        finish.request_id,
        finish.attempt_no,
        intent.started_at,
        intent.received_at,
        intent.endpoint_id,
        intent.credential_id,
        intent.key_id,
        intent.project_id,
        intent.organization_id,
        intent.kind,
        intent.surface,
        _text(intent.requested_model),
        intent.model_id,
        intent.upstream_model,
        intent.stream,
        intent.input_estimate,
        intent.simulated,
        _text(intent.service_tier),
        intent.policy,
        intent.policy_version,
        finish.outcome,
        finish.http_status,
        _text(finish.error_code),
        _text(finish.error_message),
        finish.failure,
        _text(finish.response_model),
        _text(finish.provider_request_id),
        _text(finish.finish_reason),
        usage.input_total,
        usage.cache_read,
        usage.cache_write_5m,
        usage.cache_write_1h,
        usage.output_total,
        usage.reasoning,
        usage.images,
        usage.audio_seconds,
        usage.searches,
        usage.provider_cost_usd,
        usage.source,
        _text(finish.usage_raw.decode(errors="replace")),
        finish.cost_usd,
        finish.cost_status,
        _json.encode(finish.lines),
        finish.headers_ms,
        finish.ttft_ms,
        finish.ttfa_ms,
        finish.last_chunk_ms,
        e2e_ms,
        finish.content_frames,
        finish.first_chunk_tokens,
        _text(",".join(finish.dropped_params)),
    )


def request_row(done: RequestDone) -> Row:
    return (
        day_of(done.request_id),
        done.request_id,
        done.received_at,
        done.key_id,
        done.project_id,
        done.organization_id,
        done.kind,
        done.surface,
        _text(done.requested_model),
        done.model_id,
        done.stream,
        done.outcome,
        done.http_status,
        _text(done.error_code),
        done.attempts,
        done.endpoint_id,
        done.ttft_ms,
        done.e2e_ms,
        done.overhead_ms,
        done.simulated,
        done.policy,
        done.policy_version,
        None if done.decision is None else _jsonb(_json.encode(done.decision)),
    )


def lost_request_row(intent: Intent, last: Finish, attempts: int) -> Row:
    """For a request whose process died before it could say how the request ended.

    What the client got and when is not known. `last` is the end of its last attempt.
    """
    answered = last.outcome is Outcome.OK
    outcome = Outcome.OK if answered else Outcome.CRASHED
    return (
        day_of(intent.request_id),
        intent.request_id,
        intent.received_at,
        intent.key_id,
        intent.project_id,
        intent.organization_id,
        intent.kind,
        intent.surface,
        _text(intent.requested_model),
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


def day_of(request_id: UUID) -> dt.date:
    """As `routing.core.ids.utc_day_of`, remembered per day: it is asked for every row."""
    number = unix_ms_of(request_id) // _MS_PER_DAY
    day = _days.get(number)
    if day is None:
        if len(_days) > 1000:
            _days.clear()
        day = _days[number] = dt.date.fromordinal(_EPOCH_ORDINAL + number)
    return day


def _text(value: str) -> str:
    """Postgres has no NUL in text."""
    return value.replace("\0", "\ufffd") if "\0" in value else value


def _jsonb(encoded: bytes) -> bytes:
    return encoded.replace(b"\\u0000", b"\\ufffd") if b"\\u0000" in encoded else encoded
