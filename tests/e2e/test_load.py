"""Many streams at once through one gateway process."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from itertools import accumulate
from typing import Any

import httpx
import pytest

from tests.support.hub_tools import MODEL, SimulatorControl, chat_body
from tests.support.running_hub import RunningHub

pytestmark = pytest.mark.e2e

STREAMS = 500
PROVIDERS = ("novita", "nebius", "together", "deepinfra")
CHUNK_EVERY_S = 1.0  # slow enough that all are open before the first ends


async def stream(client: httpx.AsyncClient, number: int) -> httpx.Response:
    body = chat_body(f"Write line {number}.", stream=True, max_tokens=12)
    body["model"] = f"{MODEL}:{PROVIDERS[number % len(PROVIDERS)]}"
    return await client.post("/v1/chat/completions", json=body)


async def streams(hub: RunningHub) -> list[httpx.Response]:
    async with httpx.AsyncClient(
        base_url=hub.url,
        headers={"authorization": f"Bearer {hub.api_key}"},
        limits=httpx.Limits(max_connections=STREAMS),
        timeout=60,
    ) as client:
        return await asyncio.gather(*(stream(client, number) for number in range(STREAMS)))


def most_at_once(rows: list[dict[str, Any]]) -> int:
    """As the providers saw it."""
    steps = [(row["time"], 1) for row in rows] + [(row["ended_at"], -1) for row in rows]
    return max(accumulate(step for _, step in sorted(steps)))


def test_five_hundred_streams_at_once_end_without_error(
    hub: RunningHub, simulator: SimulatorControl
) -> None:
    with ExitStack() as faults:
        for provider in PROVIDERS:
            faults.enter_context(simulator.fault(provider, "pace", seconds=CHUNK_EVERY_S))
        answers = asyncio.run(streams(hub))
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.text.endswith("data: [DONE]\n\n") for answer in answers)
    ours = {f"{answer.headers['x-request-id']}-1" for answer in answers}
    assert len(ours) == STREAMS
    assert (
        most_at_once([row for row in simulator.journal() if row["request_id"] in ours]) == STREAMS
    )
