"""huggingface_hub's InferenceClient."""

from __future__ import annotations

import json
from typing import Any

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
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

client = InferenceClient(base_url=f"{URL}/v1", api_key=KEY)
ASKED: list[Any] = [{"role": "user", "content": HELLO}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather", "parameters": CITY_SCHEMA},
}


@per_dialect
def chat(model: str) -> None:
    answer = client.chat_completion(ASKED, model=model, max_tokens=60)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens > 0


@per_dialect
def streaming(model: str) -> None:
    plain = client.chat_completion(ASKED, model=model)
    chunks = list(client.chat_completion(ASKED, model=model, stream=True))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == plain.choices[0].message.content


@per_dialect
def tools(model: str) -> None:
    messages: list[Any] = [{"role": "user", "content": WEATHER_QUESTION}]
    first = client.chat_completion(messages, model=model, tools=[TOOL])
    call = first.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}
    messages += [
        {"role": "assistant", "tool_calls": [json.loads(json.dumps(call))]},
        {"role": "tool", "tool_call_id": call.id, "content": WEATHER},
    ]
    second = client.chat_completion(messages, model=model, tools=[TOOL])
    assert second.choices[0].message.content


@per_dialect
def structured_output(model: str) -> None:
    asked: Any = {
        "type": "json_schema",
        "json_schema": {"name": "panel", "strict": True, "schema": PANEL_SCHEMA},
    }
    answer = client.chat_completion(ASKED, model=model, response_format=asked)
    assert is_panel(json.loads(answer.choices[0].message.content))


@per_dialect
def asynchronous(model: str) -> None:
    async def ask() -> str:
        async with AsyncInferenceClient(base_url=f"{URL}/v1", api_key=KEY) as own:
            stream = await own.chat_completion(ASKED, model=model, stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    assert finished(ask())


@once
def wrong_key() -> None:
    stranger = InferenceClient(base_url=f"{URL}/v1", api_key=WRONG_KEY)
    error = raised(HfHubHTTPError, stranger.chat_completion, ASKED, model="openai/gpt-oss-120b")
    assert error.response.status_code == 401


@once
def unknown_model() -> None:
    error = raised(HfHubHTTPError, client.chat_completion, ASKED, model=UNKNOWN_MODEL)
    assert error.response.status_code == 404
    assert "model_not_found" in str(error)


@once
def bad_request() -> None:
    wrong: list[Any] = [{"role": "wizard", "content": "hi"}]
    error = raised(HfHubHTTPError, client.chat_completion, wrong, model="openai/gpt-oss-120b")
    assert error.response.status_code == 400


if __name__ == "__main__":
    run()
