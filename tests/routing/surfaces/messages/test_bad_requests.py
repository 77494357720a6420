from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.base import ChatCall
from routing.adapters.left_out import MOST_NAME_CHARS, MOST_NAMES
from routing.core.errors import HubError, UpstreamError
from tests.routing.adapters.support import adapter_of, endpoint_of
from tests.routing.surfaces.messages.support import HI, PNG, assistant, user, voice_of

NAMES = st.sampled_from(
    [
        "type",
        "role",
        "content",
        "text",
        "source",
        "media_type",
        "data",
        "url",
        "id",
        "name",
        "input",
        "tool_use_id",
        "thinking",
        "signature",
        "title",
        "citations",
        "cache_control",
        "input_schema",
    ]
)
WORDS = st.sampled_from(
    [
        "user",
        "assistant",
        "system",
        "text",
        "image",
        "document",
        "tool_use",
        "tool_result",
        "thinking",
        "redacted_thinking",
        "search_result",
        "base64",
        "url",
        "content",
        "custom",
        "auto",
        "panelboard:e30=",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=14,
)
FIELDS = st.sampled_from(
    ["messages", "system", "tools", "tool_choice", "thinking", "output_config", "metadata", "stop"]
)
ENDPOINTS = [endpoint_of(slug) for slug in ("openai", "groq", "gemini", "anthropic")]


BLOCKS = st.builds(lambda kind, more: {**more, "type": kind}, WORDS, st.dictionaries(NAMES, JSON))
TURNS = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant"]),
    st.lists(BLOCKS, max_size=2) | st.text(max_size=3),
)
ABSURD = st.dictionaries(FIELDS, JSON, max_size=3) | st.builds(
    lambda messages: {"messages": messages}, st.lists(TURNS, min_size=1, max_size=3)
)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": ["hi"]}, "messages.0"),
        ({"messages": [{"content": "hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "tool", "content": "hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [HI, user("hi")]}, "messages.1.content.0"),
        ({"messages": [user({"text": "hi"})]}, "messages.0.content.0.type"),
        ({"messages": [user({"type": "text"})]}, "messages.0.content.0.text"),
        ({"messages": [user({"type": "image"})]}, "messages.0.content.0.source"),
        ({"messages": [user({"type": "image", "source": {}})]}, "messages.0.content.0.source.type"),
        (
            {"messages": [user({"type": "image", "source": {"type": "base64"}})]},
            "messages.0.content.0.source.media_type",
        ),
        (
            {
                "messages": [
                    user(
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "png", "data": "A"},
                        }
                    )
                ]
            },
            "messages.0.content.0.source",
        ),
        ({"messages": [user({"type": "tool_result"})]}, "messages.0.content.0.tool_use_id"),
        (
            {"messages": [user({"type": "tool_result", "tool_use_id": "a", "content": 4})]},
            "messages.0.content.0.content",
        ),
        (
            {"messages": [assistant({"type": "tool_use", "id": "a", "name": "f", "input": "{}"})]},
            "messages.0.content.0.input",
        ),
        ({"messages": [assistant({"type": "thinking"})]}, "messages.0.content.0.thinking"),
        ({"system": 7}, "system"),
        ({"system": [PNG]}, "system.0"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stop_sequences": ["END", " "]}, "stop_sequences.1"),
        ({"stop_sequences": [*["END"] * 10_000, 7]}, "stop_sequences"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 1.5}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"top_k": 1.5}, "top_k"),
        ({"stream": "yes"}, "stream"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"tools": {}}, "tools"),
        ({"tools": [7]}, "tools.0"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name"),
        ({"tools": [{"name": "f"}]}, "tools.0.input_schema"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "required"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {}, "max_tokens": True}, "max_tokens"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": "most"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "json"}}}, "output_config.format.type"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema"),
    ],
)
def test_bad_input_is_refused_by_the_name_of_its_field(asked: dict[str, Any], param: str) -> None:
    with pytest.raises(HubError) as caught:
        voice_of(**asked)
    error = caught.value
    assert (error.status, error.param, error.should_retry) == (400, param, False)
    assert error.message.startswith(f"{param}: ")


def test_no_more_of_what_is_left_out_is_named_than_a_log_can_hold() -> None:
    tools = [{"type": f"made_up_{n}_{'x' * 1000}", "name": "t"} for n in range(1000)]
    voice = voice_of(tools=tools, **{f"field_{n}": n for n in range(1000)})
    for names in (voice.uncarried, voice.essential):
        assert len(names) == MOST_NAMES
        assert max(map(len, names)) <= MOST_NAME_CHARS


@settings(max_examples=200, deadline=None)
@given(ABSURD, st.sampled_from(ENDPOINTS))
def test_an_absurd_request_is_refused_or_can_be_sent_anywhere(
    asked: dict[str, Any], endpoint: Any
) -> None:
    with suppress(HubError):
        voice = voice_of(**asked)
        for native in (None, voice.native):
            call = ChatCall(voice.chat, stream=False, wants_usage=True, native=native)
            with suppress(UpstreamError):
                built = adapter_of(endpoint).build(call, endpoint, "s")
                assert isinstance(json.loads(built.body), dict)
