"""The gateway's records as the recorder reads them: ids and amounts stay the text they are.

Each has the fields of its base in the same order, so both read the same bytes. What is only passed
on need not become an object that would be text again a moment later; Postgres refuses what is no id
or no amount.
"""

# mypy: disable-error-code="assignment"

from __future__ import annotations

import msgspec

from routing.core import pricing, record


class Intent(record.Intent, frozen=True, array_like=True, tag="I"):
    request_id: str


class Progress(record.Progress, frozen=True, array_like=True, tag="P"):
    request_id: str


class ChargeLine(pricing.ChargeLine, frozen=True):
    amount_usd: str


class Finish(record.Finish, frozen=True, array_like=True, tag="F"):
    request_id: str
    cost_usd: str
    lines: tuple[ChargeLine, ...]


class RequestDone(record.RequestDone, frozen=True, array_like=True, tag="R"):
    request_id: str


BASES: dict[type, type] = {
    Intent: record.Intent,
    Progress: record.Progress,
    Finish: record.Finish,
    RequestDone: record.RequestDone,
}

_decoder: msgspec.msgpack.Decoder[Intent | Progress | Finish | RequestDone]
_decoder = msgspec.msgpack.Decoder(Intent | Progress | Finish | RequestDone)


def decode(data: bytes) -> record.Record:
    """Raises msgspec.DecodeError or ValidationError on bytes that are no record."""
    return _decoder.decode(data)
