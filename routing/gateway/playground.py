"""The side-by-side page's way in: the path of `/v1/chat/completions`, held to one endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import orjson

from routing.core.catalog import Caller
from routing.core.errors import HubError
from routing.gateway.asgi import AsgiSink, Message, Sink
from routing.gateway.errors import error_event
from routing.gateway.parse import bad_request, parse_chat
from routing.gateway.recording import output_speed_tps
from routing.gateway.scribe import Scribe
from routing.gateway.service import Gateway, outcome_of_error

QUEUE_CHUNKS = 64  # a page that does not read makes the provider wait


async def stream_one(
    gateway: Gateway, caller: Caller, endpoint_id: int, body: dict[str, Any]
) -> AsyncIterator[bytes]:
    """SSE bytes of one endpoint's answer, then one `event: panelboard` frame with its figures:
    ttft_ms, output_tps, e2e_ms, output_tokens, cost_usd (decimal string), cost_status, request_id.
    Closing the iterator early cancels the upstream request and books what it used.
    """
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_CHUNKS)
    gone = asyncio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message.get("body"):
            await queue.put(message["body"])

    sink = AsgiSink(receive, send)
    task = asyncio.create_task(_run(gateway, caller, endpoint_id, body, sink, queue))
    try:
        while (data := await queue.get()) is not None:
            yield data
        yield await task
    finally:
        gone.set()
        sink.gone = True
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _run(
    gateway: Gateway,
    caller: Caller,
    endpoint_id: int,
    body: dict[str, Any],
    sink: Sink,
    queue: asyncio.Queue[bytes | None],
) -> bytes:
    received_at, received_wall = gateway.monotonic(), gateway.wall()
    request_id = gateway.new_request_id(received_wall)
    scribe = Scribe(gateway, request_id, caller, received_at, received_wall)
    try:
        call, facts = parse_chat(*_pinned(gateway, endpoint_id, body), gateway.snapshot)
        await gateway.run(scribe, sink, call, facts, endpoint_id=endpoint_id)
    except HubError as error:
        scribe.request_done(outcome_of_error(error, scribe), error.status, error.code)
        await queue.put(error_event(error, scribe.request_id_text.decode()))
    finally:
        sink.close()
    await queue.put(None)
    return _figures(scribe)


def _pinned(
    gateway: Gateway, endpoint_id: int, body: dict[str, Any]
) -> tuple[dict[str, Any], bytes]:
    endpoint = gateway.snapshot.endpoints.get(endpoint_id)
    if endpoint is None:
        raise bad_request("unknown_endpoint", "This endpoint no longer exists. Choose another one")
    pinned = {
        **body,
        "model": f"{endpoint.model.name}:{endpoint.provider.slug}",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return pinned, orjson.dumps(pinned)


def _figures(scribe: Scribe) -> bytes:
    attempt, money = scribe.attempt, scribe.money
    figures: dict[str, Any] = {"request_id": scribe.request_id_text.decode()}
    if attempt is not None and money is not None:
        ttft_ms, last_ms = attempt.ms(attempt.content_at), attempt.ms(attempt.last_chunk_at)
        output_tokens = money.usage.output_total
        figures |= {
            "ttft_ms": ttft_ms,
            "e2e_ms": last_ms,
            "output_tokens": output_tokens,
            "output_tps": output_speed_tps(output_tokens, ttft_ms, last_ms),
            "cost_usd": f"{money.charge.amount_usd.normalize():f}",
            "cost_status": str(money.status),
            "simulated": attempt.endpoint.provider.simulated,
        }
    return b"event: panelboard\ndata: " + orjson.dumps(figures) + b"\n\n"
