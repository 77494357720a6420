"""LiteLLM's SDK, with the hub as an OpenAI-compatible and as an Anthropic address."""

from __future__ import annotations

import json
from typing import Any

import litellm
from checks import (
    CITY_SCHEMA,
    EMBEDDING_MODEL,
    HELLO,
    KEY,
    UNKNOWN_MODEL,
    URL,
    WEATHER,
    WEATHER_QUESTION,
    WRONG_KEY,
    finished,
    once,
    per_dialect,
    raised,
    run,
)
from pydantic import BaseModel

litellm.suppress_debug_info = True
ASKED: list[Any] = [{"role": "user", "content": HELLO}]
CHAT: dict[str, Any] = {"api_base": f"{URL}/v1", "api_key": KEY, "num_retries": 0}
TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather", "parameters": CITY_SCHEMA},
}


class Panel(BaseModel):
    name: str
    circuits: int


def named(model: str) -> str:
    return f"openai/{model}"


@per_dialect
def chat(model: str) -> None:
    answer = litellm.completion(model=named(model), messages=ASKED, **CHAT)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens > 0


@per_dialect
def streaming(model: str) -> None:
    plain = litellm.completion(model=named(model), messages=ASKED, **CHAT)
    stream = litellm.completion(model=named(model), messages=ASKED, stream=True, **CHAT)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == plain.choices[0].message.content


@per_dialect
def tools(model: str) -> None:
    messages: list[Any] = [{"role": "user", "content": WEATHER_QUESTION}]
    first = litellm.completion(model=named(model), messages=messages, tools=[TOOL], **CHAT)
    call = first.choices[0].message.tool_calls[0]
    assert set(json.loads(call.function.arguments)) == {"city"}
    messages += [
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": WEATHER},
    ]
    second = litellm.completion(model=named(model), messages=messages, tools=[TOOL], **CHAT)
    assert second.choices[0].message.content


@per_dialect
def structured_output(model: str) -> None:
    answer = litellm.completion(model=named(model), messages=ASKED, response_format=Panel, **CHAT)
    assert Panel.model_validate_json(answer.choices[0].message.content)


@per_dialect
def messages(model: str) -> None:
    answer = litellm.completion(
        model=f"anthropic/{model}",
        messages=ASKED,
        max_tokens=300,
        api_base=URL,
        api_key=KEY,
        num_retries=0,
    )
    assert answer.choices[0].message.content


@per_dialect
def responses(model: str) -> None:
    answer = litellm.responses(model=named(model), input=HELLO, **CHAT)
    assert answer.output_text


@per_dialect
def asynchronous(model: str) -> None:
    async def ask() -> str:
        answer = await litellm.acompletion(model=named(model), messages=ASKED, **CHAT)
        return str(answer.choices[0].message.content)

    assert finished(ask())


@once
def embeddings() -> None:
    answer = litellm.embedding(model=named(EMBEDDING_MODEL), input=["one", "two"], **CHAT)
    assert len(answer.data) == 2
    assert len(answer.data[0]["embedding"]) > 100


@once
def wrong_key() -> None:
    asked = {**CHAT, "api_key": WRONG_KEY, "model": named("openai/gpt-oss-120b")}
    raised(litellm.AuthenticationError, litellm.completion, messages=ASKED, **asked)


@once
def unknown_model() -> None:
    asked = {**CHAT, "model": named(UNKNOWN_MODEL)}
    raised(litellm.NotFoundError, litellm.completion, messages=ASKED, **asked)


@once
def bad_request() -> None:
    asked = {**CHAT, "model": named("openai/gpt-oss-120b"), "temperature": 17}
    raised(litellm.BadRequestError, litellm.completion, messages=ASKED, **asked)


if __name__ == "__main__":
    run()
