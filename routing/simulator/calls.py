"""One chat request at one provider: its headers, its row in the journal, its end."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from routing.simulator.asks import Refusal
from routing.simulator.checks import OWN_COOKIE
from routing.simulator.envelopes import Trouble, envelope, status_on_wire, stream_error
from routing.simulator.faults import Fault
from routing.simulator.http11 import Exchange, Headers
from routing.simulator.journal import Row, Violation
from routing.simulator.prices import Tally
from routing.simulator.session import ENCODER, Dialect
from routing.simulator.world import Provider

if TYPE_CHECKING:
    from routing.simulator.service import Service

logger = logging.getLogger("panelboard.simulator")

JSON_TYPE = (b"content-type", b"application/json")
# A provider's answers carry headers that are nobody else's business: the hub must not pass them on.
ODD_HEADERS: Headers = [
    (b"server", b"panelboard-simulator"),
    (b"set-cookie", OWN_COOKIE + b"; Path=/; HttpOnly"),
    (b"x-organization", b"org-simulated"),
    (b"x-simulated", b"1"),
]


class Call:
    """`end` is called exactly once, whatever happens; later calls are ignored."""

    def __init__(
        self,
        service: Service,
        exchange: Exchange,
        provider: Provider,
        row: Row,
        dialect: Dialect | None = None,
    ) -> None:
        """`dialect` is said where it is not the one that the provider is known by."""
        self.service = service
        self.exchange = exchange
        self.provider = provider
        self.row = row
        self.dialect = dialect or service.dialect_of(provider)
        self.started = service.wheel.now()
        self.own_id = "req_" + hashlib.sha256(row.inference_id.encode()).hexdigest()[:24]
        self.ended = False
        self.at_end: Callable[[], None] | None = None

    def headers(self, *first: tuple[bytes, bytes]) -> Headers:
        service = self.service
        return [
            *first,
            (b"inference-id", self.row.inference_id.encode()),
            *self.dialect.headers(self.provider, self.own_id),
            *service.limits.headers(self.provider, service.wall()),
            *ODD_HEADERS,
        ]

    def refuse(self, refusal: Refusal) -> None:
        if refusal.violation:
            self.note_violation(refusal.violation)
        self.answer_trouble(
            Trouble(
                status=refusal.status,
                message=refusal.message,
                kind=refusal.kind,
                code=refusal.code,
                param=refusal.param,
                request_id=self.own_id,
                retry_after=refusal.retry_after,
            ),
            "server",
        )

    def answer_trouble(self, trouble: Trouble, closed_by: str) -> None:
        name = self.provider.persona.envelope
        status = status_on_wire(name, trouble.status)
        headers = self.headers(JSON_TYPE)
        if trouble.retry_after:
            headers.append((b"retry-after", trouble.retry_after.encode()))
        self.answer(status, headers, ENCODER.encode(envelope(name, trouble)), closed_by)

    def answer(self, status: int, headers: Headers, body: bytes, closed_by: str) -> None:
        self.row.status = status
        self.end(closed_by)
        self.exchange.respond(status, headers, body)

    def trouble_of(self, fault: Fault) -> Trouble:
        return Trouble(
            status=fault.status,
            message=fault.message,
            code=fault.code,
            request_id=self.own_id,
            retry_after="" if fault.retry_after is None else str(fault.retry_after),
        )

    def error_frame(self, fault: Fault) -> bytes:
        body = stream_error(self.provider.persona.envelope, self.trouble_of(fault))
        return self.dialect.error_frame(body)

    def note_violation(self, problem: str) -> None:
        row = self.row
        row.violations = [*row.violations, problem]
        self.service.journal.note_violation(
            Violation(row.seq, self.service.wall(), row.provider, row.request_id, problem)
        )
        logger.warning(
            "violation at %s: %s (request %s)",
            row.provider,
            problem,
            row.request_id or "without id",
        )

    def note_fault(self, fault: Fault) -> None:
        row = self.row
        row.fault = fault.fault
        logger.info(
            "fault %s at %s %s (request %s)",
            fault.fault,
            row.provider,
            row.model,
            row.request_id or "without id",
        )

    def bill(self, tally: Tally, cost_usd: Decimal) -> None:
        if not self.ended:
            self.service.journal.bill(self.row, tally, cost_usd)

    def end(self, closed_by: str) -> None:
        if self.ended:
            return
        self.ended = True
        self.service.journal.end(self.row, self.service.wall(), closed_by)
        if self.at_end is not None:
            self.at_end()
