"""The surface inside the gateway: every upstream dialect, failover, breaks, and what is kept."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from routing.adapters.quirks import Quirks
from routing.core.errors import BrokenAnswer
from routing.core.policies import Shadow
from routing.core.record import Outcome
from routing.gateway.app import GatewayApp
from routing.surfaces.completions import CompletionsSurface
from routing.surfaces.responses import ResponsesSurface
from tests.routing.adapters.support import recorded
from tests.routing.factories import MODEL, endpoint, provider
from tests.routing.gateway.scripted import (
    HELLO,
    ROLE,
    TOKEN,
    WHOLE,
    Bench,
    Client,
    ScriptedAnswer,
    plain,
    stream,
)
from tests.routing.surfaces.responses.support import (
    TOOL,
    MemoryStore,
    checked_events,
    checked_items,
    checked_response,
    kinds,
)

BREAKS = BrokenAnswer("cut", "gone")


class Hub:
    """One gateway for several requests."""

    def __init__(self, bench: Bench, store: MemoryStore | None = None) -> None:
        self.bench = bench
        surfaces = {
            "/v1/responses": ResponsesSurface(store),
            "/v1/completions": CompletionsSurface(),
        }
        self.app = GatewayApp(bench.gateway, surfaces, store)

    async def ask(
        self, body: dict[str, Any], path: str = "/v1/responses", method: str = "POST"
    ) -> Client:
        client = Client(json.dumps({"model": MODEL, **body}).encode())
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "path": path,
            "method": method,
            "query_string": query.encode(),
            "headers": [(b"authorization", b"Bearer " + TOKEN)],
        }
        await self.app(scope, client.receive, client.send)
        return client

    async def get(self, path: str) -> Client:
        return await self.ask({}, path, "GET")


@pytest.fixture
async def run() -> Any:
    started = []

    async def start(*answers: Any, store: MemoryStore | None = None, **more: Any) -> Hub:
        hub = Hub(Bench(*answers, **more), store)
        await hub.bench.gateway.start()
        started.append(hub)
        return hub

    yield start
    for hub in started:
        await hub.bench.gateway.stop(drain_s=0)


def received(client: Client) -> bytes:
    return b"".join(client.pieces)


def of_dialect(dialect: str) -> tuple[Any, ...]:
    quirks = Quirks(auth="header:x-key", usage_mode="events")
    return (endpoint("first", 1, at=provider("first", 1, quirks=quirks, dialect=dialect)),)


async def test_a_chat_provider_answers_in_the_words_of_responses(run: Any) -> None:
    hub = await run(plain())
    client = await hub.ask({"input": "hi", "instructions": "be brief", "truncation": "auto"})
    response = checked_response(received(client))
    assert response["output"][0]["content"][0]["text"] == "Hello you"
    request_id = client.headers[b"x-request-id"].decode()
    assert response["id"] == f"resp_{request_id.replace('-', '')}"
    assert client.headers[b"x-panelboard-dropped-params"] == b"truncation"
    sent = json.loads(hub.bench.upstream.requests[0].body)
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert hub.bench.spool.done.outcome is Outcome.OK
    assert hub.bench.spool.finishes[0].cost_usd > 0


async def test_a_chat_providers_stream_comes_as_events(run: Any) -> None:
    hub = await run(stream(*WHOLE))
    data = received(await hub.ask({"input": "hi", "stream": True}))
    events = checked_events(data)
    assert kinds(events)[-1] == "completed"
    response = events[-1]["response"]
    assert response["output"][0]["content"][0]["text"] == "Hello you"
    assert response["usage"]["cost_status"] == "metered"
    assert b"[DONE]" not in data


@pytest.mark.parametrize(
    ("dialect", "name"),
    [
        ("anthropic", "anthropic/stream_tools.sse"),
        ("gemini", "gemini/stream_tools.sse"),
        ("openai_compat", "openai/stream_tools.sse"),
    ],
)
async def test_calls_of_every_dialect_come_as_items(run: Any, dialect: str, name: str) -> None:
    hub = await run(stream(recorded(name)), endpoints=of_dialect(dialect))
    client = await hub.ask({"input": "hi", "stream": True, "tools": [TOOL]})
    response = checked_events(received(client))[-1]["response"]
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    assert calls
    assert all(isinstance(json.loads(call["arguments"]), dict) for call in calls)


@pytest.mark.parametrize(
    ("dialect", "name"),
    [
        ("anthropic", "anthropic/reply_tools.json"),
        ("gemini", "gemini/reply_tools.json"),
        ("openai_compat", "openai/reply_tools.json"),
    ],
)
async def test_whole_answers_of_every_dialect_come_as_items(
    run: Any, dialect: str, name: str
) -> None:
    hub = await run(plain(recorded(name)), endpoints=of_dialect(dialect))
    response = checked_response(received(await hub.ask({"input": "hi", "tools": [TOOL]})))
    assert "function_call" in [item["type"] for item in response["output"]]
    assert response["usage"]["output_tokens"] > 0


async def test_an_attempt_that_failed_before_content_leaves_no_trace(run: Any) -> None:
    hub = await run(stream(ROLE, BREAKS), stream(*WHOLE))
    client = await hub.ask({"input": "hi", "stream": True})
    events = checked_events(received(client))
    assert client.headers[b"x-panelboard-attempts"] == b"2"
    assert kinds(events).count("created") == 1
    assert kinds(events)[-1] == "completed"


async def test_a_stream_that_breaks_after_content_fails_in_its_own_words(run: Any) -> None:
    store = MemoryStore()
    hub = await run(stream(ROLE, HELLO, BREAKS), store=store)
    events = checked_events(received(await hub.ask({"input": "hi", "stream": True})))
    assert kinds(events)[-2:] == ["error", "failed"]
    assert events[-2]["code"] == "provider_broke_off"
    assert not store.rows


async def test_a_conversation_goes_on_by_the_id_of_its_last_response(run: Any) -> None:
    store = MemoryStore()
    hub = await run(plain(), stream(*WHOLE), plain(), store=store)
    first = checked_response(received(await hub.ask({"input": "q1"})))
    body = {"input": "q2", "previous_response_id": first["id"], "stream": True}
    second = checked_events(received(await hub.ask(body)))[-1]["response"]
    assert second["store"] is True
    await hub.ask({"input": "q3", "previous_response_id": second["id"]})
    sent = json.loads(hub.bench.upstream.requests[2].body)["messages"]
    assert [message["content"] for message in sent] == [
        *("q1", "Hello you", "q2", "Hello you"),
        "q3",
    ]


async def test_what_is_kept_is_read_and_deleted_over_http(run: Any) -> None:
    store = MemoryStore()
    hub = await run(plain(), store=store)
    first = checked_response(received(await hub.ask({"input": "q1"})))
    address = f"/v1/responses/{first['id']}"
    assert checked_response(received(await hub.get(address))) == first
    page = checked_items(received(await hub.get(f"{address}/input_items?order=asc&limit=5")))
    assert page["data"][0]["content"][0]["text"] == "q1"
    deleted = json.loads(received(await hub.ask({}, address, "DELETE")))
    assert deleted["deleted"] is True
    assert (await hub.get(address)).status == 404
    refused = await hub.ask({"input": "q2", "previous_response_id": first["id"]})
    assert (refused.status, refused.error["param"]) == (400, "previous_response_id")
    assert refused.error["code"] == "previous_response_not_found"


async def test_without_its_store_the_hub_answers_and_says_so(run: Any) -> None:
    store = MemoryStore()
    store.broken = True
    hub = await run(plain(), stream(*WHOLE), store=store)
    assert checked_response(received(await hub.ask({"input": "hi"})))["store"] is False
    events = checked_events(received(await hub.ask({"input": "hi", "stream": True})))
    assert events[-1]["response"]["store"] is False
    refused = await hub.ask({"input": "q", "previous_response_id": "resp_" + "0" * 32})
    assert (refused.status, refused.error["code"]) == (503, "response_store_unavailable")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "hi", "tools": [{"name": "web_search"}]}, "tools[0].type"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"messages": []}, "input"),
    ],
)
async def test_a_bad_field_is_refused_before_anything_is_sent(
    run: Any, body: dict[str, Any], param: str
) -> None:
    hub = await run()
    client = await hub.ask(body)
    assert (client.status, client.error["param"]) == (400, param)
    assert not hub.bench.upstream.requests


async def test_a_context_that_is_too_long_is_told_of_the_input(run: Any) -> None:
    too_long = json.dumps({"error": {"code": "context_length_exceeded", "message": "too long"}})
    headers = [(b"content-type", b"application/json")]
    hub = await run(*[ScriptedAnswer(400, headers, [too_long.encode()])] * 2)
    client = await hub.ask({"input": "hi"})
    assert (client.error["code"], client.error["param"]) == ("context_length_exceeded", "input")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"tools": [{"type": "web_search"}]}, "tools.web_search"),
    ],
)
async def test_what_no_endpoint_can_be_told_is_refused_rather_than_lost(
    run: Any, body: dict[str, Any], named: str
) -> None:
    hub = await run()
    client = await hub.ask({"input": "hi", **body})
    assert (client.status, client.error["code"]) == (400, "unsupported_parameter")
    assert f"other_dialect (2: {named})" in client.error["message"]
    assert client.error["detail"]["excluded_by"] == {"other_dialect": 2}
    assert not hub.bench.upstream.requests


async def test_completions_are_served_the_same_way(run: Any) -> None:
    hub = await run(plain(), stream(*WHOLE))
    whole = json.loads(received(await hub.ask({"prompt": "Once"}, "/v1/completions")))
    assert (whole["object"], whole["choices"][0]["text"]) == ("text_completion", "Hello you")
    streamed = received(await hub.ask({"prompt": "Once", "stream": True}, "/v1/completions"))
    assert streamed.endswith(b"data: [DONE]\n\n")
    assert b'"usage"' not in streamed


@pytest.mark.parametrize(("tools", "copies"), [([], 1), ([{"type": "web_search"}], 0)])
async def test_what_chat_cannot_say_is_not_copied_in_chats_words(
    run: Any, tools: list[Any], copies: int
) -> None:
    takes_it = frozenset({"openai_responses"})
    quirks = Quirks(responses_path="/responses")
    endpoints = [
        endpoint(slug, no, at=provider(slug, no, quirks=quirks, also_speaks=takes_it))
        for no, slug in enumerate(("first", "second"), 1)
    ]
    native = {
        **dict.fromkeys(("error", "incomplete_details", "usage")),
        "object": "response",
        "status": "completed",
        "output": [],
    }
    shadow = {"shadow": Shadow(provider="second", share=1.0)}
    answers = [plain(json.dumps(native).encode()), plain()]
    hub = await run(*answers, endpoints=tuple(endpoints), rules=shadow)
    client = await hub.ask({"input": "hi", "tools": tools, "stream": False})
    assert client.status == 200
    if hub.bench.gateway.shadows.running:
        await asyncio.wait(hub.bench.gateway.shadows.running, timeout=5)
    assert len(hub.bench.upstream.requests) == 1 + copies
