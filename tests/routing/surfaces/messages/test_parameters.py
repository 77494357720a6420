from __future__ import annotations

from typing import Any

import pytest

from routing.surfaces.base import Asker
from routing.surfaces.messages.request import is_closed
from routing.surfaces.messages.surface import MessagesSurface
from tests.routing.surfaces.messages.support import ASKED, EPHEMERAL, TOOL, chat_of, voice_of

FUNCTION = {
    "type": "function",
    "function": {
        "name": "get_temp",
        "description": "Temperature of a city",
        "parameters": TOOL["input_schema"],
    },
}
CLOSED = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("asked", "chat", "uncarried"),
    [
        # limits and sampling
        ({"temperature": 0.3, "top_p": 0.9}, {"temperature": 0.3, "top_p": 0.9}, ()),
        ({"top_k": 40}, {"top_k": 40}, ()),
        ({"stop_sequences": ["END"]}, {"stop": ["END"]}, ()),
        ({"stop_sequences": []}, {}, ()),
        ({"stream": False}, {}, ()),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}, ()),
        # the caller
        ({"metadata": {"user_id": "u"}}, {"user": "u"}, ()),
        ({"metadata": {"user_id": None}}, {}, ()),
        ({"service_tier": "auto"}, {"service_tier": "auto"}, ()),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}, ()),
        # tools
        ({"tools": [TOOL]}, {"tools": [FUNCTION]}, ()),
        ({"tools": [{**TOOL, "type": "custom"}]}, {"tools": [FUNCTION]}, ()),
        (
            {"tools": [{**TOOL, "cache_control": EPHEMERAL}]},
            {"tools": [FUNCTION]},
            ("cache_control",),
        ),
        (
            {"tools": [{**TOOL, "defer_loading": True}]},
            {"tools": [FUNCTION]},
            ("tools.defer_loading",),
        ),
        ({"tools": [{**TOOL, "strict": True}]}, {"tools": [FUNCTION]}, ("tools.strict",)),
        (
            {"tools": [{"name": "f", "input_schema": CLOSED, "strict": True}]},
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "parameters": CLOSED, "strict": True},
                    }
                ]
            },
            (),
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "auto"}},
            {"tools": [FUNCTION], "tool_choice": "auto"},
            (),
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
            {"tools": [FUNCTION], "tool_choice": "required", "parallel_tool_calls": False},
            (),
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "get_temp"}},
            {
                "tools": [FUNCTION],
                "tool_choice": {"type": "function", "function": {"name": "get_temp"}},
            },
            (),
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "none"}},
            {"tools": [FUNCTION], "tool_choice": "none"},
            (),
        ),
        ({"tool_choice": {"type": "auto"}}, {}, ()),
        # thinking
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            {"reasoning_effort": "low"},
            (),
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 8000}},
            {"reasoning_effort": "medium"},
            (),
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 32000}},
            {"reasoning_effort": "high"},
            (),
        ),
        ({"thinking": {"type": "adaptive"}}, {}, ()),
        ({"thinking": {"type": "between_tools"}}, {}, ()),
        ({"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}, ()),
        (
            {
                "thinking": {"type": "adaptive", "display": "omitted"},
                "output_config": {"effort": "max"},
            },
            {"reasoning_effort": "max"},
            ("thinking.display",),
        ),
        # answers by schema
        (
            {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": CLOSED, "strict": True},
                }
            },
            (),
        ),
        (
            {"output_format": {"type": "json_schema", "schema": {"type": "object"}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}},
                }
            },
            ("output_format.strict",),
        ),
        # the hub's own, and what chat has no word for
        (
            {"provider": {"order": ["groq"]}, "models": ["b/c"]},
            {"provider": {"order": ["groq"]}, "models": ["b/c"]},
            (),
        ),
        ({"speed": "standard", "container": None}, {}, ()),
        ({"speed": "fast", "inference_geo": "eu"}, {}, ("speed", "inference_geo")),
        ({"cache_control": EPHEMERAL}, {}, ("cache_control",)),
        ({"something_new": 1}, {}, ("something_new",)),
    ],
)
def test_a_parameter_becomes_chats_word_or_is_named(
    asked: dict[str, Any], chat: dict[str, Any], uncarried: tuple[str, ...]
) -> None:
    voice = voice_of(**asked)
    base = {
        "model": "asked/model",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert voice.chat == {**base, **chat}
    assert voice.uncarried == uncarried
    assert voice.essential == ()


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"container": "c_1"}, "container"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"max_tokens": 0}, "max_tokens"),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            "tools.web_search_20250305",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}
                ]
            },
            "content.container_upload",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}],
                    }
                ]
            },
            "content.image.source.file",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "document",
                                "source": {"type": "url", "url": "https://a.test/b"},
                            }
                        ],
                    }
                ]
            },
            "content.document.source.url",
        ),
    ],
)
def test_what_changes_the_question_is_essential_and_still_goes_to_anthropic(
    asked: dict[str, Any], name: str
) -> None:
    voice = voice_of(**asked)
    assert name in voice.essential
    assert name in voice.uncarried
    assert voice.native.body == {**ASKED, **asked}


def test_a_block_that_is_left_out_leaves_a_note_for_the_model() -> None:
    asked = [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]
    assert chat_of(messages=asked)["messages"] == [
        {"role": "user", "content": "[Left out here: content.container_upload]"}
    ]


async def test_an_opened_request_has_the_clients_headers() -> None:
    asker = Asker("id", 0.0, 1, [(b"anthropic-beta", b"a-1")])
    voice = await MessagesSurface().open(dict(ASKED), asker)
    assert voice.native.headers == ((b"anthropic-beta", b"a-1"),)


def test_the_native_body_is_the_clients_without_the_hubs_fields() -> None:
    asked = {"provider": {"only": ["anthropic"]}, "models": ["b/c"], "speed": "fast"}
    assert voice_of(**asked).native.body == {**ASKED, "speed": "fast"}


def test_the_clients_version_and_betas_go_with_the_native_request() -> None:
    voice = voice_of()
    voice.take_headers(
        [
            (b"anthropic-version", b"2026-10-21"),
            (b"anthropic-beta", b"a-1"),
            (b"x-api-key", b"pb_live_secret"),
            (b"anthropic-beta", b"b-2, c-3"),
            (b"anthropic-workspace-id", b"w"),
        ]
    )
    assert voice.native.headers == (
        (b"anthropic-version", b"2026-10-21"),
        (b"anthropic-beta", b"a-1,b-2, c-3"),
    )
    assert voice.uncarried == ("anthropic-beta",)
    voice.take_headers([(b"anthropic-version", b"2023\r\nx: y")])
    assert voice.native.headers == ()


@pytest.mark.parametrize(
    ("schema", "closed"),
    [
        (CLOSED, True),
        ({"type": "object"}, False),
        ({**CLOSED, "required": []}, False),
        ({"type": "array", "items": CLOSED}, True),
        ({"anyOf": [CLOSED, {"type": "object"}]}, False),
        ({"type": "string"}, True),
    ],
)
def test_a_schema_is_closed_when_all_its_objects_are(schema: dict[str, Any], closed: bool) -> None:
    assert is_closed(schema) is closed
