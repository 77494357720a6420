"""OpenAI's own client in front of the surface, and providers' recorded answers behind it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from routing.core.errors import HubError
from routing.surfaces.responses import Shelf
from routing.surfaces.responses.resources import deleted_body, input_items_body, response_body
from tests.routing.adapters.support import RECORDED, adapter_of, call_of, endpoint_of, recorded
from tests.routing.surfaces.responses.support import (
    MODEL,
    SURFACE,
    TOOL,
    MemoryStore,
    asked,
    chat_answer,
    chat_stream,
    checked_events,
    checked_response,
    chunk,
    joined,
    request_id,
    tool_delta,
    voice_of,
)

CALL = {
    "id": "c0",
    "type": "function",
    "function": {"name": "get_temp", "arguments": '{"city":"Oslo"}'},
}


class Hub:
    """The surface behind a transport: what the gateway does, without routing and sockets."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.shelf = Shelf(self.store, 1)
        self.says: Any = chat_answer("hello")  # or bytes of a chat stream, or an error
        self.chats: list[dict[str, Any]] = []
        transport = httpx2.MockTransport(lambda request: asyncio.run(self._answer(request)))
        self.client = OpenAI(
            api_key="k",
            base_url="http://hub.example/v1",
            max_retries=0,
            http_client=httpx2.Client(transport=transport),
        )

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await self._route(request)
        except HubError as error:
            body = SURFACE.error_body(error, "r1")
            return httpx2.Response(error.status, content=body, headers=_JSON)

    async def _route(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return await self._create(json.loads(request.content))
        response_id, _, rest = request.url.path.removeprefix("/v1/responses/").partition("/")
        if request.method == "DELETE":
            await self.shelf.forget(response_id)
            return httpx2.Response(200, content=deleted_body(response_id), headers=_JSON)
        build = input_items_body if rest else response_body
        content = build(await self.shelf.find(response_id), dict(request.url.params))
        return httpx2.Response(200, content=content, headers=_JSON)

    async def _create(self, body: dict[str, Any]) -> httpx2.Response:
        voice = await asked(body, self.store, len(self.chats))
        self.chats.append(voice.chat)
        says = self.says
        if isinstance(says, HubError):
            raise says
        if isinstance(says, dict):
            content = await voice.deliver(json.dumps(says).encode())
            return httpx2.Response(200, content=content, headers=_JSON)
        stream = voice.open_stream()
        pieces = [stream.feed(says[i : i + 7]) for i in range(0, len(says), 7)]
        pieces.append(await stream.end())
        return httpx2.Response(200, content=b"".join(pieces), headers=_EVENTS)


_JSON = {"content-type": "application/json"}
_EVENTS = {"content-type": "text/event-stream"}


@pytest.fixture
def hub() -> Any:
    made = Hub()
    yield made
    made.client.close()


def test_a_text_is_read(hub: Hub) -> None:
    response = hub.client.responses.create(model=MODEL, input="hi")
    assert response.output_text == "hello"
    assert response.usage is not None
    assert response.usage.input_tokens_details.cached_tokens == 64


def test_a_stream_adds_up_to_its_response(hub: Hub) -> None:
    hub.says = chat_stream(
        chunk({"reasoning_content": "hm"}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        tool_delta(0, "", "c0", "get_temp"),
        tool_delta(0, '{"city":"Oslo"}'),
        finish="tool_calls",
    )
    with hub.client.responses.stream(model=MODEL, input="hi", tools=[TOOL]) as stream:  # type: ignore[list-item]
        snapshots = [e.snapshot for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots == ["Hel", "Hello"]
    assert final.output_text == "Hello"
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert final.id == f"resp_{request_id(0).replace('-', '')}"


def test_a_summary_adds_up_too(hub: Hub) -> None:
    hub.says = chat_stream(chunk({"reasoning_content": "hm"}), chunk({"content": "4"}))
    reasoning: Any = {"summary": "auto"}
    with hub.client.responses.stream(model=MODEL, input="hi", reasoning=reasoning) as stream:
        final = stream.get_final_response()
    assert final.output[0].summary[0].text == "hm"  # type: ignore[union-attr]


class Weather(BaseModel):
    city: str
    celsius: int


@pytest.mark.parametrize("streamed", [True, False])
def test_structured_output_is_parsed(hub: Hub, streamed: bool) -> None:
    text = '{"city":"Oslo","celsius":4}'
    hub.says = chat_stream(chunk({"content": text})) if streamed else chat_answer(text)
    if streamed:
        with hub.client.responses.stream(model=MODEL, input="hi", text_format=Weather) as stream:
            parsed = stream.get_final_response().output_parsed
    else:
        parsed = hub.client.responses.parse(
            model=MODEL, input="hi", text_format=Weather
        ).output_parsed
    assert parsed == Weather(city="Oslo", celsius=4)
    form = hub.chats[0]["response_format"]["json_schema"]
    assert (form["name"], form["strict"]) == ("Weather", True)
    assert form["schema"]["properties"]["celsius"]["type"] == "integer"


def test_a_tool_loop_runs_by_sending_everything_back(hub: Hub) -> None:
    items: list[Any] = [{"role": "user", "content": "how warm?"}]
    for turn in range(3):
        hub.says = chat_answer(
            {"content": None, "tool_calls": [{**CALL, "id": f"c{turn}"}], "reasoning": "hm"},
            "tool_calls",
        )
        response = hub.client.responses.create(
            model=MODEL,
            input=items,
            tools=[TOOL],
            store=False,  # type: ignore[list-item]
        )
        items += response.output
        for call in response.output:
            if call.type == "function_call":
                result = {"type": "function_call_output", "call_id": call.call_id, "output": "4"}
                items.append(result)
    hub.says = chat_answer("4 C")
    final = hub.client.responses.create(model=MODEL, input=items, store=False)
    assert final.output_text == "4 C"
    roles = [message["role"] for message in hub.chats[-1]["messages"]]
    assert roles == ["user", *["assistant", "tool"] * 3]
    assert hub.chats[-1]["messages"][1]["reasoning_content"] == "hm"


def test_a_chain_is_read_listed_and_deleted(hub: Hub) -> None:
    first = hub.client.responses.create(model=MODEL, input="q1")
    second = hub.client.responses.create(model=MODEL, input="q2", previous_response_id=first.id)
    assert len(hub.chats[1]["messages"]) == 3
    assert hub.client.responses.retrieve(second.id).output_text == "hello"
    listed = hub.client.responses.input_items.list(second.id, order="asc", limit=1)
    assert [item.type for item in listed] == ["message"] * 3
    hub.client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        hub.client.responses.retrieve(second.id)


def test_a_refusal_by_the_hub_is_an_error_of_the_client(hub: Hub) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        hub.client.responses.create(model=MODEL, input="hi", background=True)
    assert raised.value.code == "unsupported_parameter"
    assert raised.value.param == "background"
    hub.says = HubError(429, "key_rate_limited", "wait", kind="rate_limit_error")
    with pytest.raises(openai.RateLimitError):
        hub.client.responses.create(model=MODEL, input="hi")


def test_a_broken_stream_reaches_the_reader() -> None:
    stream = voice_of().open_stream()
    content = stream.feed(chunk({"content": "half"})) + stream.broken(HubError(502, "cut", "cut"))
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, content=content, headers=_EVENTS)
    )
    with OpenAI(api_key="k", http_client=httpx2.Client(transport=transport)) as client:
        events = list(client.responses.create(model=MODEL, input="hi", stream=True))
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]


# --- what providers really sent --------------------------------------------------------------


def recordings(pattern: str) -> list[str]:
    return sorted(f"{path.parent.name}/{path.name}" for path in RECORDED.glob(pattern))


@pytest.mark.parametrize("name", recordings("*/*.sse"))
def test_every_recorded_stream_becomes_one_of_responses(name: str) -> None:
    endpoint = endpoint_of(name.partition("/")[0])
    reader = adapter_of(endpoint).open_stream(call_of(stream=True, wants_usage=True), endpoint)
    stream = voice_of(stream=True).open_stream()
    told = stream.feed(reader.feed(recorded(name)) + reader.close())
    if reader.error is not None:
        told += stream.broken(HubError(502, "provider_broke_off", reader.error.message))
    events = checked_events(told + stream.close())
    ends = {"response.failed"} if reader.error else {"response.completed", "response.incomplete"}
    assert events[-1]["type"] in ends
    for item in events[-1]["response"]["output"]:
        if item["type"] == "message":
            text = "".join(part.get("text", "") for part in item["content"])
            assert joined(events, "output_text", item["id"]) == text
        if item["type"] == "function_call":
            assert joined(events, "function_call_arguments", item["id"]) == item["arguments"]


@pytest.mark.parametrize("name", recordings("*/reply*.json"))
def test_every_recorded_answer_becomes_a_response(name: str) -> None:
    endpoint = endpoint_of(name.partition("/")[0])
    reply = adapter_of(endpoint).read_reply(call_of(), endpoint, [], recorded(name))
    response = checked_response(voice_of().reply(reply.raw))
    message = json.loads(reply.raw)["choices"][0]["message"]
    texts = [i["content"][0].get("text", "") for i in response["output"] if i["type"] == "message"]
    assert "".join(texts) == (message.get("content") or "")
    calls = [i["call_id"] for i in response["output"] if i["type"] == "function_call"]
    assert calls == [call["id"] for call in message.get("tool_calls") or ()]
