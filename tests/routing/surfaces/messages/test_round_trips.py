"""From Anthropic's words over chat's to a provider and back, turn after turn."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.base import ChatCall
from tests.routing.adapters.support import adapter_of, endpoint_of
from tests.routing.surfaces.messages.support import (
    ASKED,
    TOOL,
    call,
    completion,
    reply_to,
    voice_of,
)

CLAUDE = endpoint_of("anthropic", "claude-x")
GEMINI = endpoint_of("gemini", "gemini-x")


def sent_to(endpoint: Any, voice: Any, **more: Any) -> dict[str, Any]:
    chat = {name: value for name, value in voice.chat.items() if name != "stream_options"}
    built = adapter_of(endpoint).build(
        ChatCall(chat, stream=False, wants_usage=False, **more), endpoint, "s"
    )
    body: dict[str, Any] = json.loads(built.body)
    return body


# --- the pivot says what the client said -------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=["Cs", "Z", "C"]), min_size=1, max_size=8)
TEXT = st.builds(lambda text: {"type": "text", "text": text}, WORDS)
IMAGE = st.sampled_from(
    [
        {"type": "image", "source": {"type": "url", "url": "https://a.test/b.png"}},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
        },
    ]
)
INPUTS = st.dictionaries(WORDS, WORDS | st.integers(-9, 9) | st.none(), max_size=2)


@st.composite
def tool_loops(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Turns that Anthropic would take: thoughts, one text, calls; then a result for each."""
    messages: list[dict[str, Any]] = []
    for turn in range(draw(st.integers(1, 3))):
        asked = draw(st.lists(TEXT | IMAGE, min_size=1, max_size=2))
        ids = [f"toolu_{turn}_{n}" for n in range(draw(st.integers(0, 2)))]
        thoughts = draw(st.lists(WORDS, max_size=2))
        answer = [{"type": "thinking", "thinking": t, "signature": f"s{t}"} for t in thoughts]
        answer += draw(st.lists(TEXT, min_size=1, max_size=1))
        answer += [{"type": "tool_use", "id": id, "name": "f", "input": draw(INPUTS)} for id in ids]
        results = [{"type": "tool_result", "tool_use_id": id, "content": draw(WORDS)} for id in ids]
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": answer})
        messages.append({"role": "user", "content": [*results, draw(TEXT)]})
    return messages


def joined(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours of one role are one turn to Anthropic."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1]["content"] = turns[-1]["content"] + message["content"]
        else:
            turns.append(dict(message))
    return turns


@settings(max_examples=100, deadline=None)
@given(tool_loops(), st.lists(WORDS, max_size=2), st.floats(0, 1), st.booleans())
def test_over_the_pivot_and_back_a_request_means_the_same(
    messages: list[dict[str, Any]], stops: list[str], temperature: float, parallel: bool
) -> None:
    asked = {
        "system": "be brief",
        "messages": messages,
        "tools": [TOOL],
        "tool_choice": {"type": "any", **({} if parallel else {"disable_parallel_tool_use": True})},
        "temperature": temperature,
        "stop_sequences": stops,
        "metadata": {"user_id": "u"},
    }
    voice = voice_of(**asked)
    assert voice.uncarried == ()
    expected = {**ASKED, **asked, "model": "claude-x", "messages": joined(messages)}
    if not stops:
        del expected["stop_sequences"]
    assert sent_to(CLAUDE, voice) == expected
    native = sent_to(CLAUDE, voice, native=voice.native)
    assert native == {**ASKED, **asked, "model": "claude-x"}


# --- tool loops with providers that sign nothing, or sign otherwise -----------------------------


def next_turn(message: dict[str, Any]) -> Any:
    """The client brings the answer back as it came, as Anthropic's clients do."""
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "4 C"}
        for block in message["content"]
        if block["type"] == "tool_use"
    ]
    messages = [
        *ASKED["messages"],
        {"role": "assistant", "content": message["content"]},
        {"role": "user", "content": results},
    ]
    return voice_of(messages=messages, tools=[TOOL])


def test_plain_reasoning_comes_back_to_a_host_that_wants_it() -> None:
    answer = completion(
        "tool_calls",
        content="Looking.",
        reasoning_content="Need the city.",
        tool_calls=[call("functions.get_temp:0", "get_temp", '{"city":"Oslo"}')],
    )
    voice = next_turn(reply_to(voice_of(), answer))
    host = endpoint_of("acme")
    assert sent_to(host, voice)["messages"][1:] == [
        {
            "role": "assistant",
            "content": "Looking.",
            "reasoning_content": "Need the city.",
            "tool_calls": [call("functions.get_temp:0", "get_temp", '{"city":"Oslo"}')],
        },
        {"role": "tool", "tool_call_id": "functions.get_temp:0", "content": "4 C"},
    ]


def test_a_signature_of_geminis_comes_back_with_its_call() -> None:
    parts = [
        {"text": "Hm.", "thought": True},
        {
            "functionCall": {"name": "get_temp", "args": {"city": "Oslo"}},
            "thoughtSignature": "Z2Vt",
        },
    ]
    body = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    reply = adapter_of(GEMINI).read_reply(
        ChatCall(voice_of().chat, stream=False, wants_usage=False),
        GEMINI,
        [],
        json.dumps(body).encode(),
    )
    voice = next_turn(reply_to(voice_of(), reply.body))
    [asked, answered, _] = sent_to(GEMINI, voice)["contents"]
    assert asked["role"] == "user"
    [part] = [part for part in answered["parts"] if "functionCall" in part]
    assert part["thoughtSignature"] == "Z2Vt"


@pytest.mark.parametrize(
    "answer",
    [
        completion(content="4", reasoning_content="Hm."),
        completion(
            content="4",
            reasoning_details=[
                {"type": "reasoning.encrypted", "data": "b2Fp", "format": "openai-responses-v1"}
            ],
        ),
    ],
)
def test_a_talk_may_go_on_at_anthropic_without_the_others_thoughts(answer: dict[str, Any]) -> None:
    voice = next_turn(reply_to(voice_of(), answer))
    native = sent_to(CLAUDE, voice, native=voice.native)
    assert [block["type"] for block in native["messages"][1]["content"]] == ["text"]
    assert [b["type"] for b in sent_to(CLAUDE, voice)["messages"][1]["content"]] == ["text"]


def test_a_signed_thought_of_anthropics_comes_back_through_a_chat_host() -> None:
    detail = {
        "type": "reasoning.text",
        "text": "Hm.",
        "format": "anthropic-claude-v1",
        "index": 0,
        "signature": "c2ln",
    }
    answer = completion(content="4", reasoning_content="Hm.", reasoning_details=[detail])
    voice = next_turn(reply_to(voice_of(), answer))
    assert voice.chat["messages"][1]["reasoning_details"] == [detail]
