from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.anthropic.foreign import UNSIGNED, packed
from routing.adapters.base import ChatCall
from routing.core.errors import HubError, UpstreamError
from routing.surfaces.base import Asker
from routing.surfaces.messages.request import is_closed
from routing.surfaces.messages.surface import MessagesSurface
from tests.routing.adapters.support import adapter_of, endpoint_of
from tests.routing.surfaces.messages.support import ASKED, TOOL, chat_of, voice_of

FUNCTION = {
    "type": "function",
    "function": {
        "name": "get_temp",
        "description": "Temperature of a city",
        "parameters": TOOL["input_schema"],
    },
}
EPHEMERAL = {"type": "ephemeral", "ttl": "1h"}
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


# --- messages ----------------------------------------------------------------------------------


def turns(*messages: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = chat_of(messages=list(messages), **more)["messages"]
    return made


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


HI = {"role": "user", "content": "hi"}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("be brief", "be brief"),
        ([text("be brief")], "be brief"),
        ([text("be brief"), text("and kind")], [text("be brief"), text("and kind")]),
        ([text("be brief", cache_control=EPHEMERAL)], "be brief"),
    ],
)
def test_the_system_prompt_comes_first(system: Any, expected: Any) -> None:
    assert turns(HI, system=system)[0] == {"role": "system", "content": expected}


@pytest.mark.parametrize("system", ["", [], [text("")], None])
def test_an_empty_system_prompt_is_none(system: Any) -> None:
    assert turns(HI, system=system) == [HI]


def test_a_system_message_may_stand_between_others() -> None:
    told = {"role": "system", "content": "be brief"}
    assert turns(HI, told, HI) == [HI, told, HI]


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        (text("what is this?"), "what is this?"),
        (PNG, [PNG_PART]),
        (
            {"type": "image", "source": {"type": "url", "url": "https://a.test/b.png"}},
            [{"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}],
        ),
        (
            {
                "type": "document",
                "title": "Report",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "CCCC"},
            },
            [
                text("Report"),
                {
                    "type": "file",
                    "file": {
                        "filename": "Report",
                        "file_data": "data:application/pdf;base64,CCCC",
                    },
                },
            ],
        ),
        (
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "words"},
            },
            "words",
        ),
        (
            {
                "type": "document",
                "context": "of 1999",
                "source": {"type": "content", "content": [text("words"), PNG]},
            },
            [text("of 1999"), text("words"), PNG_PART],
        ),
        ({"type": "document", "source": {"type": "content", "content": "words"}}, "words"),
        (
            {"type": "search_result", "source": "s", "title": "t", "content": [text("found")]},
            "t\ns\nfound",
        ),
    ],
)
def test_a_block_becomes_the_part_that_says_the_same(block: dict[str, Any], parts: Any) -> None:
    assert turns(user(block)) == [{"role": "user", "content": parts}]


def test_results_of_tools_are_messages_of_their_own_before_the_rest() -> None:
    made = turns(
        HI,
        assistant(
            text("Looking."),
            {"type": "tool_use", "id": "a", "name": "f", "input": {"x": "é"}},
            {"type": "tool_use", "id": "b", "name": "g", "input": {}},
        ),
        user(
            {"type": "tool_result", "tool_use_id": "a", "content": "4 C"},
            {"type": "tool_result", "tool_use_id": "b", "content": [text("one"), text("two")]},
            text("and now?"),
        ),
    )
    assert made[1] == {
        "role": "assistant",
        "content": "Looking.",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":"é"}'}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }
    assert made[2:] == [
        {"role": "tool", "tool_call_id": "a", "content": "4 C"},
        {"role": "tool", "tool_call_id": "b", "content": "one\ntwo"},
        {"role": "user", "content": "and now?"},
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no such city", "Error: no such city"),
        ("error: no such city", "error: no such city"),
        (None, "Error:"),
    ],
)
def test_a_failed_tool_says_so_in_its_text(content: Any, said: str) -> None:
    block = {"type": "tool_result", "tool_use_id": "a", "is_error": True, "content": content}
    assert turns(user(block))[0]["content"] == said


def test_a_picture_from_a_tool_follows_in_a_message_of_the_user() -> None:
    block = {"type": "tool_result", "tool_use_id": "a", "content": [PNG]}
    assert turns(user(block, text("so?"))) == [
        {
            "role": "tool",
            "tool_call_id": "a",
            "content": "The result is shown in the next message.",
        },
        {"role": "user", "content": [text("Shown by the tool result a:"), PNG_PART, text("so?")]},
    ]


def test_thoughts_go_back_with_their_signatures() -> None:
    [_, message] = turns(
        HI,
        assistant(
            {"type": "thinking", "thinking": "Need the city.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZW5j"},
            text("Looking."),
        ),
    )
    assert message == {
        "role": "assistant",
        "content": "Looking.",
        "reasoning_content": "Need the city.",
        "reasoning_details": [
            {
                "type": "reasoning.text",
                "text": "Need the city.",
                "format": "anthropic-claude-v1",
                "index": 0,
                "signature": "c2ln",
            },
            {
                "type": "reasoning.encrypted",
                "data": "ZW5j",
                "format": "anthropic-claude-v1",
                "index": 1,
            },
        ],
    }


@pytest.mark.parametrize("signature", [UNSIGNED, ""])
def test_unsigned_thoughts_go_back_as_plain_reasoning(signature: str) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": signature}
    assert turns(HI, assistant(thought, text("4")))[1] == {
        "role": "assistant",
        "content": "4",
        "reasoning_content": "Hm.",
    }


def test_what_another_maker_attached_goes_back_to_where_it_was() -> None:
    detail = {"type": "reasoning.encrypted", "data": "b2Fp", "format": "openai-responses-v1"}
    extra = {"extra_content": {"google": {"thought_signature": "Z2Vt"}}}
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    [_, message] = turns(
        HI,
        assistant(
            {"type": "redacted_thinking", "data": packed({"reasoning_details": [detail]})},
            {"type": "redacted_thinking", "data": packed({"call": extra})},
            use,
            {**use, "id": "b"},
        ),
    )
    assert message["reasoning_details"] == [detail]
    first, second = message["tool_calls"]
    assert first["extra_content"] == extra["extra_content"]
    assert "extra_content" not in second


@pytest.mark.parametrize("data", ["panelboard:", "panelboard:!!!", "panelboard:bm9uZQ=="])
def test_a_damaged_block_of_ours_says_nothing(data: str) -> None:
    assert turns(HI, assistant({"type": "redacted_thinking", "data": data}, text("4")))[1] == {
        "role": "assistant",
        "content": "4",
    }


USE = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
CITED = {"citations": {"enabled": True}}


@pytest.mark.parametrize(
    ("message", "uncarried", "essential"),
    [
        (user({**PNG, "cache_control": EPHEMERAL}), "cache_control", False),
        (user({**PNG, "transformations": {}}), "content.image.transformations", False),
        (
            user({"type": "document", "source": {"type": "content", "content": "x"}, **CITED}),
            "content.document.citations",
            False,
        ),
        (
            user({"type": "search_result", "source": "s", "title": "t", "content": [], **CITED}),
            "content.search_result.citations",
            False,
        ),
        (
            user({"type": "tool_result", "tool_use_id": "a", "cache_control": EPHEMERAL}),
            "cache_control",
            False,
        ),
        (assistant({**USE, "cache_control": EPHEMERAL}), "cache_control", False),
        (assistant({**USE, "caller": {"type": "direct"}}), "content.tool_use.caller", False),
        (assistant(PNG), "content.image of the assistant", True),
    ],
)
def test_what_a_block_says_beyond_chat_is_named(
    message: dict[str, Any], uncarried: str, essential: bool
) -> None:
    voice = voice_of(messages=[HI, message])
    assert voice.uncarried == (uncarried,)
    assert voice.essential == ((uncarried,) if essential else ())


@pytest.mark.parametrize("content", ["", [], [text("")]])
def test_messages_that_say_nothing_are_left_out(content: Any) -> None:
    assert turns(HI, {"role": "user", "content": content}) == [HI]
    assert turns({"role": "assistant", "content": []}, HI) == [HI]


# --- bad input ---------------------------------------------------------------------------------


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


# --- whatever comes ----------------------------------------------------------------------------

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
