from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.anthropic.foreign import UNSIGNED, packed
from tests.routing.surfaces.messages.support import (
    ASKED,
    MESSAGE_ID,
    accumulated,
    call,
    chunks_of,
    completion,
    events_in,
    in_order,
    reply_to,
    streamed,
    voice_of,
)

SIGNED = {
    "type": "reasoning.text",
    "text": "Need the city.",
    "format": "anthropic-claude-v1",
    "index": 0,
    "signature": "c2ln",
}
ENCRYPTED = {
    "type": "reasoning.encrypted",
    "data": "ZW5j",
    "format": "anthropic-claude-v1",
    "index": 1,
}
FOREIGN = {"type": "reasoning.encrypted", "data": "b2Fp", "format": "openai-responses-v1"}
GEMINI = {"google": {"thought_signature": "Z2Vt"}}
CACHED = {
    "prompt_tokens": 3012,
    "completion_tokens": 30,
    "total_tokens": 3042,
    "prompt_tokens_details": {"cached_tokens": 2000, "cache_write_tokens": 1000},
    "completion_tokens_details": {"reasoning_tokens": 7},
}
PAGE = {
    "type": "url_citation",
    "url_citation": {
        "start_index": 3,
        "end_index": 10,
        "title": "Oslo",
        "url": "https://example.org/oslo",
    },
}
ANSWERS: dict[str, dict[str, Any]] = {
    "text": completion(content="Ta cold — 4\u202f°C \u2028 end"),
    "nothing": completion(),
    "length": completion("length", content="Once upon"),
    "refusal": completion("content_filter", refusal="I will not."),
    "cached": completion(usage=CACHED, content="ok"),
    "cited": completion(content="It is 4 °C.", annotations=[PAGE, {"type": "file_citation"}]),
    "reasoned": completion(content="4", reasoning_content="2 + 2"),
    "signed": completion(
        content="Looking.",
        reasoning_content="Need the city.",
        reasoning_details=[SIGNED, ENCRYPTED],
    ),
    "foreign": completion(content="4", reasoning_content="2 + 2", reasoning_details=[FOREIGN]),
    "call": completion("tool_calls", tool_calls=[call("call_1", "get_temp", '{"city":"Oslo"}')]),
    "calls": completion(
        "stop",
        content="Looking.",
        tool_calls=[call("a", "get_temp", '{"city":"Oslo"}'), call("b", "now", "{}")],
    ),
    "calls without arguments": completion(
        "tool_calls", tool_calls=[call("a", "now", ""), call("b", "then", "")]
    ),
    "gemini": completion("tool_calls", tool_calls=[call("a", "now", "{}", extra_content=GEMINI)]),
}


def content_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = reply_to(voice_of(), answer)["content"]
    return content


def test_a_completion_becomes_a_message() -> None:
    assert reply_to(voice_of(), ANSWERS["calls"]) == {
        "id": MESSAGE_ID,
        "type": "message",
        "role": "assistant",
        "model": "up/model",
        "content": [
            {"type": "text", "text": "Looking.", "citations": None},
            {"type": "tool_use", "id": "a", "name": "get_temp", "input": {"city": "Oslo"}},
            {"type": "tool_use", "id": "b", "name": "now", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": {
            "input_tokens": 12,
            "cache_creation_input_tokens": None,
            "cache_read_input_tokens": None,
            "output_tokens": 3,
            "output_tokens_details": None,
            "server_tool_use": None,
            "cache_creation": None,
            "service_tier": None,
        },
    }


def test_what_the_cache_read_and_wrote_is_outside_the_input() -> None:
    usage = reply_to(voice_of(), ANSWERS["cached"])["usage"]
    assert usage["input_tokens"] == 12
    assert usage["cache_read_input_tokens"] == 2000
    assert usage["cache_creation_input_tokens"] == 1000
    assert usage["output_tokens"] == 30
    assert usage["output_tokens_details"] == {"thinking_tokens": 7}


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("function_call", "tool_use"),
        ("content_filter", "refusal"),
        ("something_new", "end_turn"),
    ],
)
def test_finish_reasons_become_stop_reasons(finish: str, expected: str) -> None:
    message = reply_to(voice_of(), completion(finish, content="x"))
    assert message["stop_reason"] == expected
    assert (message["stop_details"] is not None) is (expected == "refusal")


def test_a_stop_sequence_that_the_host_names_is_told() -> None:
    answer = completion(content="x")
    answer["choices"][0]["stop_reason"] = "END"
    message = reply_to(voice_of(stop_sequences=["END"]), answer)
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")
    message = reply_to(voice_of(stop_sequences=["OTHER"]), answer)
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)


def test_reasoning_becomes_a_thinking_block_that_is_marked_as_unsigned() -> None:
    assert content_of(ANSWERS["reasoned"])[0] == {
        "type": "thinking",
        "thinking": "2 + 2",
        "signature": UNSIGNED,
    }


def test_anthropics_signatures_stand_as_they_came() -> None:
    assert content_of(ANSWERS["signed"])[:2] == [
        {"type": "thinking", "thinking": "Need the city.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZW5j"},
    ]


def test_other_makers_opaque_reasoning_travels_in_a_marked_block() -> None:
    assert content_of(ANSWERS["foreign"])[1] == {
        "type": "redacted_thinking",
        "data": packed({"reasoning_details": [FOREIGN]}),
    }


def test_a_signature_on_a_call_travels_in_a_marked_block_before_it() -> None:
    block, use = content_of(ANSWERS["gemini"])
    assert block == {
        "type": "redacted_thinking",
        "data": packed({"call": {"extra_content": GEMINI}}),
    }
    assert use["type"] == "tool_use"


def test_a_cited_page_becomes_a_citation() -> None:
    [block] = content_of(ANSWERS["cited"])
    assert block["citations"] == [
        {
            "type": "web_search_result_location",
            "cited_text": "is 4 °C",
            "encrypted_index": UNSIGNED,
            "title": "Oslo",
            "url": "https://example.org/oslo",
        }
    ]


@pytest.mark.parametrize("arguments", ["not json", "[1]", '"x"', '{"a":'])
def test_arguments_that_are_no_object_are_shown_as_they_are(arguments: str) -> None:
    answer = completion("tool_calls", tool_calls=[call("a", "f", arguments)])
    assert content_of(answer)[0]["input"] == {"invalid_arguments": arguments}


def test_a_call_without_an_id_gets_one_that_does_not_change() -> None:
    answer = completion("tool_calls", tool_calls=[call("", "f", "{}")])
    first, second = content_of(answer), content_of(answer)
    assert first[0]["id"].startswith("call_")
    assert first == second


@pytest.mark.parametrize("name", ANSWERS)
def test_anthropics_client_puts_the_stream_together_to_the_plain_reply(name: str) -> None:
    answer = ANSWERS[name]
    data = streamed(voice_of(), b"".join(chunks_of(answer)))
    assert in_order(events_in(data))
    whole = accumulated(data)
    plain = reply_to(voice_of(), answer)
    assert whole == plain


PIECES = st.text(max_size=12)
JSON_OBJECTS = st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=2)
GIVEN_ANSWERS = st.builds(
    lambda text, thought, calls: completion(
        "tool_calls" if calls else "stop",
        content=text or None,
        **({"reasoning_content": thought} if thought else {}),
        **({"tool_calls": calls} if calls else {}),
    ),
    PIECES,
    PIECES,
    st.lists(
        st.builds(
            lambda n, given_input: call(f"c{n}", "f", json.dumps(given_input)),
            st.integers(0, 99),
            JSON_OBJECTS,
        ),
        max_size=3,
    ),
)


@settings(max_examples=80, deadline=None)
@given(GIVEN_ANSWERS, st.data())
def test_any_answer_is_the_same_streamed_in_any_slices_and_whole(
    answer: dict[str, Any], data: st.DataObject
) -> None:
    stream = b"".join(chunks_of(answer))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    out = streamed(voice_of(), stream, cuts)
    assert out == streamed(voice_of(), stream)
    assert in_order(events_in(out))
    assert accumulated(out) == reply_to(voice_of(), answer)


def test_the_model_that_was_asked_for_stands_in_for_one_that_is_not_told() -> None:
    answer = {**completion(content="x"), "model": ""}
    assert reply_to(voice_of(), answer)["model"] == ASKED["model"]
