"""How a gateway ends: running requests may finish, then they are told, then they are cut."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from routing.gateway.trying import STOPPING

if TYPE_CHECKING:
    from routing.gateway.service import Gateway

LOOK_S = 0.02
TOLD_S = 1.0  # for the last words to reach clients, and for what is cut then to be written down


async def drain(gateway: Gateway, seconds: float) -> None:
    """Returns when nothing runs any more. Every request is settled by then."""
    gateway.is_draining = True
    gateway.waiting.close()
    await _until_idle(gateway, seconds)
    for exchange in list(gateway.running):
        exchange.interrupt(STOPPING)
    await _until_idle(gateway, TOLD_S)
    for exchange in list(gateway.running):
        if exchange.task is not None:
            exchange.task.cancel()
    await _until_idle(gateway, TOLD_S)


async def _until_idle(gateway: Gateway, seconds: float) -> None:
    until = gateway.monotonic() + seconds
    while gateway.running and gateway.monotonic() < until:  # noqa: ASYNC110 - once, at the end
        await asyncio.sleep(LOOK_S)
