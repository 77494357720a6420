from __future__ import annotations

from typing import Any

import pytest

from routing.adapters.anthropic.foreign import UNSIGNED, packed
from tests.routing.surfaces.messages.support import (
    EPHEMERAL,
    HI,
    PNG,
    assistant,
    chat_of,
    text,
    user,
    voice_of,
)

PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def turns(*messages: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = chat_of(messages=list(messages), **more)["messages"]
    return made


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
