"""Copies of requests that go to a second provider: nobody waits for them, and they are booked apart.

A copy is a request of its own in the log, of the kind `shadow`, with the same key and project. It
stops at its policy's daily cap, which counts what was expected until the charge is known.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
from typing_extensions import override

from routing.adapters.base import ChatCall, Headers
from routing.core.catalog import Endpoint, Policy
from routing.core.decision import Decision, Plan
from routing.core.errors import HubError
from routing.core.pricing import PICO_PER_USD
from routing.core.record import Outcome
from routing.core.request import needs_other_words
from routing.core.shadow import SpendCap, mirrored_to
from routing.gateway.asgi import Sink
from routing.gateway.exchange import Exchange
from routing.gateway.fixed_headers import NO_HEADERS, FixedHeaders
from routing.gateway.scribe import Scribe

if TYPE_CHECKING:
    from routing.gateway.service import Gateway

logger = logging.getLogger("panelboard.gateway")

KIND = "shadow"
MOST_RUNNING = 50  # of one process: copies never crowd out what clients wait for


class NoClient(Sink):
    """Takes an answer and forgets it."""

    write_at_once: Callable[[bytes], bool] | None = None
    write_framed: Callable[[bytes], bool] | None = None

    def __init__(self) -> None:
        self.started = False
        self.finished = False
        self.gone = False

    @override
    def watch(self, on_gone: Callable[[], object]) -> None:
        """Nobody can leave."""

    @override
    async def start(self, status: int, headers: Headers, fixed: FixedHeaders = NO_HEADERS) -> None:
        self.started = True

    @override
    async def write(self, data: bytes) -> None:
        pass

    @override
    async def finish(self, data: bytes = b"") -> None:
        self.finished = True

    @override
    async def reply(
        self, status: int, headers: Headers, body: bytes, fixed: FixedHeaders = NO_HEADERS
    ) -> None:
        self.started = self.finished = True

    @override
    def close(self) -> None:
        self.finished = True


class Shadows:
    """The running copies of one gateway process, and what they may spend."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._caps: dict[str, SpendCap] = {}  # by the policy's name
        self.running: set[asyncio.Task[None]] = set()

    def mirror(self, scribe: Scribe, call: ChatCall, policy: Policy, planned: Plan) -> None:
        """Sends a copy if the policy wants one of this request. Never raises, never waits."""
        gateway = self._gateway
        wanted = policy.settings(policy.rule_for(scribe.facts, scribe.started_utc)).shadow
        endpoint = mirrored_to(planned, wanted, gateway.rng.random())
        if wanted is None or endpoint is None or len(self.running) >= MOST_RUNNING:
            return
        if len(gateway.running) >= gateway.room or gateway.overload.reason:
            return  # clients come first
        if needs_other_words(scribe.facts, endpoint.provider.dialect):
            return  # a copy goes out in the provider's usual dialect
        cap = self._caps.setdefault(policy.name, SpendCap())
        expected_usd = _expected_usd(planned.decision, endpoint)
        most_usd = Decimal(wanted.max_usd_per_day) / gateway.learning.processes
        if not cap.take(expected_usd, most_usd, scribe.started_utc):
            return
        copy = self._copy_of(scribe, planned)
        task = asyncio.get_running_loop().create_task(
            self._run(copy, call, endpoint, cap, expected_usd)
        )
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    def _copy_of(self, scribe: Scribe, planned: Plan) -> Scribe:
        gateway = self._gateway
        now, wall = gateway.monotonic(), gateway.wall()
        caller = msgspec.structs.replace(scribe.caller, kind=KIND, limits=None)
        copy = Scribe(gateway, gateway.new_request_id(wall), caller, now, wall)
        copy.surface, copy.facts = scribe.surface, scribe.facts
        copy.decided(planned.decision, planned.record)
        return copy

    async def _run(
        self, copy: Scribe, call: ChatCall, endpoint: Endpoint, cap: SpendCap, expected_usd: Decimal
    ) -> None:
        gateway = self._gateway
        exchange = Exchange(copy, NoClient(), call)
        gateway.running.add(exchange)
        try:
            await exchange.run([endpoint], 1)
        except HubError as error:
            copy.request_done(Outcome.PROVIDER_ERROR, error.status, error.code)
        except asyncio.CancelledError:
            copy.request_done(Outcome.HUB_ERROR, 503, exchange.take_stop().code)
        except Exception:
            logger.exception("the copy of a request to %s failed in the gateway", endpoint.key)
        finally:
            gateway.running.discard(exchange)
            spent_usd = copy.money.charge.amount_usd if copy.money is not None else Decimal(0)
            cap.correct(expected_usd, spent_usd)


def _expected_usd(decision: Decision, endpoint: Endpoint) -> Decimal:
    for candidate in decision.candidates:
        if candidate.endpoint_id == endpoint.id:
            return Decimal(candidate.cost_pico) / PICO_PER_USD
    return Decimal(0)
