"""Records as the gateway writes them, and what a folder of segments holds."""

from __future__ import annotations

import fcntl
import os
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

from routing.core.charges import CostStatus
from routing.core.record import (
    Finish,
    Intent,
    Outcome,
    Progress,
    Record,
    RequestDone,
    decode_all,
)
from routing.core.spool import (
    HEADER_BYTES,
    Damaged,
    Ended,
    Frame,
    SegmentHeader,
    bytes_reader,
    parse_segment_name,
    read_header,
    scan,
)
from routing.core.usage import NO_USAGE


def new_id() -> bytes:
    return uuid4().bytes


def intent(request_id: bytes, attempt_no: int = 1, model: str = "org/model") -> Intent:
    return Intent(
        request_id=request_id,
        attempt_no=attempt_no,
        started_at=1.0,
        received_at=1.0,
        endpoint_id=1,
        credential_id=1,
        key_id=1,
        project_id=1,
        organization_id=1,
        kind="traffic",
        surface="chat",
        requested_model=model,
        model_id=1,
        upstream_model=model,
        stream=True,
        input_estimate=100,
        simulated=False,
    )


def progress(request_id: bytes, chars: int, attempt_no: int = 1) -> Progress:
    return Progress(request_id, attempt_no, chars, chars // 4)


def finish(request_id: bytes, attempt_no: int = 1, message: str = "") -> Finish:
    return Finish(
        request_id=request_id,
        attempt_no=attempt_no,
        outcome=Outcome.OK,
        http_status=200,
        error_code="",
        error_message=message,
        failure="",
        response_model="org/model",
        provider_request_id="abc",
        finish_reason="stop",
        usage=NO_USAGE,
        usage_raw=b"{}",
        cost_usd=Decimal("0.000001234567"),
        cost_status=CostStatus.METERED,
        lines=b"[]",
        headers_ms=1.0,
        ttft_ms=2.0,
        ttfa_ms=2.0,
        last_chunk_ms=3.0,
        e2e_ms=4.0,
    )


def done(request_id: bytes, outcome: Outcome = Outcome.OK) -> RequestDone:
    return RequestDone(
        request_id=request_id,
        received_at=1.0,
        key_id=1,
        project_id=1,
        organization_id=1,
        kind="traffic",
        surface="chat",
        requested_model="org/model",
        model_id=1,
        stream=True,
        outcome=outcome,
        http_status=200,
        error_code="",
        attempts=1,
        endpoint_id=1,
        ttft_ms=2.0,
        e2e_ms=4.0,
        overhead_ms=0.1,
        simulated=False,
        policy="balanced",
        policy_version=1,
        decision=b"",
    )


def whole(request_id: bytes | None = None) -> list[Record]:
    request_id = request_id or new_id()
    return [intent(request_id), progress(request_id, 40), finish(request_id), done(request_id)]


class Read:
    """One segment as a reader finds it."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self.path = path
        self.header: SegmentHeader = read_header(data)
        self.items = list(scan(bytes_reader(data), self.header, HEADER_BYTES))
        frames = [item.body for item in self.items if isinstance(item, Frame)]
        self.records = [record for body in frames for record in decode_all(body)]
        self.damaged = [item for item in self.items if isinstance(item, Damaged)]
        last = self.items[-1] if self.items else None
        self.ended = last.how if isinstance(last, Ended) else ""


def segments(folder: Path) -> list[Path]:
    named = [(parse_segment_name(path.name), path) for path in folder.iterdir()]
    return [path for name, path in sorted((n, p) for n, p in named if n is not None)]


def read_folder(folder: Path) -> list[Read]:
    return [Read(path) for path in segments(folder)]


def records_in(folder: Path) -> list[Record]:
    return [record for read in read_folder(folder) for record in read.records]


def is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def unsettled(records: list[Record]) -> set[bytes]:
    """Requests that a reader would have to settle, by the rules of the format."""
    asked = {record.request_id for record in records if isinstance(record, Intent)}
    return asked - {record.request_id for record in records if isinstance(record, RequestDone)}
