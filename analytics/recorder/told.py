"""The gateway's records as the recorder reads them: ids and amounts stay what they are on disk.

Each has the fields of its base in the same order, so both read the same bytes. What is only passed
on need not become an object that would be text again a moment later; Postgres refuses what is no
amount.
"""

# mypy: disable-error-code="assignment"

from __future__ import annotations

from typing import Annotated

import msgspec

from routing.core import record, usage
from routing.core.ids import REQUEST_ID_BYTES

RequestId = Annotated[bytes, msgspec.Meta(min_length=REQUEST_ID_BYTES, max_length=REQUEST_ID_BYTES)]


class Intent(record.Intent, frozen=True, array_like=True, tag="I"):
    request_id: RequestId


class Progress(record.Progress, frozen=True, array_like=True, tag="P"):
    request_id: RequestId


class Usage(usage.Usage, frozen=True, omit_defaults=True):
    provider_cost_usd: str | None = None


class Finish(record.Finish, frozen=True, array_like=True, tag="F"):
    request_id: RequestId
    usage: Usage
    cost_usd: str


class RequestDone(record.RequestDone, frozen=True, array_like=True, tag="R"):
    request_id: RequestId


BASES: dict[type, type] = {
    Intent: record.Intent,
    Progress: record.Progress,
    Finish: record.Finish,
    RequestDone: record.RequestDone,
}

# As those of `routing.core.record`; both raise msgspec.DecodeError or ValidationError.
decode = msgspec.msgpack.Decoder(Intent | Progress | Finish | RequestDone).decode
decode_end = msgspec.msgpack.Decoder(tuple[Finish, RequestDone]).decode
