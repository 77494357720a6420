"""Opens a connection to a provider, within its time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from math import inf
from typing import TypeVar

from routing.core.deadlines import Deadlines
from routing.core.errors import ConnectFailed, UpstreamTimeout
from routing.gateway.upstream.guard import Guard, Target
from routing.gateway.upstream.sending import after, connect_problem

Made = TypeVar("Made", bound=asyncio.BaseProtocol)


async def connect_in_time(
    make: Callable[[], Made],
    target: Target,
    guard: Guard,
    context: ssl.SSLContext | None,
    deadlines: Deadlines,
    total_at: float,
) -> Made:
    """Raises ConnectFailed or UpstreamTimeout(connect|total), with nothing sent."""
    loop = asyncio.get_running_loop()
    connect_at = after(loop.time(), deadlines.connect_s)
    due = min(connect_at, total_at)
    try:
        async with asyncio.timeout_at(due if due < inf else None):
            addresses = await guard.addresses(target)
            return await _connect_first(make, target, context, addresses, due)
    except TimeoutError as problem:
        phase = "connect" if connect_at <= total_at else "total"
        raise UpstreamTimeout(
            phase,
            f"{target.authority}: no connection within {deadlines.connect_s:g} s",
            was_sent=False,
        ) from problem


async def _connect_first(
    make: Callable[[], Made],
    target: Target,
    context: ssl.SSLContext | None,
    addresses: list[str],
    due: float,
) -> Made:
    """One address after the other, each with its share of the time that is left."""
    loop = asyncio.get_running_loop()
    problem: OSError | None = None
    for tried, address in enumerate(addresses):
        share_s = (due - loop.time()) / (len(addresses) - tried)
        try:
            async with asyncio.timeout(share_s if share_s < inf else None):
                return await _open_to(make, target, context, address)
        except OSError as exc:  # TLS errors and time-outs too
            problem = exc
    if isinstance(problem, TimeoutError):
        raise problem
    raise ConnectFailed(f"{target.authority}: {connect_problem(problem)}") from problem


async def _open_to(
    make: Callable[[], Made], target: Target, context: ssl.SSLContext | None, address: str
) -> Made:
    loop = asyncio.get_running_loop()
    if context is None:
        _, connection = await loop.create_connection(make, address, target.port)
    else:
        _, connection = await loop.create_connection(
            make, address, target.port, ssl=context, server_hostname=target.host
        )
    return connection
