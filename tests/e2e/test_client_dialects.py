"""Clients of other dialects against a running hub: the same routing, the same bill, their own words."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import httpx
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.support.hub_tools import Rest, SimulatorControl, money
from tests.support.running_hub import RunningHub

pytestmark = pytest.mark.e2e

DIALECTS = ["openai_compat", "anthropic", "gemini"]
HELLO = "Describe a panelboard in two sentences."
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


@pytest.fixture(scope="module")
def claude(hub: RunningHub) -> Iterator[Anthropic]:
    with Anthropic(base_url=hub.url, api_key=hub.api_key, max_retries=0) as opened:
        yield opened


# --- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_anthropics_client_gets_the_same_text_plain_and_streamed(
    claude: Anthropic, model_of: dict[str, str], dialect: str
) -> None:
    asked = {
        "model": model_of[dialect],
        "max_tokens": 60,
        "messages": [{"role": "user", "content": HELLO}],
    }
    plain = claude.messages.create(**asked)
    with claude.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text
    assert [block.text for block in plain.content if block.type == "text"] == [text]
    assert [block.type for block in final.content] == [block.type for block in plain.content]
    assert plain.usage.input_tokens == final.usage.input_tokens > 0
    assert plain.usage.output_tokens == final.usage.output_tokens > 0
    assert plain.stop_reason == final.stop_reason


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_tool_loop_in_anthropics_words_works_with_every_provider(
    claude: Anthropic, model_of: dict[str, str], dialect: str
) -> None:
    messages: list[dict] = [{"role": "user", "content": "What is the weather in Paris?"}]
    asked = {
        "model": model_of[dialect],
        "max_tokens": 200,
        "tools": [WEATHER],
        "tool_choice": {"type": "any"},
    }
    first = claude.messages.create(messages=messages, **asked)
    assert first.stop_reason == "tool_use"
    call = next(block for block in first.content if block.type == "tool_use")
    assert call.name == "get_weather"
    messages += [
        {"role": "assistant", "content": first.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "18 degrees"}],
        },
    ]
    asked["tool_choice"] = {"type": "auto"}
    second = claude.messages.create(messages=messages, **asked)
    assert second.content


def test_a_message_is_billed_and_logged_under_its_surface(
    claude: Anthropic, model_of: dict[str, str], rest: Rest
) -> None:
    raw = claude.messages.with_raw_response.create(
        model=model_of["openai_compat"],
        max_tokens=30,
        messages=[{"role": "user", "content": HELLO}],
    )
    cost = money(raw.headers["x-panelboard-cost"])
    receipt = rest.receipt(raw.headers["x-request-id"])
    assert raw.request_id == raw.headers["x-request-id"]
    assert cost > 0
    assert money(receipt["cost_usd"]) == cost
    assert receipt["surface"] == "messages"


def test_what_only_anthropic_can_do_goes_to_anthropic_and_is_refused_elsewhere(
    claude: Anthropic, model_of: dict[str, str]
) -> None:
    asked = {
        "max_tokens": 100,
        "messages": [{"role": "user", "content": HELLO}],
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
    }
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(model=model_of["openai_compat"], **asked)
    assert "web_search" in refused.value.message
    assert refused.value.body["type"] == "error"


def test_errors_come_in_anthropics_envelope(hub: RunningHub, claude: Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        claude.messages.create(
            model="nobody/nothing", max_tokens=5, messages=[{"role": "user", "content": "hi"}]
        )
    assert unknown.value.body["error"]["type"] == "not_found_error"
    with (
        Anthropic(base_url=hub.url, api_key="pb_live_" + "x" * 46, max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(
            model="x", max_tokens=5, messages=[{"role": "user", "content": "hi"}]
        )
    with pytest.raises(anthropic.BadRequestError) as wrong:
        claude.messages.create(
            model="x", max_tokens=5, messages=[{"role": "wizard", "content": "hi"}]
        )
    assert wrong.value.body["error"]["type"] == "invalid_request_error"


def test_a_prompt_is_counted_by_the_provider_where_it_can_and_estimated_elsewhere(
    claude: Anthropic, model_of: dict[str, str]
) -> None:
    messages = [{"role": "user", "content": HELLO}]
    for dialect in DIALECTS:
        counted = claude.messages.with_raw_response.count_tokens(
            model=model_of[dialect], messages=messages
        )
        assert counted.parse().input_tokens > 0
        if dialect != "anthropic":
            assert counted.headers["x-panelboard-estimated"] == "true"


def test_a_fault_at_the_first_provider_is_not_seen_by_anthropics_client(
    claude: Anthropic, simulator: SimulatorControl
) -> None:
    with simulator.fault(provider="groq", fault="status", status=503):
        raw = claude.messages.with_raw_response.create(
            model="openai/gpt-oss-120b",
            max_tokens=20,
            messages=[{"role": "user", "content": HELLO}],
            extra_body={"provider": {"order": ["groq"]}},
        )
    assert raw.headers["x-panelboard-attempts"] == "2"
    assert raw.headers["x-panelboard-provider"] != "groq"


# --- responses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_response_says_the_same_plain_and_streamed(
    client: OpenAI, model_of: dict[str, str], dialect: str
) -> None:
    asked = {"model": model_of[dialect], "input": HELLO}
    plain = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert plain.output_text
    assert final.output_text == plain.output_text
    assert plain.usage is not None
    assert final.usage is not None
    assert plain.usage.output_tokens == final.usage.output_tokens > 0
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


def test_a_response_is_kept_continued_and_deleted(client: OpenAI, model_of: dict[str, str]) -> None:
    model = model_of["openai_compat"]
    first = client.responses.create(model=model, input="My name is Ada.")
    second = client.responses.create(
        model=model, input="What is my name?", previous_response_id=first.id
    )
    assert client.responses.retrieve(first.id).output_text == first.output_text
    items = client.responses.input_items.list(second.id, order="asc").data
    assert items[0].content[0].text == "My name is Ada."
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as gone:
        client.responses.create(model=model, input="Again?", previous_response_id=first.id)
    assert gone.value.code == "previous_response_not_found"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_tool_loop_in_responses_works_with_every_provider(
    client: OpenAI, model_of: dict[str, str], dialect: str
) -> None:
    tool = {
        "type": "function",
        "name": "get_weather",
        "parameters": WEATHER["input_schema"],
        "strict": False,
    }
    first = client.responses.create(
        model=model_of[dialect],
        input="What is the weather in Paris?",
        tools=[tool],
        tool_choice="required",
    )
    call = next(item for item in first.output if item.type == "function_call")
    assert call.name == "get_weather"
    second = client.responses.create(
        model=model_of[dialect],
        previous_response_id=first.id,
        tools=[tool],
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"}],
    )
    assert second.status == "completed"


def test_a_built_in_tool_that_nobody_runs_is_refused(
    client: OpenAI, model_of: dict[str, str]
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(
            model=model_of["openai_compat"],
            input=HELLO,
            tools=[{"type": "file_search", "vector_store_ids": ["x"]}],
        )
    assert "file_search" in refused.value.message


# --- completions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_older_completions_say_the_same_plain_and_streamed(
    client: OpenAI, model_of: dict[str, str], dialect: str
) -> None:
    asked = {"model": model_of[dialect], "prompt": HELLO, "max_tokens": 40}
    plain = client.completions.create(**asked)
    text = "".join(
        chunk.choices[0].text
        for chunk in client.completions.create(stream=True, **asked)
        if chunk.choices
    )
    assert plain.choices[0].text
    assert text == plain.choices[0].text


def test_an_address_that_does_not_exist_lists_those_that_do(http: httpx.Client) -> None:
    answer = http.get("/v1/nothing")
    assert answer.status_code == 404
    for path in ("/v1/messages", "/v1/responses", "/v1/completions", "/v1/chat/completions"):
        assert path in answer.json()["error"]["message"]
