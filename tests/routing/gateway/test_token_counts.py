"""Who is asked how many tokens a prompt is: only those whom the request may reach."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from typing_extensions import override

from routing.core.catalog import Policy
from routing.gateway import token_counts
from routing.gateway.app import GatewayApp
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from routing.surfaces.messages.surface import MessagesSurface
from tests.routing.factories import policy
from tests.routing.gateway.played import AUTH, PlayedHub
from tests.routing.kinds.support import catalog, endpoint_of, record_of

CLAUDE, LLAMA = "anthropic/claude-haiku-4-5", "meta-llama/Llama-3.1-8B-Instruct"
HI = [{"role": "user", "content": "How many tokens are these?"}]


class Hub(PlayedHub):
    def __init__(self, simulator: ThreadedSimulator, rules: Policy, claude_at: str = "") -> None:
        urls = {"anthropic": claude_at or simulator.base_url("anthropic")}
        found = [("anthropic", "claude-haiku-4-5"), ("groq", "llama-3.1-8b-instant")]
        endpoints = [
            msgspec.structs.replace(
                endpoint_of(
                    record_of(*one), urls.get(one[0]) or simulator.base_url(one[0]), number
                ),
                context_window=10_000,
            )
            for number, one in enumerate(found, 1)
        ]
        super().__init__(simulator, endpoints, rules)

    @override
    def app(self) -> GatewayApp:
        return GatewayApp(self.gateway, {"/v1/messages": MessagesSurface()})

    async def count(self, **more: Any) -> httpx.Response:
        asked = {"model": CLAUDE, "messages": HI, **more}
        await self.gateway.start()
        try:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app())) as http:
                url = "http://hub/v1/messages/count_tokens"
                return await http.post(url, json=asked, headers=AUTH)
        finally:
            await self.gateway.stop(drain_s=0)


@pytest.fixture(scope="module")
def simulator() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(catalog(), Options(speed=0)) as running:
        yield running


def is_estimate(answer: httpx.Response) -> bool:
    assert answer.status_code == 200, answer.text
    assert answer.json()["input_tokens"] > 0
    return answer.headers.get("x-panelboard-estimated") == "true"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"provider": {"only": ["anthropic"]}},
        {"model": f"{CLAUDE}:anthropic"},
        {"model": f"{CLAUDE}:cheapest"},
        {"messages": [{"role": "user", "content": "more than fits there " * 4_000}]},
        {"messages": [{"role": "user", "content": "long " * 60_000}]},
    ],
)
async def test_a_provider_of_the_dialect_counts(
    simulator: ThreadedSimulator, more: dict[str, Any]
) -> None:
    assert not is_estimate(await Hub(simulator, policy()).count(**more))


@pytest.mark.parametrize(
    ("more", "rules"),
    [
        ({"provider": {"ignore": ["anthropic"]}}, {}),
        ({"provider": {"only": ["groq"]}}, {}),
        ({"provider": {"data_collection": "deny"}}, {}),
        ({"provider": {"zdr": True}}, {}),
        ({}, {"data_collection": "deny"}),
        ({}, {"ignore": ("anthropic",)}),
        ({}, {"regions": ("eu",)}),
        ({"model": LLAMA}, {}),
    ],
)
async def test_a_prompt_is_shown_to_nobody_who_may_not_answer_it(
    simulator: ThreadedSimulator, more: dict[str, Any], rules: dict[str, Any]
) -> None:
    assert is_estimate(await Hub(simulator, policy(**rules)).count(**more))


async def test_a_provider_that_hangs_is_not_waited_for_and_the_hub_estimates(
    simulator: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_counts, "COUNT_WITHIN_S", 0.2)
    left = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the hub hangs up
        left.set()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        hub = Hub(simulator, policy(), f"http://127.0.0.1:{port}")
        assert is_estimate(await asyncio.wait_for(hub.count(), 5))
        await asyncio.wait_for(left.wait(), 5)


async def test_a_model_that_does_not_exist_is_refused(simulator: ThreadedSimulator) -> None:
    answer = await Hub(simulator, policy()).count(model="who/knows")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
