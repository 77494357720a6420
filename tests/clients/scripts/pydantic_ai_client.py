"""pydantic-ai, with its OpenAI chat, OpenAI Responses and Anthropic models."""

from __future__ import annotations

from typing import Any

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
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


class Panel(BaseModel):
    name: str
    circuits: int


def over_chat(model: str, key: str = KEY) -> Any:
    return OpenAIChatModel(model, provider=OpenAIProvider(base_url=f"{URL}/v1", api_key=key))


def over_responses(model: str) -> Any:
    return OpenAIResponsesModel(model, provider=OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY))


def over_messages(model: str) -> Any:
    return AnthropicModel(model, provider=AnthropicProvider(base_url=URL, api_key=KEY))


def plain(model: Any) -> None:
    answer = Agent(model).run_sync(HELLO)
    assert answer.output
    assert answer.usage.output_tokens > 0


def streamed(model: Any) -> None:
    async def ask() -> str:
        async with Agent(model).run_stream(HELLO) as result:
            return "".join([text async for text in result.stream_text(delta=True)])

    assert finished(ask()) == Agent(model).run_sync(HELLO).output


def tool_loop(model: Any) -> None:
    asked: list[str] = []
    agent = Agent(model)

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return WEATHER

    assert agent.run_sync(WEATHER_QUESTION).output
    assert len(asked) == 1


def structured(model: Any, output: Any) -> None:
    assert isinstance(Agent(model, output_type=output).run_sync(HELLO).output, Panel)


@per_dialect
def chat(model: str) -> None:
    plain(over_chat(model))


@per_dialect
def streaming(model: str) -> None:
    streamed(over_chat(model))


@per_dialect
def tools(model: str) -> None:
    tool_loop(over_chat(model))


@per_dialect
def structured_output(model: str) -> None:
    structured(over_chat(model), NativeOutput(Panel))


@per_dialect
def structured_output_by_tool(model: str) -> None:
    structured(over_chat(model), ToolOutput(Panel))


@per_dialect
def responses(model: str) -> None:
    plain(over_responses(model))
    streamed(over_responses(model))


@per_dialect
def responses_tools(model: str) -> None:
    tool_loop(over_responses(model))


@per_dialect
def messages(model: str) -> None:
    plain(over_messages(model))
    streamed(over_messages(model))


@per_dialect
def messages_tools(model: str) -> None:
    tool_loop(over_messages(model))


@per_dialect
def messages_structured_output(model: str) -> None:
    structured(over_messages(model), ToolOutput(Panel))


@once
def embeddings() -> None:
    from pydantic_ai import Embedder
    from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel

    provider = OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY)
    found = Embedder(OpenAIEmbeddingModel(EMBEDDING_MODEL, provider=provider)).embed_documents_sync(
        ["one", "two"]
    )
    assert len(found.embeddings) == 2
    assert len(found.embeddings[0]) > 100


@once
def wrong_key() -> None:
    agent = Agent(over_chat("openai/gpt-oss-120b", WRONG_KEY))
    assert raised(ModelHTTPError, agent.run_sync, HELLO).status_code == 401


@once
def unknown_model() -> None:
    error = raised(ModelHTTPError, Agent(over_chat(UNKNOWN_MODEL)).run_sync, HELLO)
    assert error.status_code == 404
    assert "model_not_found" in str(error.body)


@once
def bad_request() -> None:
    agent = Agent(over_chat("openai/gpt-oss-120b"), model_settings={"temperature": 17})
    assert raised(ModelHTTPError, agent.run_sync, HELLO).status_code == 400


if __name__ == "__main__":
    run()
