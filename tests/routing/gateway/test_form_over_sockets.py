"""Broken tool calls of a provider, over real sockets: what is learned, and where requests go then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any

import msgspec
import orjson
import pytest

from routing.adapters.quirks import quirks_from
from routing.core.catalog import Endpoint
from routing.core.errors import BrokenAnswer
from routing.core.exploration import NONE
from routing.gateway.app import GatewayApp
from routing.gateway.form import ASIDE_BYTES
from routing.gateway.service import Gateway
from routing.gateway.settings import GatewaySettings
from routing.gateway.upstream.guard import AllowList
from routing.gateway.upstream.registry import make_upstream
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from routing.surfaces.messages.surface import MessagesSurface
from tests.routing.factories import endpoint, model, policy, provider, stats
from tests.routing.gateway.scripted import (
    DONE,
    END,
    HELLO,
    PEPPER,
    ROLE,
    TOKEN,
    Bench,
    Client,
    MemorySpool,
    Snapshots,
    frame,
    plain,
    plain_answer,
    usage_frame,
)
from tests.routing.gateway.scripted import stream as stream_of
from tests.routing.simulator.plays import CATALOG, OPEN_MODEL, WEATHER_TOOL

TOOLS = {
    "messages": [{"role": "user", "content": "Weather in Oslo?"}],
    "tools": [{"type": "function", "function": WEATHER_TOOL}],
}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FORMED = {
    "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}
}
EXPLAIN = [(b"x-panelboard-explain", b"1")]
FAIR = 0.4  # of two that cost and promise the same; speed, as it comes, moves it a little
SPECS = {row["slug"]: row for row in CATALOG["providers"]}


@pytest.fixture(scope="module")
def played() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator([CATALOG], Options(speed=0)) as simulator:
        yield simulator


class Hub(Bench):
    """The whole gateway, with the providers of the simulator behind real sockets."""

    def __init__(self, played: ThreadedSimulator, *slugs: str) -> None:
        played.clear()
        self.skew_s = 0.0
        ends = tuple(self._endpoint(played, slug, n + 1) for n, slug in enumerate(slugs))
        self.spool = MemorySpool()
        self.gateway = Gateway(
            snapshots=Snapshots(ends, policy(exploration=NONE)),
            upstream=make_upstream("fast", AllowList.parse(["127.0.0.1"])),
            spool=self.spool,
            settings=GatewaySettings(pepper=PEPPER, tick_s=0.01),
            rng=Random(5),
            monotonic=lambda: time.monotonic() + self.skew_s,
        )

    @staticmethod
    def _endpoint(played: ThreadedSimulator, slug: str, number: int) -> Endpoint:
        spec = SPECS[slug]
        home = provider(
            slug,
            number,
            played.base_url(slug),
            quirks_from(spec.get("quirks", {})),
            dialect=spec["dialect"],
        )
        upstream = next(
            row["upstream_model"] for row in CATALOG["endpoints"] if row["provider"] == slug
        )
        end = endpoint(slug, number, at=home, of=model(OPEN_MODEL), stats=stats(400, 90))
        return msgspec.structs.replace(end, upstream_model=upstream)

    async def at_groq(self, **body: Any) -> dict[str, Any]:
        """As the decision of a request that is asked now, or a little later, has it."""
        self.skew_s += 2.0  # figures are worked out anew once a second
        client = await self.send(headers=EXPLAIN, **body)
        decision = orjson.loads(client.headers[b"x-panelboard-decision"])
        return next(one for one in decision["candidates"] if one["provider"] == "groq")

    async def share_of_the_first(self, **body: Any) -> float:
        return float((await self.at_groq(**body))["draw_probability"])


@pytest.fixture
async def hub(played: ThreadedSimulator) -> AsyncIterator[Hub]:
    opened = Hub(played, "groq", "together")
    yield opened
    await opened.gateway.upstream.aclose()


def pinned(slug: str, body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "provider": {"only": [slug]}}


async def test_requests_with_tools_leave_a_provider_whose_calls_are_broken_and_others_stay(
    hub: Hub, played: ThreadedSimulator
) -> None:
    assert await hub.share_of_the_first(**TOOLS) > FAIR
    played.add_fault("broken_form", provider="groq")
    for n in range(30):
        client = await hub.send(**pinned("groq", TOOLS), stream=n % 2 == 0)
        assert client.status == 200
    assert await hub.share_of_the_first(**TOOLS) < 0.1
    assert await hub.share_of_the_first(**FORMED) < 0.1
    assert await hub.share_of_the_first() > FAIR


async def test_the_decision_says_how_often_the_form_was_sound_where_one_is_needed(
    hub: Hub, played: ThreadedSimulator
) -> None:
    for broken in (False, True):
        if broken:
            played.add_fault("broken_form", provider="groq")
        for _ in range(15):
            await hub.send(**pinned("groq", TOOLS))
    found = await hub.at_groq(**TOOLS)
    assert found["valid_rate"] == pytest.approx((5 + 15) / 35, abs=0.02)  # 5 are assumed
    assert found["valid_samples"] == 30
    plain = await hub.at_groq()
    assert (plain["valid_rate"], plain["valid_samples"]) == (None, None)


async def test_sound_calls_leave_everything_as_it_is(hub: Hub) -> None:
    for n in range(10):
        await hub.send(**pinned("groq", TOOLS), stream=n % 2 == 0)
    assert hub.gateway.health.forms.take() == {1: (10, 10)}
    assert await hub.share_of_the_first(**TOOLS) > FAIR


async def test_plain_requests_are_not_looked_at(hub: Hub, played: ThreadedSimulator) -> None:
    played.add_fault("broken_form", provider="groq")
    for stream in (False, True):
        await hub.send(**pinned("groq", {}), stream=stream)
    assert hub.gateway.health.forms.take() == {}


@pytest.mark.parametrize("slug", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("body", [TOOLS, FORMED], ids=["tools", "schema"])
@pytest.mark.parametrize("stream", [False, True])
async def test_every_dialect_of_providers_is_looked_at(
    played: ThreadedSimulator, slug: str, body: dict[str, Any], stream: bool
) -> None:
    hub = Hub(played, slug)
    await hub.send(**body, stream=stream)
    assert hub.gateway.health.forms.take() == {1: (1, 1)}
    played.add_fault("broken_form")
    client = await hub.send(**body, stream=stream)
    await hub.gateway.upstream.aclose()
    assert client.status == 200
    assert hub.gateway.health.forms.take() == {1: (1, 0)}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("slug", ["anthropic", "openai"])
async def test_messages_are_looked_at_in_their_own_words_and_translated(
    played: ThreadedSimulator, slug: str, stream: bool
) -> None:
    hub = Hub(played, slug)
    app = GatewayApp(hub.gateway, {"/v1/messages": MessagesSurface()})
    tool = {"name": WEATHER_TOOL["name"], "input_schema": WEATHER_TOOL["parameters"]}
    body = {"model": OPEN_MODEL, "max_tokens": 200, "tools": [tool], "stream": stream}
    for fault, sound in ("", 1), ("broken_form", 0):
        if fault:
            played.add_fault(fault)
        client = Client(orjson.dumps({**body, "messages": TOOLS["messages"]}))
        headers = [(b"authorization", b"Bearer " + TOKEN)]
        scope = {"type": "http", "path": "/v1/messages", "method": "POST", "headers": headers}
        await app(scope, client.receive, client.send)
        assert (client.status, b"tool_use" in b"".join(client.pieces)) == (200, True)
        assert hub.gateway.health.forms.take() == {1: (1, sound)}
    await hub.gateway.upstream.aclose()


async def test_a_long_answer_is_looked_at_aside() -> None:
    long = "x" * ASIDE_BYTES
    call = {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{"}}
    said = {"role": "assistant", "content": long, "tool_calls": [call]}
    answer = {**orjson.loads(plain_answer()), "choices": [
        {"index": 0, "message": said, "finish_reason": "tool_calls"}
    ]}  # fmt: skip
    bench = Bench(plain(orjson.dumps(answer)))
    await bench.send(**TOOLS)
    async with asyncio.timeout(5):
        while not (found := bench.gateway.health.forms.take()):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert found == {1: (1, 0)}


async def test_a_stream_that_went_on_elsewhere_is_nobody_s_whole_answer() -> None:
    cut = BrokenAnswer("early_eof", "cut")
    rest = stream_of(ROLE, frame({"content": " you"}), END, usage_frame(), DONE)
    bench = Bench(stream_of(ROLE, HELLO, cut), rest)
    wanted = [(b"x-panelboard-resume", b"continue")]
    client = await bench.send(headers=wanted, stream=True, tool_choice="required", **TOOLS)
    assert client.text.endswith("data: [DONE]\n\n")
    assert bench.gateway.health.forms.take() == {}  # though no tool was called
