"""One request from its plan to its last byte: the attempt loop.

Another endpoint is tried only while nothing was sent to the client. Everything the client gets
comes from one attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from routing.adapters.base import Adapter
from routing.adapters.registry import adapter_for, adapter_in_the_words_of
from routing.core.catalog import Endpoint
from routing.core.errors import FailureClass, HubError, UpstreamError
from routing.gateway.errors import client_error, stopping
from routing.gateway.recording import outcome_of
from routing.gateway.retrying import Retries
from routing.gateway.trying import RESTING, Trying, speaks_natively
from routing.gateway.trying import STOPPING as STOPPING


class Exchange(Trying):
    """`run` answers the client or raises HubError."""

    __slots__ = ()

    async def run(self, attempts: Sequence[Endpoint], max_attempts: int, no: int = 0) -> None:
        """Raises HubError when every attempt failed before the first byte to the client.

        `no` attempts have been made before.
        """
        queue, refused = list(attempts), self.scribe.gateway.refused_keys
        while True:
            endpoint = queue.pop(0)
            adapter = adapter_for(endpoint.provider.dialect, endpoint.kind)
            credential = endpoint.credentials[0]
            if refused.until:
                credential = refused.choose(endpoint, self.scribe.gateway.monotonic())
            try:
                if self.voice is not None:
                    adapter = adapter_in_the_words_of(self.call, endpoint, adapter)
                    self._refuse_losses(adapter, endpoint)
                built = adapter.build(self.call, endpoint, credential.secret)
                if built.dropped and self._wants_all():
                    raise _unsayable(built.dropped)
            except UpstreamError as unsayable:  # not in this dialect; perhaps in the next one's
                if queue:
                    continue
                raise client_error(unsayable, endpoint.provider.name, no) from None
            no += 1
            error = await self._try(adapter, endpoint, no, built, credential.id)
            if error is None:
                return
            if error is RESTING:
                no -= 1
                if queue:
                    continue
                raise self._none_to_try()
            if self.sink.started:
                await self._go_on_or_break_off(endpoint, error, queue, max_attempts)
                return
            if error.failure is FailureClass.CANCELLED:
                self.nobody_waits(error)
                return
            delay_s = self._next(error, queue, max_attempts)
            if delay_s is None:
                raise self.last_word(error, endpoint, no)
            if delay_s:
                await asyncio.sleep(delay_s)

    async def _go_on_or_break_off(
        self, endpoint: Endpoint, error: UpstreamError, queue: list[Endpoint], max_attempts: int
    ) -> None:
        """After content another endpoint may only go on where the client asked for it."""
        call = wait_s = None
        if self.resumer is not None:
            call = self.resumer.again(endpoint, error, self.scribe.money)
        if call is not None:
            wait_s = self._next(error, queue, max_attempts)
        if call is None or wait_s is None:
            await self._break_off(endpoint, error)
            return
        self.call = call
        await asyncio.sleep(wait_s)
        with suppress(HubError):  # nobody could go on
            await self.run(queue, max_attempts, self.scribe.begun)
            return
        await self._break_off(endpoint, error)

    async def go_on_after(
        self, error: UpstreamError, queue: list[Endpoint], max_attempts: int
    ) -> None:
        """The last attempt, made elsewhere, failed. Raises HubError as `run` does."""
        attempt, no = self.scribe.attempt, self.scribe.begun
        assert attempt is not None
        delay_s = self._next(error, queue, max_attempts)
        if delay_s is None:
            raise self.last_word(error, attempt.endpoint, no)
        await asyncio.sleep(delay_s)
        await self.run(queue, max_attempts, no)

    def _none_to_try(self) -> HubError:
        """Every endpoint that was left is out, and is tried by others just now."""
        wait_s = 1.0 + 4.0 * self.scribe.gateway.rng.random()
        return HubError(
            503,
            "temporarily_unavailable",
            f"Every endpoint of {self.scribe.facts.model} has failed just now and is tried with "
            f"few requests until it answers again. Try again in {wait_s:.0f} s",
            kind="server_error",
            retry_after_s=wait_s,
            should_retry=True,
        )

    def nobody_waits(self, error: UpstreamError) -> None:
        """The client left before it got anything. Raises HubError where it was we who left."""
        if error is STOPPING:
            raise stopping()
        self.scribe.request_done(outcome_of(error), 499, error.code)

    def _refuse_losses(self, adapter: Adapter, endpoint: Endpoint) -> None:
        """Raises UpstreamError(CLIENT) where too much of the request would stay behind."""
        voice = self.voice
        if voice is None or speaks_natively(self.call, adapter):
            return
        lost = voice.uncarried if self._wants_all() else voice.essential
        if lost:
            raise _unsayable(lost)

    def _wants_all(self) -> bool:
        """Every parameter has to be taken: the request says so, or the policy that holds for it."""
        asked = self.scribe.facts.preferences.require_parameters
        return asked or (self.special is not None and self.special.require_parameters)

    def _next(self, error: UpstreamError, queue: list[Endpoint], max_attempts: int) -> float | None:
        """Seconds to wait before the next attempt, or None when this was the last."""
        attempt, gateway = self.scribe.attempt, self.scribe.gateway
        if attempt is None or self.scribe.begun >= max_attempts:
            return None
        if self.retries is None:
            wanted = None if self.special is None else self.special.retry_unanswered
            self.retries = Retries(gateway.retries, gateway.rng, self.call.kind, wanted)
        now = gateway.monotonic()
        has_other = gateway.refused_keys.has_other(attempt.endpoint, now)
        wait_s = self.retries.next_wait_s(
            error, attempt, queue, now, has_other_credential=has_other
        )
        total_s = self.limits_of(attempt.endpoint).total_s
        if total_s and now + (wait_s or 0.0) >= self.scribe.received_at + total_s:
            return None
        return wait_s

    def last_word(self, error: UpstreamError, endpoint: Endpoint, no: int) -> HubError:
        told = client_error(error, endpoint.provider.name, no)
        if self.retries is not None and self.retries.is_out_of_budget:
            told.should_retry = False
            told.detail = {**(told.detail or {}), "retry_budget": "exhausted"}
        return told


def _unsayable(lost: Sequence[str]) -> UpstreamError:
    return UpstreamError(
        FailureClass.CLIENT,
        f"{', '.join(lost)} cannot be sent there. Leave it out, or choose a model or provider "
        "that takes it",
        code="unsupported_parameter",
        was_sent=False,
    )
