"""openai, current and 1.x."""

from __future__ import annotations

import json
from typing import Any

import openai
from checks import (
    CITY_SCHEMA,
    EMBEDDING_MODEL,
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

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
ASKED: list[Any] = [{"role": "user", "content": HELLO}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather", "parameters": CITY_SCHEMA},
}


class Panel(BaseModel):
    name: str
    circuits: int


@per_dialect
def chat(model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=ASKED, max_tokens=60)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0


@per_dialect
def streaming(model: str) -> None:
    plain = client.chat.completions.create(model=model, messages=ASKED)
    chunks = list(
        client.chat.completions.create(
            model=model, messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == plain.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == plain.usage.completion_tokens


@per_dialect
def tools(model: str) -> None:
    messages: list[Any] = [{"role": "user", "content": WEATHER_QUESTION}]
    first = client.chat.completions.create(model=model, messages=messages, tools=[TOOL])
    assert first.choices[0].finish_reason == "tool_calls"
    call = first.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}
    messages += [
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": WEATHER},
    ]
    second = client.chat.completions.create(model=model, messages=messages, tools=[TOOL])
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content


@per_dialect
def structured_output(model: str) -> None:
    asked = {
        "type": "json_schema",
        "json_schema": {"name": "panel", "strict": True, "schema": PANEL_SCHEMA},
    }
    answer = client.chat.completions.create(model=model, messages=ASKED, response_format=asked)
    assert is_panel(json.loads(answer.choices[0].message.content))


@per_dialect
def structured_output_parsed(model: str) -> None:
    answer = client.chat.completions.parse(model=model, messages=ASKED, response_format=Panel)
    assert isinstance(answer.choices[0].message.parsed, Panel)


@per_dialect
def responses(model: str) -> None:
    plain = client.responses.create(model=model, input=HELLO, store=False)
    with client.responses.stream(model=model, input=HELLO, store=False) as stream:
        assert [event.type for event in stream][-1] == "response.completed"
        assert stream.get_final_response().output_text == plain.output_text
    assert plain.output_text


@per_dialect
def asynchronous(model: str) -> None:
    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0) as own:
            stream = await own.chat.completions.create(model=model, messages=ASKED, stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    assert finished(ask())


@once
def embeddings() -> None:
    answer = client.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"])
    assert [one.index for one in answer.data] == [0, 1]
    assert len(answer.data[0].embedding) == len(answer.data[1].embedding) > 100
    assert isinstance(answer.data[0].embedding[0], float)
    assert answer.usage.prompt_tokens > 0


@once
def models() -> None:
    assert len(list(client.models.list())) > 20


@once
def wrong_key() -> None:
    stranger = openai.OpenAI(base_url=f"{URL}/v1", api_key=WRONG_KEY, max_retries=0)
    raised(openai.AuthenticationError, stranger.models.list)


@once
def unknown_model() -> None:
    ask = client.chat.completions.create
    error = raised(openai.NotFoundError, ask, model=UNKNOWN_MODEL, messages=ASKED)
    assert error.code == "model_not_found"


@once
def bad_request() -> None:
    ask = client.chat.completions.create
    wrong: list[Any] = [{"role": "wizard", "content": "hi"}]
    error = raised(openai.BadRequestError, ask, model="openai/gpt-oss-120b", messages=wrong)
    assert "wizard" in error.message


if __name__ == "__main__":
    run()
