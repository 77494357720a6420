"""instructor, over openai and over anthropic."""

from __future__ import annotations

from typing import Any

import anthropic
import instructor
import openai
from checks import HELLO, KEY, UNKNOWN_MODEL, URL, WRONG_KEY, once, per_dialect, raised, run
from instructor.core import InstructorRetryException
from pydantic import BaseModel


class Panel(BaseModel):
    name: str
    circuits: int


ASKED: list[Any] = [{"role": "user", "content": HELLO}]


def over_chat(mode: Any, key: str = KEY) -> Any:
    own = openai.OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0)
    return instructor.from_openai(own, mode=mode)


def over_messages(mode: Any) -> Any:
    own = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)
    return instructor.from_anthropic(own, mode=mode)


def asked_of(client: Any, model: str, **more: Any) -> Any:
    return client.chat.completions.create(
        model=model, messages=ASKED, response_model=Panel, max_retries=0, **more
    )


@per_dialect
def structured_output_by_tool(model: str) -> None:
    assert isinstance(asked_of(over_chat(instructor.Mode.TOOLS), model), Panel)


@per_dialect
def structured_output(model: str) -> None:
    assert isinstance(asked_of(over_chat(instructor.Mode.JSON_SCHEMA), model), Panel)


@per_dialect
def streaming(model: str) -> None:
    parts = over_chat(instructor.Mode.TOOLS).chat.completions.create_partial(
        model=model, messages=ASKED, response_model=Panel, max_retries=0
    )
    last = list(parts)[-1]
    assert isinstance(last.name, str)
    assert isinstance(last.circuits, int)


@per_dialect
def messages_structured_output_by_tool(model: str) -> None:
    client = over_messages(instructor.Mode.ANTHROPIC_TOOLS)
    assert isinstance(asked_of(client, model, max_tokens=300), Panel)


@once
def wrong_key() -> None:
    client = over_chat(instructor.Mode.TOOLS, WRONG_KEY)
    error = raised(InstructorRetryException, asked_of, client, "openai/gpt-oss-120b")
    assert "invalid_api_key" in str(error) or "401" in str(error)


@once
def unknown_model() -> None:
    client = over_chat(instructor.Mode.TOOLS)
    error = raised(InstructorRetryException, asked_of, client, UNKNOWN_MODEL)
    assert "model_not_found" in str(error)


@once
def bad_request() -> None:
    client = over_chat(instructor.Mode.TOOLS)
    error = raised(
        InstructorRetryException, asked_of, client, "openai/gpt-oss-120b", temperature=17
    )
    assert "400" in str(error)


if __name__ == "__main__":
    run()
