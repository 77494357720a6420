"""What the gateway writes down of a request, and how it becomes bytes.

A request leaves three kinds of records in the spool: `Intent` before the first byte goes to a
provider, `Progress` while a stream runs, `Finish` when the attempt ended, and `RequestDone` once.
An `Intent` without `Finish` in the file of a dead process is settled by `settle_crashed`.
Times are Unix seconds (wall clock, for placing a row) and milliseconds (monotonic, for durations).

A request id is its 16 bytes (`routing.core.ids`). What is only kept, never reckoned with, is the JSON
that the log stores from the start: charge lines, the decision.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum

import msgspec

from routing.core.charges import ChargeLine, CostStatus
from routing.core.usage import Usage


class Outcome(StrEnum):
    """Exclusive classes; a request takes the one of its last attempt."""

    OK = "ok"
    PROVIDER_ERROR = "provider_error"
    RATE_LIMITED = "rate_limited"
    TIMEOUT = "timeout"
    CLIENT_CANCELLED = "client_cancelled"
    BLOCKED = "blocked"  # policy, budget or limit
    USER_ERROR = "user_error"
    HUB_ERROR = "hub_error"
    CRASHED = "crashed"  # our process died; settled from the spool
    HEDGE_LOST = "hedge_lost"  # of an attempt: another one of the same request was quicker


class Intent(msgspec.Struct, frozen=True, array_like=True, tag="I"):
    request_id: bytes
    attempt_no: int  # 1, 2, ...
    started_at: float
    received_at: float
    endpoint_id: int
    credential_id: int
    key_id: int
    project_id: int
    organization_id: int
    kind: str  # traffic | probe | playground | batch | shadow
    surface: str  # chat
    requested_model: str
    model_id: int
    upstream_model: str
    stream: bool
    input_estimate: int  # tokens
    simulated: bool
    service_tier: str = ""
    policy: str = ""
    policy_version: int = 0


class Progress(msgspec.Struct, frozen=True, array_like=True, tag="P"):
    """At most each second or 4 KiB of output, so a crash loses little of what was produced."""

    request_id: bytes
    attempt_no: int
    output_chars: int
    content_frames: int
    provider_request_id: str = ""
    ttft_ms: float | None = None


class Finish(msgspec.Struct, frozen=True, array_like=True, tag="F"):
    """The end of one attempt, with its money."""

    request_id: bytes
    attempt_no: int
    outcome: Outcome
    http_status: int | None  # the provider's
    error_code: str
    error_message: str  # shortened, never the prompt
    failure: str  # FailureClass, "" when ok
    response_model: str
    provider_request_id: str
    finish_reason: str
    usage: Usage
    usage_raw: bytes  # the provider's usage object as JSON, b"" if none
    cost_usd: Decimal
    cost_status: CostStatus
    lines: bytes  # as `encode_lines` gives them
    headers_ms: float | None  # all from the moment the attempt was sent
    ttft_ms: float | None  # first content, reasoning or tool-call delta
    ttfa_ms: float | None  # first content that is not reasoning
    last_chunk_ms: float | None
    e2e_ms: float
    content_frames: int = 0
    first_chunk_tokens: int | None = None
    dropped_params: tuple[str, ...] = ()


class RequestDone(msgspec.Struct, frozen=True, array_like=True, tag="R"):
    """The end of the request; repeats what a request without any attempt would not have."""

    request_id: bytes
    received_at: float
    key_id: int
    project_id: int
    organization_id: int
    kind: str
    surface: str
    requested_model: str
    model_id: int | None
    stream: bool
    outcome: Outcome
    http_status: int  # what the client got
    error_code: str
    attempts: int
    endpoint_id: int | None  # the one that answered
    ttft_ms: float | None  # from the moment the request was received
    e2e_ms: float
    overhead_ms: float  # ours: deciding, and the time between failed attempts
    simulated: bool
    policy: str
    policy_version: int
    decision: bytes  # as `routing.core.decision.to_json` gives it, b"" if none


Record = Intent | Progress | Finish | RequestDone
END_MARK = 0x92  # with which `encode_end` begins: two in an array, and no record has so few fields

_encoder = msgspec.msgpack.Encoder()
_json = msgspec.json.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
_end_decoder = msgspec.msgpack.Decoder(tuple[Finish, RequestDone])


def encode_lines(lines: tuple[ChargeLine, ...]) -> bytes:
    """As JSON, for `Finish.lines`."""
    return _json.encode(lines)


encode: Callable[[Record], bytes] = _encoder.encode


def encode_end(finish: Finish, done: RequestDone) -> bytes:
    """Both as one, for an attempt whose end is the end of its request."""
    return _encoder.encode((finish, done))


def decode(data: bytes) -> Record:
    """Raises msgspec.DecodeError or ValidationError on bytes that are no record."""
    return _decoder.decode(data)


def decode_all(data: bytes) -> tuple[Record, ...]:
    """As `decode`, of what `encode` or `encode_end` gave."""
    return _end_decoder.decode(data) if data[0] == END_MARK else (_decoder.decode(data),)
