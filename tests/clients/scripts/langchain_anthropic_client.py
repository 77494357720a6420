"""langchain-anthropic."""

from __future__ import annotations

from typing import Any

import anthropic
from checks import (
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
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel


class Panel(BaseModel):
    """A panelboard."""

    name: str
    circuits: int


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: {WEATHER}"


def opened(model: str, key: str = KEY, **more: Any) -> ChatAnthropic:
    settings: dict[str, Any] = {"max_tokens": 300, "max_retries": 0, **more}
    return ChatAnthropic(model=model, base_url=URL, api_key=key, **settings)


@per_dialect
def chat(model: str) -> None:
    answer = opened(model).invoke(HELLO)
    assert answer.text
    assert answer.usage_metadata["output_tokens"] > 0


@per_dialect
def streaming(model: str) -> None:
    llm = opened(model)
    chunks = list(llm.stream(HELLO))
    assert "".join(chunk.text for chunk in chunks) == llm.invoke(HELLO).text
    assert sum(c.usage_metadata["output_tokens"] for c in chunks if c.usage_metadata) > 0


@per_dialect
def tools(model: str) -> None:
    llm = opened(model).bind_tools([get_weather])
    messages: list[Any] = [HumanMessage(WEATHER_QUESTION)]
    first = llm.invoke(messages)
    messages.append(first)
    messages += [
        ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
        for call in first.tool_calls
    ]
    assert len(messages) > 2
    assert llm.invoke(messages).text


@per_dialect
def streamed_tools(model: str) -> None:
    whole: Any = None
    for chunk in opened(model).bind_tools([get_weather]).stream(WEATHER_QUESTION):
        whole = chunk if whole is None else whole + chunk
    assert [call["name"] for call in whole.tool_calls] == ["get_weather"]
    assert set(whole.tool_calls[0]["args"]) == {"city"}


@per_dialect
def structured_output(model: str) -> None:
    assert isinstance(opened(model).with_structured_output(Panel).invoke(HELLO), Panel)


@per_dialect
def structured_output_by_schema(model: str) -> None:
    llm = opened(model).with_structured_output(Panel, method="json_schema")
    assert isinstance(llm.invoke(HELLO), Panel)


@per_dialect
def asynchronous(model: str) -> None:
    async def ask() -> str:
        return "".join([chunk.text async for chunk in opened(model).astream(HELLO)])

    assert finished(ask())


@once
def wrong_key() -> None:
    raised(anthropic.AuthenticationError, opened("openai/gpt-oss-120b", WRONG_KEY).invoke, HELLO)


@once
def unknown_model() -> None:
    raised(anthropic.NotFoundError, opened(UNKNOWN_MODEL).invoke, HELLO)


@once
def bad_request() -> None:
    llm = opened("openai/gpt-oss-120b", max_tokens=-1)
    raised(anthropic.BadRequestError, llm.invoke, HELLO)


if __name__ == "__main__":
    run()
