"""Every shipped provider record, against the simulator that refuses what the provider refuses.

The simulator shares no code with the adapters: where both agree, a request is understood.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import msgspec
import pytest

from routing.adapters.base import BuiltRequest, ChatCall, Reply, StreamReader
from routing.adapters.quirks import quirks_from
from routing.adapters.sse import looks_like_stream
from routing.core.catalog import Endpoint
from routing.core.errors import FailureClass, UpstreamError
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from routing.simulator.world import CATALOG_DIR, read_documents
from tests.routing import factories
from tests.routing.adapters.support import adapter_of, message_in

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {
    "type": "function",
    "function": {
        "name": "get_temp",
        "description": "Temperature of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
QUESTION = [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "How cold is Oslo?"}]},
]


@cache
def catalog() -> list[dict[str, Any]]:
    return [dict(document) for document in read_documents(CATALOG_DIR)]


@cache
def providers() -> dict[str, dict[str, Any]]:
    found = [provider for document in catalog() for provider in document.get("providers", [])]
    return {provider["slug"]: provider for provider in found}


def endpoint_record(slug: str, *needs: str) -> dict[str, Any] | None:
    records = [record for document in catalog() for record in document.get("endpoints", [])]
    served = (r for r in records if r["provider"] == slug and r.get("status", "active") == "active")
    return next((r for r in served if {*needs} <= {*r["capabilities"]}), None)


def providers_with(*needs: str) -> list[str]:
    return [slug for slug in sorted(providers()) if endpoint_record(slug, *needs)]


@pytest.fixture(scope="module")
def simulator() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(catalog(), Options(speed=0)) as running:
        yield running


class Desk:
    """Sends what an adapter built to a played provider and lets the adapter read the answer."""

    def __init__(self, simulator: ThreadedSimulator, slug: str, record: dict[str, Any]) -> None:
        home = factories.provider(
            slug,
            1,
            simulator.base_url(slug),
            quirks_from(providers()[slug]["quirks"]),
            dialect=providers()[slug]["dialect"],
        )
        made = factories.endpoint(
            slug,
            1,
            at=home,
            max_output_tokens=record.get("max_output_tokens"),
            capabilities=frozenset(record["capabilities"]),
        )
        self.endpoint: Endpoint = msgspec.structs.replace(
            made, upstream_model=record["upstream_model"]
        )
        self.adapter = adapter_of(self.endpoint)

    def send(self, call: ChatCall) -> httpx.Response:
        secret = f"sim-{self.endpoint.provider.slug}-key"
        built: BuiltRequest = self.adapter.build(call, self.endpoint, secret)
        url = self.endpoint.provider.base_url + built.path
        with httpx.Client(timeout=10, trust_env=False) as client:
            response = client.post(url, headers=built.headers, content=built.body)
        assert response.status_code == 200, (built.body, response.text)
        return response

    def ask(self, **body: Any) -> Reply:
        call = ChatCall({"model": "m", **body}, stream=False, wants_usage=False)
        response = self.send(call)
        headers = [(k.lower(), v) for k, v in response.headers.raw]
        return self.adapter.read_reply(call, self.endpoint, headers, response.content)

    def stream(self, **body: Any) -> tuple[StreamReader, bytes]:
        call = ChatCall({"model": "m", "stream": True, **body}, stream=True, wants_usage=True)
        response = self.send(call)
        assert looks_like_stream([(k.lower(), v) for k, v in response.headers.raw])
        reader = self.adapter.open_stream(call, self.endpoint)
        out = reader.feed(response.content) + reader.close()
        return reader, out


def desk_for(simulator: ThreadedSimulator, slug: str, *needs: str) -> Desk:
    record = endpoint_record(slug, *needs)
    assert record is not None
    return Desk(simulator, slug, record)


def takes_parts(slug: str) -> bool:
    return str(providers()[slug]["quirks"].get("content_parts", "all")) != "string_only"


SLUGS = providers_with()


@pytest.mark.parametrize("slug", SLUGS)
def test_a_usual_request_is_answered_plain_and_streamed(
    simulator: ThreadedSimulator, slug: str
) -> None:
    desk = desk_for(simulator, slug)
    usual = {
        "messages": QUESTION,
        "temperature": 0.5,
        "max_completion_tokens": 200,
        "user": "u",
        "seed": 7,
        "stop": ["END"],
        "parallel_tool_calls": True,
        "service_tier": "auto",
    }
    reply = desk.ask(**usual)
    reader, out = desk.stream(**usual)
    assert reader.error is None
    assert reader.done
    message = reply.body["choices"][0]["message"]
    assert message_in(out)["content"] == message["content"]
    assert message_in(out)["reasoning_content"] == message.get("reasoning_content", "")
    assert reader.finish_reason == reply.finish_reason
    assert out.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("slug", SLUGS)
def test_usage_is_the_same_plain_and_streamed(simulator: ThreadedSimulator, slug: str) -> None:
    desk = desk_for(simulator, slug)
    asked = {"messages": [{"role": "user", "content": "Count to three."}], "max_tokens": 60}
    plain, (reader, out) = desk.ask(**asked).usage, desk.stream(**asked)
    assert plain.input_total
    assert plain.output_total
    assert (reader.usage.input_total, reader.usage.output_total) == (
        plain.input_total,
        plain.output_total,
    )
    trailing = [e for e in out.split(b"\n\n") if b'"choices":[]' in e]
    assert len(trailing) == 1
    usage = json.loads(trailing[0].removeprefix(b"data: "))["usage"]
    assert usage["prompt_tokens"] == reader.usage.input_total


@pytest.mark.parametrize("slug", providers_with("tools"))
def test_a_tool_is_called_and_its_result_taken(simulator: ThreadedSimulator, slug: str) -> None:
    desk = desk_for(simulator, slug, "tools")
    asked = {"tools": [TOOL], "tool_choice": "auto", "max_tokens": 200}
    question = [{"role": "user", "content": "Use the tool get_temp for Oslo."}]
    reply = desk.ask(messages=question, **asked)
    message = reply.body["choices"][0]["message"]
    assert reply.finish_reason == "tool_calls", message
    [call] = message["tool_calls"][:1]
    assert isinstance(json.loads(call["function"]["arguments"]), dict)
    reader, out = desk.stream(messages=question, **asked)
    streamed = message_in(out)
    assert reader.finish_reason == "tool_calls"
    assert streamed["tool_calls"][0]["name"] == call["function"]["name"]
    assert json.loads(streamed["tool_calls"][0]["args"]) == json.loads(
        call["function"]["arguments"]
    )
    results = [
        {
            "role": "tool",
            "tool_call_id": one["id"],
            "content": [{"type": "text", "text": "4 C"}],
        }
        for one in message["tool_calls"]
    ]
    assert desk.ask(messages=[*question, message, *results], **asked).body["choices"]


@pytest.mark.parametrize("slug", providers_with("tools"))
@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_temp"}}]
)
def test_a_forced_tool_is_called_or_refused_before_sending(
    simulator: ThreadedSimulator, slug: str, choice: Any
) -> None:
    desk = desk_for(simulator, slug, "tools")
    asked = {"messages": QUESTION, "tools": [TOOL], "tool_choice": choice, "max_tokens": 200}
    try:
        reply = desk.ask(**asked)
    except UpstreamError as refused:
        assert (refused.failure, refused.was_sent) == (FailureClass.CLIENT, False)  # noqa: PT017
    else:
        assert reply.body["choices"][0]["message"]["tool_calls"]


@pytest.mark.parametrize("slug", providers_with("structured_output"))
def test_an_answer_by_schema_is_json(simulator: ThreadedSimulator, slug: str) -> None:
    desk = desk_for(simulator, slug, "structured_output")
    reply = desk.ask(messages=QUESTION, response_format=SCHEMA, max_tokens=200)
    assert isinstance(json.loads(reply.body["choices"][0]["message"]["content"]), dict)


@pytest.mark.parametrize("slug", [*filter(takes_parts, providers_with("vision"))])
def test_an_image_is_taken(simulator: ThreadedSimulator, slug: str) -> None:
    desk = desk_for(simulator, slug, "vision")
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]
    reply = desk.ask(messages=[{"role": "user", "content": content}], max_tokens=60)
    assert reply.body["choices"][0]["message"]["content"]


@pytest.mark.parametrize("slug", providers_with("reasoning"))
def test_a_conversation_with_reasoning_is_taken_back(
    simulator: ThreadedSimulator, slug: str
) -> None:
    desk = desk_for(simulator, slug, "reasoning")
    reply = desk.ask(messages=QUESTION, max_tokens=400)
    message = reply.body["choices"][0]["message"]
    more = {"role": "user", "content": "And now?"}
    assert desk.ask(messages=[*QUESTION, message, more], max_tokens=400).body["choices"]
    foreign = {"role": "assistant", "content": "Cold.", "reasoning_content": "It is winter."}
    assert desk.ask(messages=[*QUESTION, foreign, more], max_tokens=400).body["choices"]


@pytest.mark.parametrize("slug", SLUGS)
def test_a_wrong_key_is_the_hubs_problem(simulator: ThreadedSimulator, slug: str) -> None:
    desk = desk_for(simulator, slug)
    call = ChatCall({"model": "m", "messages": QUESTION}, stream=False, wants_usage=False)
    built = desk.adapter.build(call, desk.endpoint, "wrong")
    url = desk.endpoint.provider.base_url + built.path
    response = httpx.post(url, headers=built.headers, content=built.body, trust_env=False)
    headers = [(k.lower(), v) for k, v in response.headers.raw]
    error = desk.adapter.read_error(desk.endpoint, response.status_code, headers, response.content)
    assert error.failure is FailureClass.CREDENTIAL
    assert error.message
