"""uvicorn, stopped in steps: not ready, then no new requests, then last words, then the end.

signal -> [notice] `/readyz` says no, requests are still taken: balancers look elsewhere
       -> [drain]  no new connections; running requests may finish
       -> [5 s]    those that still run get an error event, and are settled
"""

from __future__ import annotations

import asyncio
import socket
import time
from types import FrameType

import uvicorn
from typing_extensions import override

from dashboard.runtime import current_gateway
from routing.gateway.draining import drain

LAST_WORDS_S = 5.0


class DrainingServer(uvicorn.Server):
    """`drain_s` is the time from the signal to the end, `notice_s` the part of it before draining.

    A second signal ends the notice.
    """

    def __init__(self, config: uvicorn.Config, *, drain_s: float, notice_s: float) -> None:
        notice_s = min(notice_s, drain_s / 2)
        config.timeout_graceful_shutdown = max(1, round(drain_s - notice_s))
        super().__init__(config)
        self._notice_s = notice_s
        left_s = drain_s - notice_s
        self._finish_s = max(left_s - LAST_WORDS_S, left_s / 2)
        self._exit_at: float | None = None

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._exit_at is not None or not self._notice_s:
            super().handle_exit(sig, frame)
            return
        self._captured_signals.append(sig)
        self._exit_at = time.monotonic() + self._notice_s
        gateway = current_gateway()
        if gateway is not None:
            gateway.is_leaving = True

    @override
    async def on_tick(self, counter: int) -> bool:
        if self._exit_at is not None and time.monotonic() >= self._exit_at:
            self.should_exit = True
        return await super().on_tick(counter)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        gateway, ending = current_gateway(), None
        if gateway is not None:
            gateway.is_leaving = gateway.is_draining = True
            ending = asyncio.create_task(drain(gateway, self._finish_s))
        await super().shutdown(sockets)
        if ending is not None:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
