"""Prompt caching at each maker: what clients write of it, what is read and written, what it costs.

The hub's bill is held against the providers' own books.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import orjson
import pytest

from routing.core.charges import CostStatus
from routing.core.usage import Meter
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from tests.routing.kinds.live import LiveHub, data_of
from tests.routing.kinds.support import catalog

CLAUDE, GPT, GEMINI = "anthropic/claude-haiku-4-5", "openai/gpt-4.1", "google/gemini-2.5-flash"
LONG = "The panel has many circuits. " * 600
USER = {"role": "user", "content": "How many?"}


@pytest.fixture(scope="module")
def played() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(catalog(), Options(speed=0, keep_requests=True)) as running:
        yield running


@pytest.fixture
async def hub(played: ThreadedSimulator) -> AsyncIterator[LiveHub]:
    played.clear()
    hub = LiveHub(played, "claude-haiku-4-5", "gpt-4.1", "gemini-2.5-flash")
    async with hub.served():
        yield hub
    assert played.violations() == []
    assert hub.cost() == hub.billed()


async def ask(hub: LiveHub, model: str, **body: Any) -> dict[str, Any]:
    answer = await hub.post("/chat/completions", model=model, **body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def lines_of(hub: LiveHub) -> dict[str, int]:
    """What the last attempt was charged for."""
    return {line["meter"]: line["quantity"] for line in orjson.loads(hub.finish.lines)}


def marked(ttl: str | None, where: str) -> list[dict[str, Any]]:
    """A long system prompt with a cache mark, as users of other gateways write it."""
    mark = {"type": "ephemeral", **({"ttl": ttl} if ttl else {})}
    if where == "part":
        part = {"type": "text", "text": LONG, "cache_control": mark}
        return [{"role": "system", "content": [part]}, USER]
    return [{"role": "system", "content": LONG, "cache_control": mark}, USER]


@pytest.mark.parametrize("where", ["part", "message"])
@pytest.mark.parametrize(
    ("ttl", "meter"),
    [(None, Meter.CACHE_WRITE_5M), ("5m", Meter.CACHE_WRITE_5M), ("1h", Meter.CACHE_WRITE_1H)],
)
async def test_a_mark_in_chat_is_written_at_anthropic_and_then_read(
    hub: LiveHub, ttl: str | None, meter: Meter, where: str
) -> None:
    messages = marked(ttl, where)
    first = await ask(hub, CLAUDE, messages=messages)
    written = lines_of(hub)
    second = await ask(hub, CLAUDE, messages=messages)
    read = lines_of(hub)
    details = first["usage"]["prompt_tokens_details"]
    assert written[meter] == details["cache_write_tokens"] > 4000
    assert Meter.CACHE_READ not in written
    assert read[Meter.CACHE_READ] == written[meter]
    assert meter not in read
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == written[meter]
    assert second["usage"]["prompt_tokens"] == first["usage"]["prompt_tokens"]
    costs = [finish.cost_usd for finish in hub.spool.finishes]
    assert costs[1] < costs[0] / 5
    assert hub.finish.cost_status == CostStatus.METERED


async def test_a_marked_tool_is_cached_too(hub: LiveHub) -> None:
    function = {"name": "look", "description": LONG, "parameters": {"type": "object"}}
    tool = {"type": "function", "function": function, "cache_control": {"type": "ephemeral"}}
    await ask(hub, CLAUDE, messages=[USER], tools=[tool], tool_choice="none")
    assert lines_of(hub)[Meter.CACHE_WRITE_5M] > 4000


async def test_a_stream_tells_and_bills_the_same_of_the_cache(hub: LiveHub) -> None:
    messages = marked("1h", "part")
    for meter, told in (
        (Meter.CACHE_WRITE_1H, "cache_write_tokens"),
        (Meter.CACHE_READ, "cached_tokens"),
    ):
        answer = await hub.post(
            "/chat/completions",
            model=CLAUDE,
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
        )
        last = orjson.loads(data_of(answer.content)[-2])
        assert last["usage"]["prompt_tokens_details"][told] == lines_of(hub)[meter] > 4000
        assert Decimal(last["usage"]["cost"]) == hub.finish.cost_usd


async def test_openai_caches_by_itself_and_is_told_the_clients_wishes(hub: LiveHub) -> None:
    wishes = {"prompt_cache_key": "panel", "prompt_cache_retention": "24h"}
    messages = [{"role": "system", "content": LONG}, USER]
    for _ in range(2):
        answer = await ask(hub, GPT, messages=messages, **wishes)
    sent = hub.simulator.received()[-1]["body"]
    assert {name: sent[name] for name in wishes} == wishes
    cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert lines_of(hub)[Meter.CACHE_READ] == cached > 4000


async def test_gemini_is_told_the_name_of_what_is_cached(hub: LiveHub) -> None:
    messages = [{"role": "system", "content": LONG}, USER]
    name = "cachedContents/panel"
    google = {"google": {"cached_content": name}}
    for own in ({"cachedContent": name}, {"cached_content": name}, {"extra_body": google}):
        await ask(hub, GEMINI, messages=messages, **own)
        sent = hub.simulator.received()[-1]["body"]
        assert sent["cachedContent"] == name
        assert not {"cached_content", "extra_body"} & sent.keys()
    assert lines_of(hub)[Meter.CACHE_READ] > 4000


async def test_a_mark_that_has_no_place_is_named(hub: LiveHub) -> None:
    answer = await hub.post("/chat/completions", model=GEMINI, messages=marked("5m", "part"))
    assert answer.status_code == 200
    dropped = answer.headers.get("x-panelboard-dropped-params", "")
    assert dropped == "messages.content.cache_control"
    sent = hub.simulator.received()[-1]["body"]
    assert b"cache_control" not in orjson.dumps(sent)
