"""Thoughts and cache marks of chat clients on their way to Anthropic and back, turn after turn."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.routing.adapters.support import (
    adapter_of,
    call_of,
    chunks_in,
    endpoint_of,
    message_in,
    open_stream,
    read_all,
    recorded,
    sent_body,
)

CLAUDE = endpoint_of("anthropic", "claude-x", max_output_tokens=8192)
EPHEMERAL = {"type": "ephemeral", "ttl": "1h"}
HI = {"role": "user", "content": "hi"}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "ZW5j"}
DETAIL = {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln"}
# What a chat client can carry: blocks of server tools are not among it.
KEPT = ("thinking", "redacted_thinking", "text", "tool_use")


def sent_back(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The assistant's blocks as they are sent when the client takes its next turn."""
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": "x"}
        for call in message.get("tool_calls") or []
    ]
    sent = sent_body(CLAUDE, messages=[HI, message, *results, HI])
    blocks: list[dict[str, Any]] = sent["messages"][1]["content"]
    return blocks


def said_in(name: str) -> list[dict[str, Any]]:
    content = json.loads(recorded(f"anthropic/{name}.json"))["content"]
    kept = [block for block in content if block["type"] in KEPT]
    return [{k: v for k, v in block.items() if k != "citations"} for block in kept]


def as_openai_message(streamed: dict[str, Any]) -> dict[str, Any]:
    """What a chat client keeps of a stream that it put together."""
    calls = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": call["args"]},
        }
        for call in streamed["tool_calls"]
    ]
    kept = {"reasoning_details": streamed.get("reasoning_details"), "tool_calls": calls}
    return {"role": "assistant", "content": streamed["content"], **kept}


@pytest.mark.parametrize("name", ["tools", "server_tools"])
def test_a_tool_loop_brings_the_blocks_back_in_their_order(name: str) -> None:
    body = recorded(f"anthropic/reply_{name}.json")
    reply = adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], body)
    assert sent_back(reply.body["choices"][0]["message"]) == said_in(f"reply_{name}")


@pytest.mark.parametrize("name", ["tools", "server_tools"])
def test_a_streamed_tool_loop_brings_the_same_blocks_back(name: str) -> None:
    out = read_all(open_stream(CLAUDE), recorded(f"anthropic/stream_{name}.sse"))
    assert sent_back(as_openai_message(message_in(out))) == said_in(f"reply_{name}")


def test_thoughts_between_text_and_call_stay_there() -> None:
    blocks = [
        THOUGHT,
        {"type": "text", "text": "Let me see."},
        {**THOUGHT, "thinking": "Again."},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
    ]
    body = json.dumps({"content": blocks, "stop_reason": "tool_use"}).encode()
    reply = adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], body)
    assert sent_back(reply.body["choices"][0]["message"]) == blocks


def test_thinking_blocks_are_taken_under_their_other_name() -> None:
    message = {"role": "assistant", "content": "ok", "thinking_blocks": [THOUGHT, REDACTED]}
    assert sent_back(message) == [THOUGHT, REDACTED, {"type": "text", "text": "ok"}]


@pytest.mark.parametrize(
    "blocks",
    [
        [{"type": "thinking", "thinking": "Hm."}],
        [{"type": "thinking", "thinking": "Hm.", "signature": ""}],
        [{"type": "thinking", "thinking": "Hm.", "signature": "panelboard:unsigned"}],
        [{"type": "redacted_thinking", "data": "panelboard:e30="}],
        [{"type": "text", "text": "Hm."}],
        [{"type": []}, {"type": {}}],
        "Hm.",
    ],
)
def test_unsigned_thinking_blocks_are_not_sent_back(blocks: Any) -> None:
    message = {"role": "assistant", "content": "ok", "thinking_blocks": blocks}
    assert sent_back(message) == [{"type": "text", "text": "ok"}]


def test_details_are_taken_before_blocks_that_say_the_same() -> None:
    message = {
        "role": "assistant",
        "content": "ok",
        "reasoning_details": [DETAIL],
        "thinking_blocks": [THOUGHT],
    }
    assert sent_back(message) == [THOUGHT, {"type": "text", "text": "ok"}]


def test_pieces_of_a_streamed_thought_are_put_together() -> None:
    pieces = [
        {"type": "reasoning.text", "text": "H", "index": 0, "format": "anthropic-claude-v1"},
        {"type": "reasoning.text", "text": "m.", "index": 0, "format": "anthropic-claude-v1"},
        {"type": "reasoning.text", "signature": "c2ln", "index": 0},
        {"type": "reasoning.text", "text": "Hm.", "index": 1, "signature": "c2ln"},
    ]
    message = {"role": "assistant", "content": "ok", "reasoning_details": pieces}
    assert sent_back(message) == [THOUGHT, THOUGHT, {"type": "text", "text": "ok"}]


@pytest.mark.parametrize("form", ["google-gemini-v1", "openai-responses-v1", "xai-responses-v1"])
def test_other_makers_signatures_are_kept_from_anthropic(form: str) -> None:
    details = [
        {**DETAIL, "format": form},
        {"type": "reasoning.encrypted", "data": "ZW5j", "format": form},
    ]
    message = {"role": "assistant", "content": "ok", "reasoning_details": details}
    assert sent_back(message) == [{"type": "text", "text": "ok"}]


def test_a_failed_tool_can_be_said_to_have_failed() -> None:
    message = {"role": "tool", "tool_call_id": "c", "content": "no such city", "is_error": True}
    [block] = sent_body(CLAUDE, messages=[message])["messages"][0]["content"]
    assert block["is_error"] is True


# --- citations ---------------------------------------------------------------------------------


def test_cited_pages_are_annotations_streamed_and_whole() -> None:
    expected = {
        "type": "url_citation",
        "url_citation": {
            "start_index": 0,
            "end_index": 11,
            "title": "Weather in Oslo",
            "url": "https://example.org/oslo",
        },
    }
    body = recorded("anthropic/reply_server_tools.json")
    reply = adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], body)
    assert reply.body["choices"][0]["message"]["annotations"] == [expected]
    out = read_all(open_stream(CLAUDE), recorded("anthropic/stream_server_tools.sse"))
    deltas = [choice["delta"] for chunk in chunks_in(out) for choice in chunk["choices"]]
    assert [d["annotations"] for d in deltas if "annotations" in d] == [[expected]]


def test_pages_are_cited_where_their_text_stands() -> None:
    page = {"type": "web_search_result_location", "url": "https://a.test", "title": None}
    blocks = [
        {"type": "text", "text": "It is "},
        {"type": "text", "text": "cold", "citations": [page, {"type": "char_location"}]},
    ]
    body = json.dumps({"content": blocks, "stop_reason": "end_turn"}).encode()
    reply = adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], body)
    [annotation] = reply.body["choices"][0]["message"]["annotations"]
    cited = annotation["url_citation"]
    assert (cited["start_index"], cited["end_index"], cited["title"]) == (6, 10, "")


# --- cache marks -------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_cache_mark_on_a_part_reaches_its_block(role: str) -> None:
    part = {"type": "text", "text": "long", "cache_control": EPHEMERAL}
    messages = [HI, {"role": role, "content": [part, {"type": "text", "text": "x"}]}, HI]
    blocks = [b for m in sent_body(CLAUDE, messages=messages)["messages"] for b in m["content"]]
    assert [b for b in blocks if "cache_control" in b] == [part]


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_cache_mark_on_a_message_stands_at_its_last_block(role: str) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    message = {"role": role, "content": parts, "cache_control": EPHEMERAL}
    sent = sent_body(CLAUDE, messages=[message, HI])["messages"][0]["content"][:2]
    assert sent == [parts[0], {**parts[1], "cache_control": EPHEMERAL}]


def test_a_cache_mark_on_a_system_message_reaches_the_system_prompt() -> None:
    message = {"role": "system", "content": "long", "cache_control": EPHEMERAL}
    assert sent_body(CLAUDE, messages=[message, HI])["system"] == [
        {"type": "text", "text": "long", "cache_control": EPHEMERAL}
    ]


def test_a_cache_mark_never_stands_at_a_thought() -> None:
    message = {
        "role": "assistant",
        "content": None,
        "reasoning_details": [DETAIL],
        "cache_control": EPHEMERAL,
    }
    assert sent_body(CLAUDE, messages=[HI, message, HI])["messages"][1]["content"] == [THOUGHT]


def test_an_automatic_cache_mark_goes_along() -> None:
    assert sent_body(CLAUDE, cache_control=EPHEMERAL)["cache_control"] == EPHEMERAL
