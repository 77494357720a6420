from __future__ import annotations

import json
from typing import Any

import pytest

from routing.core.errors import FailureClass, UpstreamError
from tests.routing.adapters.support import (
    adapter_of,
    call_of,
    dropped_by,
    endpoint_of,
    sent_body,
)

CLAUDE = endpoint_of("anthropic", "claude-x", max_output_tokens=8192)
TOOL = {
    "type": "function",
    "function": {
        "name": "get_temp",
        "description": "Temperature of a city",
        "strict": True,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ANTHROPIC_TOOL = {
    "name": "get_temp",
    "description": "Temperature of a city",
    "strict": True,
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
OTHER_TOOL = {"type": "function", "function": {"name": "now"}}
NAMED = {"type": "function", "function": {"name": "get_temp"}}
EPHEMERAL = {"type": "ephemeral", "ttl": "1h"}


def test_a_whole_conversation_is_translated() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {
            "role": "developer",
            "content": [{"type": "text", "text": "and kind", "cache_control": EPHEMERAL}],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is this?", "cache_control": EPHEMERAL},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": "Checking.",
            "reasoning_content": "Need the city.",
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "Need the city.",
                    "signature": "c2ln",
                    "index": 0,
                },
                {"type": "reasoning.encrypted", "data": "ZW5j", "index": 1},
            ],
            "tool_calls": [
                {
                    "id": "call:1",
                    "type": "function",
                    "function": {"name": "get_temp", "arguments": '{"city":"Oslo"}'},
                },
                {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "call:1", "content": "4 C"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]},
        {"role": "user", "content": "and now?"},
        {"role": "system", "content": "the user is in a hurry"},
    ]
    sent = sent_body(
        CLAUDE, messages=messages, tools=[TOOL, OTHER_TOOL], stop=["END"], top_p=0.9, user="u"
    )
    assert sent == {
        "model": "claude-x",
        "max_tokens": 8192,
        "system": [
            {"type": "text", "text": "be brief"},
            {"type": "text", "text": "and kind", "cache_control": EPHEMERAL},
        ],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this?", "cache_control": EPHEMERAL},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
                    },
                    {
                        "type": "image",
                        "source": {"type": "url", "url": "https://example.org/a.png"},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Need the city.", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "ZW5j"},
                    {"type": "text", "text": "Checking."},
                    {
                        "type": "tool_use",
                        "id": "call_1",
                        "name": "get_temp",
                        "input": {"city": "Oslo"},
                    },
                    {"type": "tool_use", "id": "call_2", "name": "now", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "4 C"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "call_2",
                        "content": [{"type": "text", "text": "noon"}],
                    },
                    {"type": "text", "text": "and now?"},
                    {"type": "text", "text": "the user is in a hurry"},
                ],
            },
        ],
        "tools": [
            ANTHROPIC_TOOL,
            {"name": "now", "input_schema": {"type": "object", "properties": {}}},
        ],
        "stop_sequences": ["END"],
        "top_p": 0.9,
        "metadata": {"user_id": "u"},
    }


@pytest.mark.parametrize(
    ("asked", "sent", "dropped"),
    [
        # the output limit is mandatory there
        ({}, {"max_tokens": 8192}, ()),
        ({"max_tokens": 5}, {"max_tokens": 5}, ()),
        ({"max_completion_tokens": 6, "max_tokens": 5}, {"max_tokens": 6}, ()),
        # sampling
        ({"temperature": 0.5}, {"temperature": 0.5}, ()),
        ({"temperature": 1.7}, {"temperature": 1}, ("temperature",)),
        ({"top_k": 4, "seed": 3}, {"top_k": 4}, ("seed",)),
        ({"frequency_penalty": 0, "logprobs": False, "n": 1, "store": False}, {}, ()),
        ({"stop": "END"}, {"stop_sequences": ["END"]}, ()),
        ({"stop": ["END", " \n", ""]}, {"stop_sequences": ["END"]}, ("stop",)),
        # tools
        (
            {"tools": [TOOL], "tool_choice": "auto"},
            {"tools": [ANTHROPIC_TOOL], "tool_choice": {"type": "auto"}},
            (),
        ),
        (
            {"tools": [TOOL], "tool_choice": "none"},
            {"tools": [ANTHROPIC_TOOL], "tool_choice": {"type": "none"}},
            (),
        ),
        (
            {"tools": [TOOL], "tool_choice": "required"},
            {"tools": [ANTHROPIC_TOOL], "tool_choice": {"type": "any"}},
            (),
        ),
        (
            {"tools": [TOOL], "tool_choice": NAMED},
            {"tools": [ANTHROPIC_TOOL], "tool_choice": {"type": "tool", "name": "get_temp"}},
            (),
        ),
        (
            {
                "tools": [TOOL, OTHER_TOOL],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [NAMED]},
                },
            },
            {"tools": [ANTHROPIC_TOOL], "tool_choice": {"type": "auto"}},
            (),
        ),
        (
            {"tools": [TOOL], "parallel_tool_calls": False},
            {
                "tools": [ANTHROPIC_TOOL],
                "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            },
            (),
        ),
        (
            {"tools": [{**TOOL, "cache_control": EPHEMERAL}]},
            {"tools": [{**ANTHROPIC_TOOL, "cache_control": EPHEMERAL}]},
            (),
        ),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            (),
        ),
        # thinking
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, ()),
        (
            {"reasoning_effort": "minimal"},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            (),
        ),
        (
            {"reasoning": {"effort": "high"}, "temperature": 0.2, "top_p": 0.99},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}, "top_p": 0.99},
            ("temperature",),
        ),
        (
            {"reasoning_effort": "high", "tools": [TOOL], "tool_choice": "required"},
            {
                "output_config": {"effort": "high"},
                "tools": [ANTHROPIC_TOOL],
                "tool_choice": {"type": "any"},
            },
            (),
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}, "reasoning_effort": "low"},
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            (),
        ),
        # answers by schema
        ({"response_format": {"type": "text"}}, {}, ()),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {"type": "object"}},
                },
                "reasoning_effort": "low",
            },
            {
                "output_config": {
                    "effort": "low",
                    "format": {"type": "json_schema", "schema": {"type": "object"}},
                },
                "thinking": {"type": "adaptive"},
            },
            (),
        ),
        # the rest
        (
            {"metadata": {"user_id": "u", "team": "x"}},
            {"metadata": {"user_id": "u"}},
            ("metadata",),
        ),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}, ()),
        ({"service_tier": "flex"}, {}, ("service_tier",)),
        (
            {"speed": "fast", "context_management": {}},
            {"speed": "fast", "context_management": {}},
            (),
        ),
        ({"something_new": 1}, {"something_new": 1}, ()),
    ],
)
def test_a_parameter_becomes_its_counterpart_or_is_reported(
    asked: dict[str, Any], sent: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    base = {
        "model": "claude-x",
        "max_tokens": 8192,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }
    assert sent_body(CLAUDE, **asked) == {**base, **sent}
    assert dropped_by(CLAUDE, **asked) == dropped


@pytest.mark.parametrize(
    "asked",
    [
        {"n": 2},
        {"functions": [{"name": "f"}]},
        {"tools": [{"type": "custom", "custom": {"name": "sql"}}]},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}],
                }
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        {
            "messages": [
                {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]}
            ]
        },
        {"messages": [{"role": "function", "name": "f", "content": "x"}]},
    ],
)
def test_what_cannot_be_expressed_there_is_refused_before_anything_is_sent(
    asked: dict[str, Any],
) -> None:
    with pytest.raises(UpstreamError) as caught:
        sent_body(CLAUDE, **asked)
    assert caught.value.failure is FailureClass.CLIENT
    assert not caught.value.was_sent


def test_a_strict_record_keeps_unknown_fields_back_and_reports_them() -> None:
    strict = endpoint_of("anthropic", "c", strict_unknown=True, drop_params=("top_k",))
    asked = {"min_p": 0.1, "top_k": 3, "speed": "fast"}
    sent = sent_body(strict, **asked)
    assert "min_p" not in sent
    assert "top_k" not in sent
    assert sent["speed"] == "fast"
    assert dropped_by(strict, **asked) == ("top_k", "min_p")


def test_without_a_known_limit_there_still_is_one() -> None:
    assert sent_body(endpoint_of("anthropic", "c"))["max_tokens"] == 4096


@pytest.mark.parametrize(
    ("content", "last"),
    [
        ("Once upon ", [{"type": "text", "text": "Once upon"}]),
        (
            [{"type": "text", "text": "a"}, {"type": "text", "text": " \n"}],
            [{"type": "text", "text": "a"}],
        ),
    ],
)
def test_a_prefilled_answer_loses_its_trailing_space(content: Any, last: list[Any]) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": content}]
    assert sent_body(CLAUDE, messages=messages)["messages"][-1]["content"] == last


@pytest.mark.parametrize(
    "message",
    [{"role": "assistant", "content": ""}, {"role": "assistant", "content": " "}, {"role": "user"}],
)
def test_empty_messages_are_left_out(message: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": "hi"}, message]
    assert len(sent_body(CLAUDE, messages=messages)["messages"]) == 1


def test_a_signature_without_its_text_finds_it_beside() -> None:
    message = {
        "role": "assistant",
        "content": "ok",
        "reasoning_content": "Hm.",
        "reasoning_details": [{"type": "reasoning.text", "signature": "c2ln"}],
    }
    messages = [{"role": "user", "content": "hi"}, message]
    block = sent_body(CLAUDE, messages=messages)["messages"][1]["content"][0]
    assert block == {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}


def test_unsigned_reasoning_is_not_sent_back() -> None:
    message = {"role": "assistant", "content": "ok", "reasoning_content": "Hm."}
    messages = [{"role": "user", "content": "hi"}, message]
    assert sent_body(CLAUDE, messages=messages)["messages"][1]["content"] == [
        {"type": "text", "text": "ok"}
    ]


@pytest.mark.parametrize("arguments", ["", "not json", "[1]", "null", None, 7])
def test_arguments_that_are_no_object_count_as_none(arguments: Any) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    messages = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ]
    assert sent_body(CLAUDE, messages=messages)["messages"][0]["content"][0]["input"] == {}


@pytest.mark.parametrize(
    ("base_url", "quirks", "path"),
    [
        ("https://api.anthropic.com", {}, "/v1/messages"),
        ("https://api.anthropic.com/v1/", {}, "/messages"),
        ("https://api.anthropic.com", {"chat_path": "/x/messages"}, "/x/messages"),
    ],
)
def test_it_asks_at_the_messages_path(base_url: str, quirks: dict[str, Any], path: str) -> None:
    endpoint = endpoint_of("anthropic", "c", base_url=base_url, **quirks)
    assert adapter_of(endpoint).build(call_of(), endpoint, "s").path == path


@pytest.mark.parametrize("auth", ["bearer", "header:x-api-key"])
def test_it_sends_the_key_the_version_and_the_betas(auth: str) -> None:
    endpoint = endpoint_of("anthropic", "c", auth=auth)
    call = call_of(stream=True, betas=["context-1m", "bad\nbeta", 7])
    built = adapter_of(endpoint).build(call, endpoint, "s3cret")
    headers = dict(built.headers)
    assert headers[b"x-api-key"] == b"s3cret"
    assert headers[b"anthropic-version"] == b"2023-06-01"
    assert headers[b"anthropic-beta"] == b"context-1m"
    assert b"authorization" not in headers
    body = json.loads(built.body)
    assert body["stream"] is True
    assert "betas" not in body
    assert "stream_options" not in body


def test_a_record_may_pin_another_version() -> None:
    endpoint = endpoint_of("anthropic", "c", extra_headers={"anthropic-version": "2026-10-21"})
    built = adapter_of(endpoint).build(call_of(), endpoint, "s")
    assert [v for n, v in built.headers if n == b"anthropic-version"] == [b"2026-10-21"]


PDF = {"type": "file", "file": {"file_data": "data:application/pdf;base64,CCCC"}}
NATIVE = {"type": "search_result", "source": "s", "title": "t", "content": []}


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            PDF,
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "CCCC"},
            },
        ),
        ({"type": "refusal", "refusal": "no"}, {"type": "text", "text": "no"}),
        (NATIVE, NATIVE),
    ],
)
def test_files_refusals_and_the_providers_own_blocks_are_taken(
    part: dict[str, Any], block: dict[str, Any]
) -> None:
    messages = [{"role": "user", "content": [part]}]
    assert sent_body(CLAUDE, messages=messages)["messages"][0]["content"] == [block]


def test_a_tool_result_may_be_empty_and_may_be_cached() -> None:
    message = {"role": "tool", "tool_call_id": "", "content": None, "cache_control": EPHEMERAL}
    assert sent_body(CLAUDE, messages=[message])["messages"][0]["content"] == [
        {"type": "tool_result", "tool_use_id": "call", "cache_control": EPHEMERAL}
    ]


def test_reasoning_of_other_makers_is_not_taken_for_a_thought() -> None:
    details = [{"type": "reasoning.summary", "summary": "x"}, {"type": "reasoning.text"}]
    message = {"role": "assistant", "content": "ok", "reasoning_details": details}
    assert sent_body(CLAUDE, messages=[message])["messages"][0]["content"] == [
        {"type": "text", "text": "ok"}
    ]
