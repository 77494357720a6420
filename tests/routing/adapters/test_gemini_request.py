from __future__ import annotations

from typing import Any

import pytest

from routing.adapters.left_out import MOST_NAME_CHARS, MOST_NAMES
from routing.core.errors import FailureClass, UpstreamError
from tests.routing.adapters.support import (
    adapter_of,
    call_of,
    dropped_by,
    endpoint_of,
    sent_body,
)

GEMINI = endpoint_of("gemini", "gemini-3-x", stop_max=5)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {
    "type": "function",
    "function": {"name": "get_temp", "description": "d", "parameters": SCHEMA},
}
OTHER_TOOL = {"type": "function", "function": {"name": "now"}}
NAMED = {"type": "function", "function": {"name": "get_temp"}}
DECLARED = {"name": "get_temp", "description": "d", "parametersJsonSchema": SCHEMA}
USER_HI = {"role": "user", "parts": [{"text": "hi"}]}


def test_a_whole_conversation_is_translated() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.webp?x=1"}},
                {"type": "image_url", "image_url": "https://example.org/a"},
                {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,CCCC"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "not sent back",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "get_temp", "arguments": '{"city":"Oslo"}'},
                    "extra_content": {"google": {"thought_signature": "c2ln"}},
                },
                {"id": "c2", "type": "function", "function": {"name": "now", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "4 C"},
        {"role": "tool", "tool_call_id": "c2", "content": '{"hour":12}'},
        {"role": "developer", "content": "hurry"},
    ]
    assert sent_body(GEMINI, messages=messages, tools=[TOOL, OTHER_TOOL]) == {
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "what is this?"},
                    {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                    {
                        "fileData": {
                            "mimeType": "image/webp",
                            "fileUri": "https://example.org/a.webp?x=1",
                        }
                    },
                    {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.org/a"}},
                    {"inlineData": {"mimeType": "audio/mp3", "data": "BBBB"}},
                    {"inlineData": {"mimeType": "application/pdf", "data": "CCCC"}},
                ],
            },
            {
                "role": "model",
                "parts": [
                    {
                        "functionCall": {"id": "c1", "name": "get_temp", "args": {"city": "Oslo"}},
                        "thoughtSignature": "c2ln",
                    },
                    {"functionCall": {"id": "c2", "name": "now", "args": {}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "id": "c1",
                            "name": "get_temp",
                            "response": {"result": "4 C"},
                        }
                    },
                    {"functionResponse": {"id": "c2", "name": "now", "response": {"hour": 12}}},
                    {"text": "hurry"},
                ],
            },
        ],
        "tools": [{"functionDeclarations": [DECLARED, {"name": "now"}]}],
    }


def functions(mode: str, *names: str) -> dict[str, Any]:
    config: dict[str, Any] = {"mode": mode}
    return {
        "functionCallingConfig": {**config, "allowedFunctionNames": list(names)}
        if names
        else config
    }


MARK = {"type": "ephemeral", "ttl": "1h"}
MARKED = {"type": "text", "text": "hi", "cache_control": MARK}


@pytest.mark.parametrize(
    ("asked", "sent", "dropped"),
    [
        (
            {
                "max_completion_tokens": 5,
                "temperature": 1.5,
                "top_p": 0.9,
                "top_k": 40,
                "seed": 7,
                "n": 2,
                "presence_penalty": 0.1,
                "frequency_penalty": 0.2,
                "stop": ["a", ""],
                "modalities": ["text"],
            },
            {
                "generationConfig": {
                    "maxOutputTokens": 5,
                    "temperature": 1.5,
                    "topP": 0.9,
                    "topK": 40,
                    "seed": 7,
                    "candidateCount": 2,
                    "presencePenalty": 0.1,
                    "frequencyPenalty": 0.2,
                    "stopSequences": ["a"],
                    "responseModalities": ["TEXT"],
                }
            },
            (),
        ),
        ({"logit_bias": {"1": 2}, "user": "u", "store": False}, {}, ("logit_bias", "user")),
        ({"parallel_tool_calls": True}, {}, ()),
        ({"parallel_tool_calls": False}, {}, ("parallel_tool_calls",)),
        ({"service_tier": "flex"}, {"serviceTier": "FLEX"}, ()),
        ({"service_tier": "auto"}, {}, ()),
        ({"service_tier": "fast"}, {}, ("service_tier",)),
        # thinking by level, or by budget in the second generation
        (
            {"reasoning_effort": "low"},
            {
                "generationConfig": {
                    "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"}
                }
            },
            (),
        ),
        (
            {"reasoning_effort": "none"},
            {
                "generationConfig": {
                    "thinkingConfig": {"includeThoughts": False, "thinkingLevel": "MINIMAL"}
                }
            },
            (),
        ),
        (
            {
                "reasoning_effort": "low",
                "generationConfig": {
                    "thinkingConfig": {"thinkingBudget": 9},
                    "mediaResolution": "LOW",
                },
            },
            {
                "generationConfig": {
                    "thinkingConfig": {"thinkingBudget": 9},
                    "mediaResolution": "LOW",
                }
            },
            (),
        ),
        # answers by schema
        (
            {"response_format": {"type": "json_object"}},
            {"generationConfig": {"responseMimeType": "application/json"}},
            (),
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
            {
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseJsonSchema": SCHEMA,
                }
            },
            (),
        ),
        # tools
        (
            {"tools": [TOOL], "tool_choice": "none"},
            {"tools": [{"functionDeclarations": [DECLARED]}], "toolConfig": functions("NONE")},
            (),
        ),
        (
            {"tools": [TOOL], "tool_choice": "auto"},
            {"tools": [{"functionDeclarations": [DECLARED]}], "toolConfig": functions("AUTO")},
            (),
        ),
        (
            {"tools": [TOOL], "tool_choice": "required"},
            {"tools": [{"functionDeclarations": [DECLARED]}], "toolConfig": functions("ANY")},
            (),
        ),
        (
            {"tools": [TOOL], "tool_choice": NAMED},
            {
                "tools": [{"functionDeclarations": [DECLARED]}],
                "toolConfig": functions("ANY", "get_temp"),
            },
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
            {"tools": [{"functionDeclarations": [DECLARED]}], "toolConfig": functions("AUTO")},
            (),
        ),
        ({"tools": [{"googleSearch": {}}]}, {"tools": [{"googleSearch": {}}]}, ()),
        # native and unknown fields
        (
            {"cachedContent": "c/1", "safetySettings": []},
            {"cachedContent": "c/1", "safetySettings": []},
            (),
        ),
        ({"something_new": 1}, {"something_new": 1}, ()),
        # as Google's own OpenAI dialect has them
        ({"cached_content": "c/1"}, {"cachedContent": "c/1"}, ()),
        (
            {"extra_body": {"google": {"cached_content": "c/1"}}},
            {"cachedContent": "c/1"},
            (),
        ),
        (
            {"extra_body": {"google": {"thinking_config": {"thinking_budget": 9}, "x": 1}, "y": 1}},
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 9}}},
            ("extra_body.y", "extra_body.google.x"),
        ),
        ({"extra_body": 1}, {}, ("extra_body",)),
        # marks that mean nothing there
        (
            {"tools": [{**TOOL, "cache_control": {"type": "ephemeral"}}]},
            {"tools": [{"functionDeclarations": [DECLARED]}]},
            ("tools.cache_control",),
        ),
        (
            {"messages": [{"role": "user", "content": [MARKED], "cache_control": MARK}]},
            {},
            ("messages.cache_control", "messages.content.cache_control"),
        ),
    ],
)
def test_a_parameter_becomes_its_counterpart_or_is_reported(
    asked: dict[str, Any], sent: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    assert sent_body(GEMINI, **asked) == {"contents": [USER_HI], **sent}
    assert dropped_by(GEMINI, **asked) == dropped


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("none", 0), ("low", 1024), ("medium", 8192), ("high", 24576), ("max", 24576)],
)
def test_the_second_generation_thinks_by_budget(effort: str, budget: int) -> None:
    endpoint = endpoint_of("gemini", "models/gemini-2.5-flash")
    sent = sent_body(endpoint, reasoning_effort=effort)
    assert sent["generationConfig"]["thinkingConfig"]["thinkingBudget"] == budget


@pytest.mark.parametrize(
    "asked",
    [
        {"stop": ["a", "b", "c", "d", "e", "f"]},
        {"functions": [{"name": "f"}]},
        {"tools": [{"type": "custom", "custom": {"name": "sql"}}]},
        {"messages": [{"role": "tool", "tool_call_id": "lost", "content": "x"}]},
        {"messages": [{"role": "function", "name": "f", "content": "x"}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "custom"}]}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}],
                }
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
    ],
)
def test_what_cannot_be_expressed_there_is_refused_before_anything_is_sent(
    asked: dict[str, Any],
) -> None:
    with pytest.raises(UpstreamError) as caught:
        sent_body(GEMINI, **asked)
    assert caught.value.failure is FailureClass.CLIENT
    assert not caught.value.was_sent


def test_a_strict_record_keeps_unknown_fields_back_and_reports_them() -> None:
    strict = endpoint_of("gemini", "g", strict_unknown=True, drop_params=("seed",))
    assert dropped_by(strict, min_p=0.1, seed=3, labels={}) == ("seed", "min_p")
    assert sent_body(strict, min_p=0.1, seed=3, labels={}) == {"contents": [USER_HI], "labels": {}}


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-3-x", False, "/models/gemini-3-x:generateContent"),
        ("models/gemini-3-x", True, "/models/gemini-3-x:streamGenerateContent?alt=sse"),
        ("../x?y", False, "/models/..%2Fx%3Fy:generateContent"),
    ],
)
def test_the_model_is_part_of_the_path(model: str, stream: bool, path: str) -> None:
    endpoint = endpoint_of("gemini", model, auth="bearer")
    built = adapter_of(endpoint).build(call_of(stream=stream), endpoint, "s3cret")
    assert built.path == path
    assert dict(built.headers)[b"x-goog-api-key"] == b"s3cret"
    assert b"stream" not in built.body


def test_refusals_go_back_as_text_and_calls_without_ids_by_name() -> None:
    call = {"type": "function", "function": {"name": "now", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "refusal": "no", "tool_calls": [call]},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "never"}]},
        {"role": "tool", "name": "now", "content": "noon"},
    ]
    assert sent_body(GEMINI, messages=messages)["contents"] == [
        {
            "role": "model",
            "parts": [
                {"text": "no"},
                {"functionCall": {"name": "now", "args": {}}},
                {"text": "never"},
            ],
        },
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "now", "response": {"result": "noon"}}}],
        },
    ]


def test_no_more_of_what_is_left_out_is_named_than_a_log_can_hold() -> None:
    extra = {f"{n}{'x' * 1000}": 1 for n in range(1000)}
    dropped = dropped_by(endpoint_of("gemini"), extra_body=extra)
    assert len(dropped) == MOST_NAMES
    assert {len(name) for name in dropped} == {MOST_NAME_CHARS}
