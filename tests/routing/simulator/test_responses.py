"""The played OpenAI's `/responses`: its own SDK's types, and what it refuses to be sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from tests.routing.simulator.plays import EVERYTHING, WEATHER_TOOL, endpoint, price, provider

THINKER, TALKER = "openai/gpt-thinks", "openai/gpt-talks"
PRICES = [price("input", "2"), price("output", "8"), price("search", "0.01")]
CATALOG: dict[str, Any] = {
    "format": "panelboard-catalog/1",
    "providers": [
        provider("openai", "https://api.openai.com/v1", quirks={"responses_path": "/responses"})
    ],
    "models": [],
    "endpoints": [
        endpoint("openai", "thinks", PRICES, THINKER, capabilities=[*EVERYTHING, "reasoning"]),
        endpoint("openai", "talks", PRICES, TALKER),
    ],
}
BUILTIN = [
    {"type": "web_search"},
    {"type": "file_search", "vector_store_ids": ["vs_1"]},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "mcp", "server_label": "watts", "server_url": "https://mcp.example"},
    {"type": "image_generation"},
]
FUNCTION = {"type": "function", **WEATHER_TOOL, "strict": True}
_event: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


@pytest.fixture(scope="module")
def played() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator([CATALOG], Options(speed=0)) as simulator:
        yield simulator


@pytest.fixture
def ask(played: ThreadedSimulator) -> Iterator[Any]:
    played.clear()
    headers = {"authorization": "Bearer sim-openai-key"}
    base = played.base_url("openai")
    with httpx.Client(headers=headers, timeout=10) as http:

        def post(**body: Any) -> httpx.Response:
            return http.post(f"{base}/responses", json={"model": "talks", "input": "hi", **body})

        yield post


def whole(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    Response.model_validate(document, strict=True)
    return document


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found = []
    for block in answer.text.split("\n\n"):
        if block:
            name, _, data = block.partition("\n")
            event = json.loads(data.removeprefix("data: "))
            assert name == f"event: {event['type']}"
            _event.validate_python(event, strict=True)
            found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"instructions": "be brief", "metadata": {"a": "b"}, "service_tier": "priority"},
        {"model": "thinks", "reasoning": {"summary": "auto", "effort": "low"}},
        {"model": "thinks", "include": ["reasoning.encrypted_content"]},
        {"tools": [FUNCTION], "input": "What is the weather in Oslo and Paris?"},
        {"tools": BUILTIN, "include": ["file_search_call.results"]},
        {"max_output_tokens": 16},
        {"include": ["message.output_text.logprobs"]},
    ],
)
def test_a_stream_tells_of_the_very_response_that_is_given_whole(ask: Any, body: Any) -> None:
    given, told = whole(ask(**body)), events(ask(**body, stream=True))
    last = told[-1]["response"]
    assert told[-1]["type"] == f"response.{given['status']}"
    ids = ("id", "call_id", "encrypted_content")

    def without_ids(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{n: v for n, v in item.items() if n not in ids} for item in items]

    assert without_ids(last["output"]) == without_ids(given["output"])
    assert last["usage"] == given["usage"]
    done = [e["item"] for e in told if e["type"] == "response.output_item.done"]
    assert done == last["output"]


def test_each_built_in_tool_leaves_its_item(ask: Any) -> None:
    kinds = [item["type"] for item in whole(ask(tools=BUILTIN))["output"]]
    assert kinds == [
        "web_search_call",
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "mcp_list_tools",
        "mcp_call",
        "image_generation_call",
        "message",
    ]


def test_each_search_is_billed_and_no_page_that_is_opened(
    ask: Any, played: ThreadedSimulator
) -> None:
    said = whole(ask(tools=[{"type": "web_search"}], input="search, and search again"))
    actions = [item["action"]["type"] for item in said["output"] if "action" in item]
    assert actions == ["search", "search", "open_page"]
    usage = said["usage"]
    tokens = Decimal(usage["input_tokens"] * 2 + usage["output_tokens"] * 8) / 1_000_000
    assert Decimal(played.journal()[-1].cost_usd) == tokens + Decimal("0.02")


def test_thoughts_come_back_sealed_and_can_be_read_again(
    ask: Any, played: ThreadedSimulator
) -> None:
    sealed = {"model": "thinks", "store": False, "include": ["reasoning.encrypted_content"]}
    first = whole(ask(**sealed, input="What is the weather in Oslo?", tools=[FUNCTION]))
    thought, call = first["output"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "4 C"}
    turns = [{"role": "user", "content": "how warm?"}, thought, call, result]
    assert "4 C" in whole(ask(**sealed, input=turns))["output"][-1]["content"][0]["text"]
    assert played.violations() == []
    for broken in ({**thought, "encrypted_content": "gAAAAnonsense"}, {**thought}):
        if broken == thought:
            del broken["encrypted_content"]
        answer = ask(**sealed, input=[turns[0], broken, call, result])
        assert answer.status_code in (400, 404)
    assert len(played.violations()) == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"stop": ["x"]}, "stop"),
        ({"max_output_tokens": 5}, "max_output_tokens"),
        ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
        ({"include": ["reasoning.encrypted_content"]}, "include"),
        ({"tools": [{"type": "file_search"}]}, "tools"),
        ({"tools": [{"type": "nonsense"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input"),
        ({"input": []}, "input"),
    ],
)
def test_what_it_does_not_take_is_refused_by_name(ask: Any, body: Any, param: str) -> None:
    answer = ask(**body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["param"] == param


def test_without_its_address_a_provider_has_no_responses(played: ThreadedSimulator) -> None:
    answer = httpx.post(f"{played.base_url('openai')}/nothing", json={})
    assert answer.status_code == 404
