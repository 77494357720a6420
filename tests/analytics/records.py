"""Records as the gateway writes them, with every field set to something plausible."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from routing.core.charges import ChargeLine, CostStatus
from routing.core.decision import Candidate, Decision, to_json
from routing.core.ids import uuid7
from routing.core.record import Finish, Intent, Outcome, Progress, RequestDone, encode_lines
from routing.core.usage import Meter, Usage

NOON = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
_numbers = itertools.count(1)


def request_id(at: dt.datetime = NOON) -> UUID:
    bits = random.Random(next(_numbers))  # distinct, and the same in every run
    return uuid7(int(at.timestamp() * 1000), bits.getrandbits)


LINES = (
    ChargeLine(Meter.INPUT, 800, 1, Decimal("0.00012")),
    ChargeLine(Meter.OUTPUT, 500, 2, Decimal("0.0003")),
)


def decision(endpoint_id: int = 1) -> bytes:
    candidates = (
        Candidate(endpoint_id, 5_000_000, 120.0, 80.0, 0.99, 40, 1.0, 0.7),
        Candidate(endpoint_id + 1, 9_000_000, 90.0, 95.0, 0.98, 30, 1.4, 0.0, "max_price", "0.10"),
    )
    order = (endpoint_id,)
    return to_json(Decision("balanced", 3, "balanced", "acme/one", candidates, order, 17))


class Told:
    """One request with all its records; `at` decides its id and with it its day."""

    def __init__(self, at: dt.datetime = NOON, **who: Any) -> None:
        self.id = request_id(at)
        self.at = at.timestamp()
        self.who = {
            "key_id": 1,
            "project_id": 1,
            "organization_id": 1,
            "kind": "traffic",
            "surface": "chat",
            "requested_model": "acme/one:cheapest",
            "model_id": 1,
            "stream": True,
            "simulated": False,
            "policy": "balanced",
            "policy_version": 3,
        } | who

    def intent(self, attempt_no: int = 1, **changes: Any) -> Intent:
        fields = {
            **self.who,
            "request_id": self.id.bytes,
            "attempt_no": attempt_no,
            "started_at": self.at + 0.001,
            "received_at": self.at,
            "endpoint_id": 1,
            "credential_id": 1,
            "upstream_model": "one",
            "input_estimate": 100,
        }
        return Intent(**(fields | changes))

    def progress(self, chars: int, attempt_no: int = 1) -> Progress:
        return Progress(self.id.bytes, attempt_no, chars, chars // 4, "up-1", 110.0)

    def finish(self, attempt_no: int = 1, **changes: Any) -> Finish:
        return msgspec.structs.replace(
            Finish(
                request_id=self.id.bytes,
                attempt_no=attempt_no,
                outcome=Outcome.OK,
                http_status=200,
                error_code="",
                error_message="",
                failure="",
                response_model="one-2026",
                provider_request_id="up-1",
                finish_reason="stop",
                usage=Usage(input_total=1000, cache_read=200, output_total=500),
                usage_raw=b'{"prompt_tokens":1000,"completion_tokens":500}',
                cost_usd=Decimal("0.00042"),
                cost_status=CostStatus.METERED,
                lines=encode_lines(LINES),
                headers_ms=100.0,
                ttft_ms=120.0,
                ttfa_ms=120.0,
                last_chunk_ms=1120.0,
                e2e_ms=1130.0,
                content_frames=100,
                first_chunk_tokens=1,
            ),
            **changes,
        )

    def done(self, **changes: Any) -> RequestDone:
        return msgspec.structs.replace(
            RequestDone(
                request_id=self.id.bytes,
                received_at=self.at,
                outcome=Outcome.OK,
                http_status=200,
                error_code="",
                attempts=1,
                endpoint_id=1,
                ttft_ms=123.0,
                e2e_ms=1135.0,
                overhead_ms=0.4,
                decision=decision(),
                **self.who,
            ),
            **changes,
        )

    def failed(self, attempt_no: int = 1, **changes: Any) -> Finish:
        """An attempt that cost nothing."""
        fields: dict[str, Any] = {
            "outcome": Outcome.PROVIDER_ERROR,
            "http_status": 503,
            "usage": Usage(),
            "usage_raw": b"",
            "cost_usd": Decimal(0),
            "lines": encode_lines(()),
            "ttft_ms": None,
            "ttfa_ms": None,
            "last_chunk_ms": None,
            "failure": "transient",
        }
        return self.finish(attempt_no, **(fields | changes))
