"""langchain-openai."""

from __future__ import annotations

from typing import Any

import openai
from checks import (
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
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Panel(BaseModel):
    """A panelboard."""

    name: str
    circuits: int


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: {WEATHER}"


def opened(model: str, key: str = KEY, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=f"{URL}/v1", api_key=key, max_retries=0, **more)


@per_dialect
def chat(model: str) -> None:
    answer = opened(model).invoke(HELLO)
    assert answer.content
    assert answer.usage_metadata["output_tokens"] > 0


@per_dialect
def streaming(model: str) -> None:
    llm = opened(model, stream_usage=True)
    chunks = list(llm.stream(HELLO))
    assert "".join(str(chunk.content) for chunk in chunks) == opened(model).invoke(HELLO).content
    used = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert sum(one["output_tokens"] for one in used) > 0


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
    assert llm.invoke(messages).content


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
def structured_output_by_tool(model: str) -> None:
    llm = opened(model).with_structured_output(Panel, method="function_calling")
    assert isinstance(llm.invoke(HELLO), Panel)


@per_dialect
def responses(model: str) -> None:
    llm = opened(model, use_responses_api=True)
    plain = llm.invoke(HELLO)
    assert plain.text
    streamed = "".join(chunk.text for chunk in llm.stream(HELLO))
    assert streamed == plain.text


@per_dialect
def asynchronous(model: str) -> None:
    async def ask() -> str:
        return "".join([str(chunk.content) async for chunk in opened(model).astream(HELLO)])

    assert finished(ask())


@once
def embeddings() -> None:
    embedder = OpenAIEmbeddings(
        model=EMBEDDING_MODEL,
        base_url=f"{URL}/v1",
        api_key=KEY,
        check_embedding_ctx_length=False,
        max_retries=0,
    )
    found = embedder.embed_documents(["one", "two"])
    assert len(found) == 2
    assert len(found[0]) == len(found[1]) > 100


@once
def wrong_key() -> None:
    raised(openai.AuthenticationError, opened("openai/gpt-oss-120b", WRONG_KEY).invoke, HELLO)


@once
def unknown_model() -> None:
    raised(openai.NotFoundError, opened(UNKNOWN_MODEL).invoke, HELLO)


@once
def bad_request() -> None:
    llm = opened("openai/gpt-oss-120b", temperature=17)
    raised(openai.BadRequestError, llm.invoke, HELLO)


if __name__ == "__main__":
    run()
