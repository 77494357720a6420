"""anthropic."""

from __future__ import annotations

from typing import Any

import anthropic
from checks import (
    CITY_SCHEMA,
    HELLO,
    KEY,
    PANEL_SCHEMA,
    UNKNOWN_MODEL,
    URL,
    WEATHER,
    WEATHER_QUESTION,
    WRONG_KEY,
    finished,
    is_panel,
    once,
    per_dialect,
    raised,
    run,
)
from pydantic import BaseModel

client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)
ASKED: list[Any] = [{"role": "user", "content": HELLO}]
TOOL: Any = {"name": "get_weather", "description": "The weather", "input_schema": CITY_SCHEMA}


class Panel(BaseModel):
    name: str
    circuits: int


@per_dialect
def chat(model: str) -> None:
    answer = client.messages.create(model=model, messages=ASKED, max_tokens=300)
    assert any(block.type == "text" and block.text for block in answer.content)
    assert answer.stop_reason in ("end_turn", "max_tokens")
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


@per_dialect
def streaming(model: str) -> None:
    plain = client.messages.create(model=model, messages=ASKED, max_tokens=300)
    with client.messages.stream(model=model, messages=ASKED, max_tokens=300) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert [block.text for block in plain.content if block.type == "text"] == [text]
    assert final.usage.output_tokens == plain.usage.output_tokens


@per_dialect
def tools(model: str) -> None:
    messages: list[Any] = [{"role": "user", "content": WEATHER_QUESTION}]
    asked = {"model": model, "max_tokens": 300, "tools": [TOOL]}
    first = client.messages.create(messages=messages, **asked)
    assert first.stop_reason == "tool_use"
    call = next(block for block in first.content if block.type == "tool_use")
    assert call.name == "get_weather"
    assert set(call.input) == {"city"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": WEATHER}
    messages += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    second = client.messages.create(messages=messages, **asked)
    assert second.stop_reason == "end_turn"


@per_dialect
def streamed_tools(model: str) -> None:
    with client.messages.stream(
        model=model,
        max_tokens=300,
        tools=[TOOL],
        tool_choice={"type": "any"},
        messages=[{"role": "user", "content": WEATHER_QUESTION}],
    ) as stream:
        final = stream.get_final_message()
    call = next(block for block in final.content if block.type == "tool_use")
    assert set(call.input) == {"city"}


@per_dialect
def structured_output(model: str) -> None:
    answer = client.messages.parse(model=model, messages=ASKED, max_tokens=300, output_format=Panel)
    assert is_panel(answer.parsed_output.model_dump())


@per_dialect
def structured_output_by_tool(model: str) -> None:
    answer = client.messages.create(
        model=model,
        messages=ASKED,
        max_tokens=300,
        tools=[{"name": "panel", "input_schema": PANEL_SCHEMA}],
        tool_choice={"type": "tool", "name": "panel"},
    )
    assert is_panel(next(b.input for b in answer.content if b.type == "tool_use"))


@per_dialect
def counted_tokens(model: str) -> None:
    assert client.messages.count_tokens(model=model, messages=ASKED).input_tokens > 0


@per_dialect
def asynchronous(model: str) -> None:
    async def ask() -> str:
        async with (
            anthropic.AsyncAnthropic(base_url=URL, api_key=KEY, max_retries=0) as own,
            own.messages.stream(model=model, messages=ASKED, max_tokens=300) as stream,
        ):
            return "".join([text async for text in stream.text_stream])

    assert finished(ask())


@once
def wrong_key() -> None:
    stranger = anthropic.Anthropic(base_url=URL, api_key=WRONG_KEY, max_retries=0)
    error = raised(
        anthropic.AuthenticationError,
        stranger.messages.create,
        model="x",
        max_tokens=5,
        messages=ASKED,
    )
    assert error.body["error"]["type"] == "authentication_error"


@once
def unknown_model() -> None:
    ask = client.messages.create
    error = raised(anthropic.NotFoundError, ask, model=UNKNOWN_MODEL, max_tokens=5, messages=ASKED)
    assert error.body["error"]["type"] == "not_found_error"


@once
def bad_request() -> None:
    ask = client.messages.create
    wrong: list[Any] = [{"role": "wizard", "content": "hi"}]
    error = raised(
        anthropic.BadRequestError, ask, model=UNKNOWN_MODEL, max_tokens=5, messages=wrong
    )
    assert error.body["error"]["type"] == "invalid_request_error"


if __name__ == "__main__":
    run()
