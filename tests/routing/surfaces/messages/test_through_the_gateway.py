"""The surface inside the gateway: attempts, failover, native bytes, errors and the log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.adapters.quirks import Quirks
from routing.core.errors import BrokenAnswer
from routing.core.record import Outcome
from routing.gateway.app import GatewayApp
from routing.surfaces.messages.surface import MessagesSurface
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
from tests.routing.surfaces.messages.support import ASKED, accumulated, events_in, in_order

NATIVE_STREAM = recorded("anthropic/stream_server_tools.sse")
BROKEN = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'


def claude(slug: str, number: int) -> Any:
    quirks = Quirks(usage_mode="events", auth="header:x-api-key")
    return endpoint(slug, number, at=provider(slug, number, quirks=quirks, dialect="anthropic"))


async def ask(bench: Bench, headers: Any = (), **more: Any) -> Client:
    client = Client(json.dumps({**ASKED, "model": MODEL, **more}).encode())
    await bench.gateway.start()
    try:
        scope = {
            "type": "http",
            "path": "/v1/messages",
            "method": "POST",
            "headers": [(b"x-api-key", TOKEN), *headers],
        }
        app = GatewayApp(bench.gateway, {"/v1/messages": MessagesSurface()})
        await app(scope, client.receive, client.send)
    finally:
        await bench.gateway.stop(drain_s=0)
    return client


def received(client: Client) -> bytes:
    return b"".join(client.pieces)


def native_first(*answers: ScriptedAnswer) -> Bench:
    return Bench(*answers, endpoints=(claude("first", 1), endpoint("second", 2)))


async def test_a_chat_provider_answers_in_anthropics_words() -> None:
    bench = Bench(plain())
    client = await ask(bench, system="be brief", speed="fast")
    message = json.loads(received(client))
    assert (client.status, message["type"]) == (200, "message")
    assert message["content"][0]["text"] == "Hello you"
    assert message["id"].removeprefix("msg_") == client.headers[b"x-request-id"].decode().replace(
        "-", ""
    )
    assert client.headers[b"x-panelboard-dropped-params"] == b"speed"
    sent = json.loads(bench.upstream.requests[0].body)
    assert [m["role"] for m in sent["messages"]] == ["system", "user"]
    assert bench.spool.done.outcome is Outcome.OK
    assert bench.spool.finishes[0].cost_usd > 0


async def test_a_chat_providers_stream_comes_as_anthropics_events() -> None:
    client = await ask(Bench(stream(*WHOLE)), stream=True)
    data = received(client)
    assert in_order(events_in(data))
    assert accumulated(data)["content"][0]["text"] == "Hello you"
    assert b"[DONE]" not in data


async def test_at_anthropic_both_ways_are_as_they_were_written() -> None:
    bench = native_first(plain(recorded("anthropic/reply_server_tools.json")))
    headers = [(b"anthropic-beta", b"a-1"), (b"anthropic-version", b"2026-10-21")]
    client = await ask(bench, headers, container="c_1", inference_geo="eu")
    assert received(client) == recorded("anthropic/reply_server_tools.json")
    assert b"x-panelboard-dropped-params" not in client.headers
    request = bench.upstream.requests[0]
    sent = json.loads(request.body)
    assert (sent["container"], sent["inference_geo"]) == ("c_1", "eu")
    told = dict(request.headers)
    assert told[b"anthropic-beta"] == b"a-1"
    assert told[b"anthropic-version"] == b"2026-10-21"
    assert told[b"x-api-key"] == b"sim-first-key"
    assert bench.spool.finishes[0].usage.input_total == 11194


async def test_anthropics_stream_is_passed_on_byte_for_byte() -> None:
    bench = native_first(stream(NATIVE_STREAM[:700], NATIVE_STREAM[700:]))
    client = await ask(bench, stream=True)
    assert received(client) == NATIVE_STREAM
    assert bench.spool.finishes[0].usage.output_total == 510


async def test_an_error_in_the_first_event_fails_over_to_another_dialect() -> None:
    bench = native_first(stream(NATIVE_STREAM.split(b"\n\n")[0] + b"\n\n" + BROKEN), stream(*WHOLE))
    client = await ask(bench, stream=True)
    data = received(client)
    assert client.headers[b"x-panelboard-attempts"] == b"2"
    assert in_order(events_in(data))
    assert accumulated(data)["content"][0]["text"] == "Hello you"


@pytest.mark.parametrize(
    "bench",
    [
        lambda: native_first(stream(NATIVE_STREAM[:1200], BROKEN)),
        lambda: Bench(stream(ROLE, HELLO, BrokenAnswer("cut", "gone"))),
    ],
)
async def test_a_stream_that_breaks_ends_with_one_error_event(bench: Any) -> None:
    client = await ask(bench(), stream=True)
    data = received(client)
    events = events_in(data)
    assert [event["type"] for event in events].count("error") == 1
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["type"] == "api_error"
    assert b"message_stop" not in data


async def test_a_bad_field_is_named_in_anthropics_envelope() -> None:
    client = await ask(Bench(), max_tokens=None)
    body = json.loads(received(client))
    assert client.status == 400
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert body["error"]["message"].startswith("max_tokens: ")
    assert body["error"]["details"]["param"] == "max_tokens"
    assert body["request_id"] == client.headers[b"x-request-id"].decode()
