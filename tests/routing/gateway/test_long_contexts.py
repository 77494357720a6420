"""Prompts of a million tokens: read once, sent on as they came, and priced in their tier."""

from __future__ import annotations

import base64
import threading
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import orjson
import pytest

from routing.core.catalog import Endpoint
from routing.core.charges import CostStatus
from routing.gateway import parse
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from tests.routing.factories import MODEL, endpoint
from tests.routing.gateway.scripted import Bench, Client, plain
from tests.routing.kinds.live import LiveHub
from tests.routing.kinds.support import catalog

LINE = 'He said "nine circuits", and: größer, 4 °C.\n'
TEXT = LINE * (15_000_000 // len(LINE.encode()))


def roomy(slug: str, number: int) -> Endpoint:
    return endpoint(slug, number, context_window=20_000_000)


def bench(*answers: Any) -> Bench:
    return Bench(*answers, endpoints=(roomy("first", 1), roomy("second", 2)))


def as_written(model: str, text: str = TEXT) -> bytes:
    """With the blanks and escapes of a client that is not ours."""
    words = orjson.dumps(text).replace(b"\\n", b"\\u000a")
    messages = b'[ {"role" : "user", "content" : %b} ]' % words
    return b'{"model":%b, "messages": %b, "temperature": 0.50}' % (orjson.dumps(model), messages)


async def test_fifteen_megabytes_are_sent_as_they_were_written() -> None:
    raw = as_written(MODEL)
    assert len(raw) > 15_000_000
    hub = bench(plain())
    answer = await hub.ask(Client(raw))
    assert answer.status == 200
    (sent,) = hub.upstream.requests
    name = hub.gateway.snapshot.endpoints[1].upstream_model
    assert sent.body == raw.replace(orjson.dumps(MODEL), orjson.dumps(name), 1)


async def test_a_large_body_is_read_once_and_aside_also_where_it_is_sent_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readers: list[str] = []
    load = orjson.loads

    def loads(data: bytes) -> Any:
        if len(data) > 1_000_000:
            readers.append(threading.current_thread().name)
        return load(data)

    monkeypatch.setattr(parse.orjson, "loads", loads)
    hub = bench(plain(status=500), plain())
    answer = await hub.ask(Client(as_written(MODEL)))
    assert answer.status == 200
    assert len(hub.upstream.requests) == 2
    assert len(readers) == 1
    assert readers[0] != threading.main_thread().name


# --- what it costs ------------------------------------------------------------------------------------

# model -> as its provider calls it, and USD per million tokens in and out beyond the threshold
TIERS = {
    "openai/gpt-6-luna": ("gpt-6-luna", "0.2", "0.75"),
    "anthropic/claude-haiku-5-5": ("claude-haiku-5-5", "0.5", "2.5"),
    "google/gemini-2.5-pro": ("gemini-2.5-pro", "2.5", "15"),
}


@pytest.fixture(scope="module")
def played() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(catalog(), Options(speed=0)) as running:
        yield running


@pytest.fixture
async def hub(played: ThreadedSimulator) -> AsyncIterator[LiveHub]:
    played.clear()
    hub = LiveHub(played, *(upstream for upstream, _, _ in TIERS.values()))
    async with hub.served():
        yield hub
    assert played.violations() == []


@pytest.mark.parametrize("model", TIERS)
async def test_nine_hundred_thousand_tokens_and_a_picture_are_priced_in_their_tier(
    hub: LiveHub, model: str
) -> None:
    picture = "data:image/png;base64," + base64.b64encode(bytes(8_000_000)).decode()
    parts = [
        {"type": "text", "text": TEXT[:3_400_000]},
        {"type": "image_url", "image_url": {"url": picture}},
    ]
    messages = [{"role": "user", "content": parts}]
    answer = await hub.post("/chat/completions", model=model, messages=messages, max_tokens=50)
    assert answer.status_code == 200, answer.text
    _, input_usd, output_usd = TIERS[model]
    usage = hub.finish.usage
    assert usage.input_total is not None
    assert usage.output_total is not None
    assert usage.input_total > 850_000
    expected = usage.input_total * Decimal(input_usd) + usage.output_total * Decimal(output_usd)
    assert hub.cost() == hub.billed() == expected / 1_000_000
    assert hub.finish.cost_status == CostStatus.METERED


async def test_a_short_prompt_of_the_same_model_is_priced_below_the_threshold(hub: LiveHub) -> None:
    messages = [{"role": "user", "content": "hi"}]
    await hub.post("/chat/completions", model="openai/gpt-6-luna", messages=messages)
    usage = hub.finish.usage
    assert usage.input_total is not None
    assert usage.output_total is not None
    expected = usage.input_total * Decimal("0.1") + usage.output_total * Decimal("0.5")
    assert hub.cost() == hub.billed() == expected / 1_000_000


async def test_what_no_window_holds_is_refused_before_it_is_sent(hub: LiveHub) -> None:
    messages = [{"role": "user", "content": TEXT}]
    answer = await hub.post("/chat/completions", model="openai/gpt-6-luna", messages=messages)
    assert answer.status_code == 404
    assert "context_window" in answer.json()["error"]["message"]
    assert hub.simulator.journal() == []
