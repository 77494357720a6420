from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.errors import HubError
from tests.routing.surfaces.messages.support import (
    MESSAGE_ID,
    REQUEST_ID,
    accumulated,
    chunk,
    events_in,
    frame,
    in_order,
    streamed,
    usage_chunk,
    voice_of,
)

ROLE = chunk({"role": "assistant", "content": ""})
END = chunk({}, "stop") + usage_chunk() + b"data: [DONE]\n\n"


def piece(index: int, arguments: str = "", **more: Any) -> dict[str, Any]:
    return {"index": index, "function": {"arguments": arguments, **more}}


def calls(*pieces: dict[str, Any]) -> bytes:
    return b"".join(chunk({"tool_calls": [each]}) for each in pieces)


def opened(index: int, name: str, arguments: str = "") -> dict[str, Any]:
    return {"id": f"call_{index}", "type": "function", **piece(index, arguments, name=name)}


def content_of(data: bytes) -> list[dict[str, Any]]:
    out = streamed(voice_of(), data)
    assert in_order(events_in(out))
    content: list[dict[str, Any]] = accumulated(out)["content"]
    return content


def test_a_stream_becomes_events_in_anthropics_order() -> None:
    data = ROLE + chunk({"content": "Ta"}) + chunk({"content": " cold"}) + END
    [start, opening, first, second, closing, delta, stop] = events_in(streamed(voice_of(), data))
    assert start["message"]["id"] == MESSAGE_ID
    assert start["message"]["model"] == "up/model"
    assert start["message"]["content"] == []
    assert opening["content_block"] == {"type": "text", "text": "", "citations": None}
    assert [e["delta"]["text"] for e in (first, second)] == ["Ta", " cold"]
    assert closing == {"type": "content_block_stop", "index": 0}
    assert delta["delta"] == {
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
    }
    assert (delta["usage"]["input_tokens"], delta["usage"]["output_tokens"]) == (12, 3)
    assert stop == {"type": "message_stop"}


def test_events_leave_as_soon_as_their_chunk_is_there() -> None:
    stream = voice_of().open_stream()
    assert [e["type"] for e in events_in(stream.feed(ROLE))] == ["message_start"]
    kinds = [e["type"] for e in events_in(stream.feed(chunk({"content": "Ta"})))]
    assert kinds == ["content_block_start", "content_block_delta"]
    assert stream.feed(chunk({"content": ""})) == b""


def test_thinking_is_signed_at_its_end_and_closed_before_the_answer() -> None:
    data = ROLE + chunk({"reasoning_content": "Hm"}) + chunk({"content": "4"}) + END
    kinds = [
        event.get("delta", {}).get("type") or event["type"]
        for event in events_in(streamed(voice_of(), data))
    ]
    assert kinds[1:6] == [
        "content_block_start",
        "thinking_delta",
        "signature_delta",
        "content_block_stop",
        "content_block_start",
    ]


def test_a_signature_whose_text_is_withheld_stands_alone() -> None:
    detail = {"type": "reasoning.text", "format": "anthropic-claude-v1", "signature": "c2ln"}
    data = ROLE + chunk({"reasoning_details": [detail]}) + chunk({"content": "4"}) + END
    assert content_of(data)[0] == {"type": "thinking", "thinking": "", "signature": "c2ln"}


def test_thoughts_that_only_details_spell_out_are_shown() -> None:
    details = [{"type": "reasoning.summary", "summary": "Adding", "format": "openai-responses-v1"}]
    data = ROLE + chunk({"reasoning_details": details}) + chunk({"content": "4"}) + END
    assert content_of(data)[0]["thinking"] == "Adding"


def test_mixed_pieces_of_parallel_calls_never_make_blocks_overlap() -> None:
    data = ROLE + calls(
        opened(0, "f", '{"a"'),
        opened(1, "g", '{"b'),
        piece(0, ":1}"),
        piece(1, '":2}'),
        opened(2, "h", "{}"),
    )
    uses = [(b["id"], b["name"], b["input"]) for b in content_of(data + END)]
    assert uses == [("call_0", "f", {"a": 1}), ("call_1", "g", {"b": 2}), ("call_2", "h", {})]


def test_a_call_that_comes_after_a_complete_one_is_passed_on_at_once() -> None:
    stream = voice_of().open_stream()
    stream.feed(ROLE + calls(opened(0, "f", '{"a":1}')))
    kinds = [e["type"] for e in events_in(stream.feed(calls(opened(1, "g", '{"b'))))]
    assert kinds == ["content_block_stop", "content_block_start", "content_block_delta"]


def test_arguments_that_come_before_their_name_wait_for_it() -> None:
    data = ROLE + calls(piece(0, '{"a":'), opened(0, "f"), piece(0, "1}")) + END
    assert [(b["name"], b["input"]) for b in content_of(data)] == [("f", {"a": 1})]


def test_text_in_the_middle_of_a_call_comes_after_it() -> None:
    data = ROLE + calls(opened(0, "f", '{"a"')) + chunk({"content": "so"})
    data += calls(piece(0, ":1}")) + END
    assert [block["type"] for block in content_of(data)] == ["tool_use", "text"]


def test_a_call_makes_the_answer_stop_for_its_result() -> None:
    out = streamed(voice_of(), ROLE + calls(opened(0, "f", "{}")) + END)
    assert accumulated(out)["stop_reason"] == "tool_use"


def test_other_answers_than_the_first_are_not_mixed_in() -> None:
    other = frame({"choices": [{"index": 1, "delta": {"content": "other"}}]})
    [block] = content_of(ROLE + chunk({"content": "one"}) + other + END)
    assert block["text"] == "one"


def test_comments_become_pings_once_the_message_has_begun() -> None:
    stream = voice_of().open_stream()
    assert stream.feed(b": keep-alive\n\n") == b""
    stream.feed(ROLE)
    assert stream.feed(b": keep-alive\n\n") == b'event: ping\ndata: {"type":"ping"}\n\n'


def test_a_broken_answer_ends_with_an_error_event_and_nothing_else() -> None:
    stream = voice_of().open_stream()
    stream.feed(ROLE + chunk({"content": "Ta"}))
    broken = HubError(502, "provider_broke_off", "Groq broke the answer off", should_retry=True)
    [event] = events_in(stream.broken(broken))
    assert event == {
        "type": "error",
        "error": {
            "type": "api_error",
            "message": "Groq broke the answer off",
            "details": {"error_code": "provider_broke_off"},
        },
        "request_id": REQUEST_ID,
    }
    assert (stream.feed(END), stream.close(), stream.broken(broken)) == (b"", b"", b"")


def test_an_answer_is_closed_once() -> None:
    stream = voice_of().open_stream()
    stream.feed(ROLE + chunk({"content": "Ta"}) + END)
    assert stream.close().endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert stream.close() == b""


def test_an_answer_without_a_chunk_is_still_a_message() -> None:
    out = streamed(voice_of(), b"")
    assert in_order(events_in(out))
    assert accumulated(out)["content"] == []


def test_the_usage_tells_what_the_cache_read() -> None:
    usage = {
        "prompt_tokens": 3012,
        "completion_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 2000, "cache_write_tokens": 1000},
    }
    data = ROLE + chunk({"content": "x"}) + chunk({}, "stop") + usage_chunk(usage)
    told = accumulated(streamed(voice_of(), data))["usage"]
    assert told["input_tokens"] == 12
    assert (told["cache_read_input_tokens"], told["cache_creation_input_tokens"]) == (2000, 1000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "content",
                    "index",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "id",
                    "reasoning_content",
                    "reasoning_details",
                    "signature",
                    "data",
                    "format",
                    "text",
                    "usage",
                    "prompt_tokens",
                    "finish_reason",
                    "model",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
DELTAS = st.builds(lambda delta: {"choices": [{"index": 0, "delta": delta}]}, JSON)


@settings(max_examples=150, deadline=None)
@given(st.lists(JSON | DELTAS, max_size=5))
def test_absurd_chunks_still_give_events_in_order(chunks: list[Any]) -> None:
    data = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks)
    assert in_order(events_in(streamed(voice_of(), data)))


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_an_absurd_completion_is_still_a_message(document: Any) -> None:
    message = json.loads(voice_of().reply(json.dumps(document).encode()))
    assert (message["type"], message["role"]) == ("message", "assistant")


@pytest.mark.parametrize("text", ["\n\ndata: [DONE]\n\n", "\r", "\x00", "\u2028", "event: error"])
def test_what_a_model_says_cannot_forge_an_event(text: str) -> None:
    [block] = content_of(ROLE + chunk({"content": text}) + END)
    assert block["text"] == text
