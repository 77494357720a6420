from __future__ import annotations

import json
from typing import Any

import pytest

from routing.adapters.base import ChatCall
from routing.adapters.left_out import MOST_NAME_CHARS, MOST_NAMES
from routing.adapters.openai_compat.losses import lost_in
from routing.core.errors import FailureClass, UpstreamError
from tests.routing.adapters.support import (
    ADAPTERS,
    call_of,
    dropped_by,
    endpoint_of,
    plain_endpoint,
    sent_body,
)

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
BY_SCHEMA = {"type": "json_schema", "json_schema": {"name": "r", "strict": True, "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
NAMED = {"type": "function", "function": {"name": "f"}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def test_everything_a_client_sends_passes_through_but_the_model() -> None:
    body = {
        "temperature": 0.3,
        "tools": [TOOL],
        "tool_choice": NAMED,
        "response_format": BY_SCHEMA,
        "prompt_cache_key": "k",
        "chat_template_kwargs": {"enable_thinking": False},
        "seed": 7,
        "stop": ["a", "b"],
        "n": 2,
    }
    sent = sent_body(plain_endpoint(), **body)
    assert sent == {
        "model": "up/model",
        "messages": [{"role": "user", "content": "hi"}],
        **body,
    }
    assert next(iter(sent)) == "model"


def test_the_clients_body_is_never_modified() -> None:
    endpoint = plain_endpoint(
        reasoning_field_in="none",
        drop_params=("seed",),
        content_parts="string_only",
        strict_unknown=True,
    )
    body = {
        "model": "m",
        "seed": 1,
        "foo": 1,
        "max_completion_tokens": 5,
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "content": "x", "reasoning_content": "y"},
        ],
    }
    before = json.dumps(body)
    ADAPTERS["openai_compat"].build(ChatCall(body, stream=True, wants_usage=False), endpoint, "s")
    assert json.dumps(body) == before


@pytest.mark.parametrize(
    ("quirks", "asked", "sent", "dropped"),
    [
        # the output limit
        ({}, {"max_completion_tokens": 5}, {"max_tokens": 5}, ()),
        ({}, {"max_completion_tokens": 5, "max_tokens": 9}, {"max_tokens": 5}, ()),
        (
            {"max_tokens_field": "max_completion_tokens"},
            {"max_tokens": 9},
            {"max_completion_tokens": 9},
            (),
        ),
        ({"max_tokens_field": "as_sent"}, {"max_tokens": 9}, {"max_tokens": 9}, ()),
        ({}, {"max_tokens": None}, {}, ()),
        # names, defaults, refused and unknown parameters
        ({"rename_params": {"seed": "random_seed"}}, {"seed": 7}, {"random_seed": 7}, ()),
        (
            {"rename_params": {"user": "user_id"}},
            {"user": "a", "user_id": "b"},
            {"user_id": "b"},
            (),
        ),
        ({"default_params": {"top_k": 3}}, {}, {"top_k": 3}, ()),
        ({"default_params": {"top_k": 3}}, {"top_k": 9}, {"top_k": 9}, ()),
        ({"drop_params": ("seed",)}, {"seed": 7, "top_p": 1}, {"top_p": 1}, ("seed",)),
        ({"drop_params": ("n", "logprobs")}, {"n": 1, "logprobs": False}, {}, ()),
        ({"strict_unknown": True}, {"min_p": 0.1, "top_p": 1}, {"top_p": 1}, ("min_p",)),
        ({"strict_unknown": True, "known_params": ("min_p",)}, {"min_p": 0.1}, {"min_p": 0.1}, ()),
        (
            {"strict_unknown": True, "rename_params": {"seed": "random_seed"}},
            {"seed": 7},
            {"random_seed": 7},
            (),
        ),
        # tool choice
        (
            {"tool_choice_map": {"required": "any"}},
            {"tool_choice": "required"},
            {"tool_choice": "any"},
            (),
        ),
        ({"tool_choice_allowed": ("none",)}, {"tool_choice": "auto"}, {}, ()),
        (
            {"tool_choice_allowed": ("auto",)},
            {"tool_choice": "none", "tools": [TOOL], "parallel_tool_calls": True},
            {},
            (),
        ),
        # answers by schema
        (
            {"response_format_style": "json_object_schema"},
            {"response_format": BY_SCHEMA},
            {"response_format": {"type": "json_object", "schema": SCHEMA}},
            (),
        ),
        (
            {"response_format_style": "flat_schema"},
            {"response_format": BY_SCHEMA},
            {"response_format": {"type": "json_schema", "schema": SCHEMA}},
            (),
        ),
        (
            {"response_format_style": "json_object"},
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json_object"}},
            (),
        ),
        ({"response_format_style": "none"}, {"response_format": {"type": "text"}}, {}, ()),
        (
            {"tools_with_response_format": False},
            {"tools": [TOOL], "response_format": {"type": "text"}},
            {"tools": [TOOL], "response_format": {"type": "text"}},
            (),
        ),
        # limits that are kept
        ({"stop_max": 2}, {"stop": ["a", "b"]}, {"stop": ["a", "b"]}, ()),
        ({"stop_max": 1}, {"stop": "a"}, {"stop": "a"}, ()),
        ({"n_max": 1}, {"n": 1}, {"n": 1}, ()),
        # plain requests do not stream
        ({}, {"stream": False, "stream_options": {"include_usage": True}}, {}, ()),
    ],
)
def test_a_quirk_bends_the_request(
    quirks: dict[str, Any], asked: dict[str, Any], sent: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    endpoint = plain_endpoint(**quirks)
    base = {"model": "up/model", "messages": [{"role": "user", "content": "hi"}]}
    assert sent_body(endpoint, **asked) == {**base, **sent}
    assert dropped_by(endpoint, **asked) == dropped


@pytest.mark.parametrize(
    ("quirks", "asked"),
    [
        ({"stop_max": 2}, {"stop": ["a", "b", "c"]}),
        ({"n_max": 1}, {"n": 2}),
        ({"drop_params": ("n",)}, {"n": 2}),
        ({"tool_choice_allowed": ("none", "auto")}, {"tool_choice": "required"}),
        ({"tool_choice_allowed": ("none", "auto")}, {"tool_choice": NAMED}),
        ({"tools_with_response_format": False}, {"tools": [TOOL], "response_format": BY_SCHEMA}),
        ({"response_format_style": "none"}, {"response_format": {"type": "json_object"}}),
        ({"response_format_style": "none"}, {"response_format": BY_SCHEMA}),
        ({"response_format_style": "json_object"}, {"response_format": BY_SCHEMA}),
        (
            {"content_parts": "string_only"},
            {"messages": [{"role": "user", "content": [IMAGE]}]},
        ),
        (
            {"content_parts": "string_in_tools"},
            {"messages": [{"role": "tool", "tool_call_id": "c", "content": [IMAGE]}]},
        ),
    ],
)
def test_what_cannot_be_expressed_there_is_refused_before_anything_is_sent(
    quirks: dict[str, Any], asked: dict[str, Any]
) -> None:
    with pytest.raises(UpstreamError) as caught:
        sent_body(plain_endpoint(**quirks), **asked)
    assert caught.value.failure is FailureClass.CLIENT
    assert not caught.value.was_sent
    assert "Acme" in caught.value.message


@pytest.mark.parametrize(
    ("quirks", "message", "sent"),
    [
        ({}, {"role": "developer", "content": "a"}, {"role": "system", "content": "a"}),
        (
            {"developer_role": True},
            {"role": "developer", "content": "a"},
            {"role": "developer", "content": "a"},
        ),
        (
            {"content_parts": "string_only"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {"role": "user", "content": "ab"},
        ),
        (
            {"content_parts": "string_in_tools"},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "a"}]},
            {"role": "tool", "tool_call_id": "c", "content": "a"},
        ),
        (
            {"content_parts": "string_in_tools"},
            {"role": "user", "content": [IMAGE]},
            {"role": "user", "content": [IMAGE]},
        ),
        (
            {},
            {"role": "assistant", "content": "a", "reasoning": "r"},
            {"role": "assistant", "content": "a", "reasoning_content": "r"},
        ),
        (
            {"reasoning_field_in": "reasoning"},
            {"role": "assistant", "content": "a", "reasoning_content": "r"},
            {"role": "assistant", "content": "a", "reasoning": "r"},
        ),
        (
            {"reasoning_field_in": "none"},
            {"role": "assistant", "content": "a", "reasoning_content": "r", "reasoning": "r"},
            {"role": "assistant", "content": "a"},
        ),
        (
            {"strict_unknown": True, "reasoning_field_in": "none"},
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
                "reasoning_content": "r",
                "reasoning_details": [{"type": "reasoning.text"}],
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {}, "extra_content": {"google": {}}}
                ],
            },
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}],
                "tool_calls": [{"id": "c", "type": "function", "function": {}}],
            },
        ),
        (
            {},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
            },
            {
                "role": "user",
                "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
            },
        ),
    ],
)
def test_a_quirk_bends_the_messages(
    quirks: dict[str, Any], message: dict[str, Any], sent: dict[str, Any]
) -> None:
    assert sent_body(plain_endpoint(**quirks), messages=[message])["messages"] == [sent]


def test_an_endpoint_that_sees_gets_parts_where_text_will_not_do() -> None:
    seeing = endpoint_of("acme", content_parts="string_only", capabilities=frozenset({"vision"}))
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "user", "content": [IMAGE]},
    ]
    sent = sent_body(seeing, messages=messages)["messages"]
    assert [message["content"] for message in sent] == ["a", [IMAGE]]


@pytest.mark.parametrize("messages", [None, "hi", [], ["hi"], [None], {}])
def test_messages_of_a_wrong_type_are_left_to_the_provider(messages: Any) -> None:
    assert sent_body(plain_endpoint(), messages=messages)["messages"] == messages


@pytest.mark.parametrize(
    ("mode", "asked", "sent"),
    [
        ("include_usage", {}, {"include_usage": True}),
        ("include_usage", {"include_usage": False}, {"include_usage": True}),
        (
            "include_usage",
            {"include_obfuscation": False},
            {"include_obfuscation": False, "include_usage": True},
        ),
        ("always", {"include_usage": True}, None),
        ("finish_chunk", {"include_usage": True}, None),
        ("every_chunk", {}, None),
    ],
)
def test_usage_is_asked_for_where_it_must_be_and_never_where_that_is_refused(
    mode: str, asked: dict[str, Any], sent: dict[str, Any] | None
) -> None:
    endpoint = plain_endpoint(usage_mode=mode)
    call = call_of(stream=True, stream_options=asked)
    body = json.loads(ADAPTERS["openai_compat"].build(call, endpoint, "s").body)
    assert body["stream"] is True
    assert body.get("stream_options") == sent


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        ("bearer", b"authorization", b"Bearer s3cret"),
        ("key", b"authorization", b"Key s3cret"),
        ("header:X-Api-Key", b"x-api-key", b"s3cret"),
    ],
)
def test_the_credential_goes_where_the_provider_wants_it(
    auth: str, name: bytes, value: bytes
) -> None:
    endpoint = plain_endpoint(auth=auth, extra_headers={"X-Title": "hub"}, chat_path="/c")
    built = ADAPTERS["openai_compat"].build(call_of(stream=True), endpoint, "s3cret")
    assert built.path == "/c"
    assert dict(built.headers) == {
        b"content-type": b"application/json",
        b"accept": b"text/event-stream",
        b"x-title": b"hub",
        name: value,
    }


def test_a_provider_without_a_credential_gets_no_authorization() -> None:
    built = ADAPTERS["openai_compat"].build(call_of(), plain_endpoint(), "")
    assert b"authorization" not in dict(built.headers)


def test_a_lone_surrogate_in_a_prompt_survives() -> None:
    messages = [{"role": "user", "content": "a\ud83d"}]
    assert sent_body(plain_endpoint(), messages=messages)["messages"] == messages


def test_no_more_of_what_is_left_out_is_named_than_a_log_can_hold() -> None:
    asked = [{"role": "user", "content": "hi", **{f"{n}{'x' * 1000}": 1 for n in range(1000)}}]
    names = lost_in(asked, [{"role": "user", "content": "hi"}])
    assert len(names) == MOST_NAMES
    assert {len(name) for name in names} == {MOST_NAME_CHARS}
