"""The simulator and the hub's adapters were written apart; here they meet over real sockets.

Every shipped endpoint is asked through the adapter of its provider, streamed and whole, and what
the hub reads must be what the provider billed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from routing.adapters.base import Adapter, BuiltRequest, ChatCall, Headers
from routing.adapters.quirks import quirks_from
from routing.adapters.registry import adapter_for
from routing.core.catalog import Endpoint, Model, Provider
from routing.core.errors import FailureClass, UpstreamError
from routing.core.pricing import PriceSheet
from routing.core.usage import Meter, Usage
from routing.services import listings
from routing.simulator.journal import Row
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from routing.simulator.world import CATALOG_DIR, World, read_documents
from tests.routing.simulator.plays import PIXEL, WEATHER_TOOL

DOCUMENTS = read_documents(CATALOG_DIR)
PROVIDERS = {p["slug"]: p for document in DOCUMENTS for p in document.get("providers", ())}
CHAT_MODELS = {
    model["name"]
    for document in DOCUMENTS
    for model in document.get("models", ())
    if model.get("kind", "chat") == "chat"
}
ENDPOINTS = [
    row
    for document in DOCUMENTS
    for row in document.get("endpoints", ())
    if row.get("status") != "retired" and row["model"] in CHAT_MODELS
]
NAMES = [f"{row['provider']}:{row['upstream_model']}" for row in ENDPOINTS]
TOOLS = [{"type": "function", "function": WEATHER_TOOL}]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA, "strict": True}}


@pytest.fixture(scope="module")
def played() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(DOCUMENTS, Options(speed=0)) as simulator:
        yield simulator


class Hub:
    """The part of the hub that talks to one endpoint."""

    def __init__(self, played: ThreadedSimulator, http: httpx.Client, row: dict[str, Any]) -> None:
        spec = PROVIDERS[row["provider"]]
        self.played = played
        self.http = http
        self.provider = Provider(
            id=1,
            slug=spec["slug"],
            name=spec["name"],
            dialect=spec["dialect"],
            base_url=played.base_url(spec["slug"]),
            simulated=True,
            quirks=quirks_from(spec.get("quirks", {})),
        )
        self.endpoint = Endpoint(
            id=1,
            provider=self.provider,
            model=Model(id=1, name=row["model"], maker="", created=0),
            upstream_model=row["upstream_model"],
            prices=PriceSheet(),
            capabilities=frozenset(row.get("capabilities", ())),
            context_window=row.get("context_window"),
            max_output_tokens=row.get("max_output_tokens"),
        )
        self.adapter: Adapter = adapter_for(spec["dialect"])

    def build(self, stream: bool, fields: dict[str, Any]) -> tuple[ChatCall, BuiltRequest]:
        body = {"model": "x", "messages": [{"role": "user", "content": "Hello."}], **fields}
        if stream:
            body["stream"] = True
        call = ChatCall(body=body, stream=stream, wants_usage=False, raw=msgspec.json.encode(body))
        secret = self.played.key(self.provider.slug)
        return call, self.adapter.build(call, self.endpoint, secret)

    def send(self, stream: bool, fields: dict[str, Any]) -> tuple[ChatCall, httpx.Response]:
        call, built = self.build(stream, fields)
        headers = [(n.decode(), v.decode()) for n, v in built.headers]
        url = self.provider.base_url + built.path
        answer = self.http.post(url, content=built.body, headers=headers)
        return call, answer

    def whole(self, **fields: Any) -> tuple[dict[str, Any], Usage]:
        call, answer = self.send(False, fields)
        if answer.status_code != 200:
            raise self.adapter.read_error(
                self.endpoint, answer.status_code, _headers(answer), answer.content
            )
        reply = self.adapter.read_reply(call, self.endpoint, _headers(answer), answer.content)
        return reply.body["choices"][0]["message"], reply.usage

    def streamed(self, **fields: Any) -> tuple[dict[str, Any], Usage]:
        call, answer = self.send(True, fields)
        assert answer.status_code == 200, answer.text
        reader = self.adapter.open_stream(call, self.endpoint)
        given = reader.feed(answer.content) + reader.close()
        if reader.error is not None:
            raise reader.error
        return _joined(given), reader.usage


def _headers(answer: httpx.Response) -> Headers:
    return [(name.lower(), value) for name, value in answer.headers.raw]


def _joined(given: bytes) -> dict[str, Any]:
    """The message that an OpenAI client makes of the stream."""
    text = ""
    calls: dict[int, dict[str, str]] = {}
    for line in given.split(b"\n"):
        if not line.startswith(b"data:") or line.strip() == b"data: [DONE]":
            continue
        for choice in json.loads(line.removeprefix(b"data:")).get("choices", ()):
            delta = choice.get("delta") or {}
            text += delta.get("content") or ""
            for part in delta.get("tool_calls") or ():
                call = calls.setdefault(part["index"], {"name": "", "arguments": ""})
                function = part.get("function") or {}
                call["name"] = call["name"] or function.get("name") or ""
                call["arguments"] += function.get("arguments") or ""
    return {"content": text, "calls": [calls[index] for index in sorted(calls)]}


def _calls(message: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"name": c["function"]["name"], "arguments": json.loads(c["function"]["arguments"])}
        for c in message.get("tool_calls") or ()
    ]


def _as_billed(usage: Usage, row: Row) -> None:
    assert usage.input_total == row.input_tokens
    assert usage.output_total == row.output_tokens
    assert (usage.cache_read or 0) == row.cached_tokens
    assert (usage.cache_write_5m or 0) == row.cache_write_5m_tokens
    assert (usage.cache_write_1h or 0) == row.cache_write_1h_tokens
    assert (usage.reasoning or 0) == row.reasoning_tokens
    assert row.violations == []


@pytest.fixture
def hub(played: ThreadedSimulator, http: httpx.Client, request: pytest.FixtureRequest) -> Hub:
    played.clear()
    return Hub(played, http, request.param)


every_endpoint = pytest.mark.parametrize("hub", ENDPOINTS, ids=NAMES, indirect=True)
FIRST_OF_EACH = list({row["provider"]: row for row in reversed(ENDPOINTS)}.values())
every_provider = pytest.mark.parametrize(
    "hub", FIRST_OF_EACH, ids=[row["provider"] for row in FIRST_OF_EACH], indirect=True
)


@every_endpoint
def test_the_hub_reads_the_text_and_the_bill_of_every_shipped_endpoint(hub: Hub) -> None:
    message, usage = hub.whole()
    _as_billed(usage, hub.played.journal()[-1])
    streamed, stream_usage = hub.streamed()
    _as_billed(stream_usage, hub.played.journal()[-1])
    assert streamed["content"] == message["content"]
    assert "simulated answer" in message["content"]


@every_endpoint
def test_tools_and_schemas_work_wherever_the_catalog_says_so(hub: Hub) -> None:
    asked = [{"role": "user", "content": "Weather in Oslo?"}]
    if "tools" in hub.endpoint.capabilities:
        whole, _ = hub.whole(messages=asked, tools=TOOLS)
        streamed, usage = hub.streamed(messages=asked, tools=TOOLS)
        (call,) = _calls(whole)
        assert call == {"name": "get_weather", "arguments": {"city": "Oslo", "days": 1}}
        assert json.loads(streamed["calls"][0]["arguments"]) == call["arguments"]
        _as_billed(usage, hub.played.journal()[-1])
        result = {"role": "tool", "tool_call_id": whole["tool_calls"][0]["id"], "content": "4 C"}
        answered, _ = hub.whole(messages=[*asked, whole, result], tools=TOOLS)
        assert "4 C" in answered["content"]
    if "structured_output" in hub.endpoint.capabilities:
        message, _ = hub.whole(response_format=FORMAT)
        assert set(json.loads(message["content"])) == {"name", "age"}
    if "json_mode" in hub.endpoint.capabilities:
        message, _ = hub.whole(response_format={"type": "json_object"})
        assert isinstance(json.loads(message["content"]), dict)
    assert hub.played.violations() == []


@every_endpoint
def test_images_and_common_parameters_are_accepted_where_the_catalog_says_so(hub: Hub) -> None:
    fields: dict[str, Any] = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hello."}]},
        ],
        "max_completion_tokens": 40,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["nowhere"],
        "seed": 7,
        "user": "u",
        "metadata": {"a": "b"},
        "store": False,
        "presence_penalty": 0.1,
        "parallel_tool_calls": True,
        "reasoning_effort": "low",
    }
    if "vision" in hub.endpoint.capabilities:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        fields["messages"][1]["content"].append(image)
    message, usage = hub.whole(**fields)
    row = hub.played.journal()[-1]
    _as_billed(usage, row)
    assert message["content"]
    assert row.output_tokens <= 40


def test_forced_and_parallel_calls_work_wherever_the_catalog_says_so(
    played: ThreadedSimulator, http: httpx.Client
) -> None:
    asked = [{"role": "user", "content": "Weather in Oslo and Bergen?"}]
    named = {"type": "function", "function": {"name": "get_weather"}}
    played.clear()
    for row in ENDPOINTS:
        hub, can = Hub(played, http, row), set(row.get("capabilities", ()))
        if "tool_choice_required" in can:
            for choice in ("required", named):
                message, _ = hub.whole(tools=TOOLS, tool_choice=choice)
                assert _calls(message), (hub.endpoint.key, choice)
        if "parallel_tools" in can:
            streamed, _ = hub.streamed(messages=asked, tools=TOOLS)
            cities = [json.loads(call["arguments"])["city"] for call in streamed["calls"]]
            assert cities == ["Oslo", "Bergen"], hub.endpoint.key
    assert played.violations() == []


CLASSES = {
    400: {FailureClass.CLIENT},
    401: {FailureClass.CREDENTIAL},
    402: {FailureClass.BILLING},
    404: {FailureClass.MODEL_GONE},
    429: {FailureClass.CAPACITY},
    500: {FailureClass.TRANSIENT},
    502: {FailureClass.TRANSIENT},
    503: {FailureClass.TRANSIENT, FailureClass.CAPACITY},  # some say overloaded with it
    504: {FailureClass.TRANSIENT},
}


@every_provider
@pytest.mark.parametrize("status", CLASSES)
def test_the_hub_knows_what_each_providers_error_means(hub: Hub, status: int) -> None:
    hub.played.add_fault("status", status=status, message="Such a pity.", retry_after=7)
    with pytest.raises(UpstreamError) as caught:
        hub.whole()
    assert caught.value.failure in CLASSES[status]
    told = (
        "API key not valid."
        if hub.provider.dialect == "gemini" and status == 401
        else "Such a pity."
    )
    assert told in caught.value.message
    if status in {429, 503}:
        assert caught.value.retry_after_s == 7


SMALL = [row for row in FIRST_OF_EACH if (row.get("context_window") or 10**9) <= 300_000]


@pytest.mark.parametrize("hub", SMALL, ids=[row["provider"] for row in SMALL], indirect=True)
def test_a_prompt_that_is_too_long_is_known_as_such(hub: Hub) -> None:
    window = hub.endpoint.context_window or 0
    with pytest.raises(UpstreamError) as caught:
        hub.whole(messages=[{"role": "user", "content": "word " * window}])
    assert caught.value.failure is FailureClass.CONTEXT


@every_provider
@pytest.mark.parametrize(
    "fault", ["error_first_frame", "error_at", "cut", "malformed_frame", "html_200", "error_200"]
)
def test_the_hub_sees_every_broken_stream(hub: Hub, fault: str) -> None:
    hub.played.add_fault(fault, after_chunks=2, mode="clean")
    with pytest.raises(UpstreamError):
        hub.streamed()


@every_provider
@pytest.mark.parametrize(
    "fault",
    [
        "no_done",
        "double_done",
        "byte_by_byte",
        "no_usage",
        "crlf",
        "bare_cr",
        "no_space",
        "bom",
    ],
)
def test_the_hub_forgives_what_does_no_harm(hub: Hub, fault: str) -> None:
    hub.played.add_fault(fault)
    message, usage = hub.streamed()
    assert message["content"].endswith(".")
    if fault == "no_usage":
        assert usage.output_total is None
    elif hub.provider.dialect != "anthropic" or fault != "no_done":
        _as_billed(usage, hub.played.journal()[-1])


LISTED = [row for row in FIRST_OF_EACH if PROVIDERS[row["provider"]].get("listing")]


@pytest.mark.parametrize("row", LISTED, ids=[row["provider"] for row in LISTED])
def test_the_price_refresh_reads_the_catalogs_own_prices(
    played: ThreadedSimulator, http: httpx.Client, row: dict[str, Any]
) -> None:
    played.clear()
    slug = row["provider"]
    listing = PROVIDERS[slug]["listing"]
    answer = http.get(
        played.base_url(slug) + listing["path"],
        headers={"authorization": f"Bearer {played.key(slug)}"},
    )
    told = {
        (price.upstream_model, price.meter): price.usd
        for price in listings.parse(listing["kind"], answer.json(), slug)
    }
    compared = 0
    for endpoint in _playing(played)[slug].endpoints.values():
        for price in endpoint.prices:
            conditions = price.min_input_tokens or price.utc_from or price.service_tier
            if price.meter in {"input", "output"} and not conditions:
                key = endpoint.upstream_model, Meter(price.meter)
                assert told[key] == Decimal(price.usd), key
                compared += 1
    assert compared >= 2


def _playing(played: ThreadedSimulator) -> World:
    return played.server.world
