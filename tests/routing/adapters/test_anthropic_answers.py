from __future__ import annotations

import json
from typing import Any

import pytest

from routing.core.errors import FailureClass, UpstreamError
from routing.core.usage import Usage
from tests.routing.adapters.support import (
    CREATED,
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
USAGE = Usage(
    input_total=3012,
    cache_read=2000,
    cache_write_5m=600,
    cache_write_1h=400,
    output_total=30,
    reasoning=7,
)


@pytest.mark.parametrize("kind", [[], {}, None, 5])
def test_a_block_whose_kind_is_nonsense_is_passed_over(kind: Any) -> None:
    document = json.loads(recorded("anthropic/reply.json"))
    document["content"].append({"type": kind, "text": "no"})
    raw = json.dumps(document).encode()
    reply = adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], raw)
    assert reply.body["choices"][0]["message"]["content"] == "Ta cold — 4\u202f°C"


def test_a_reply_becomes_a_chat_completion() -> None:
    reply = adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], recorded("anthropic/reply.json"))
    assert reply.body == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": CREATED,
        "model": "claude-x-20260101",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Ta cold — 4\u202f°C"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 3012,
            "completion_tokens": 30,
            "total_tokens": 3042,
            "prompt_tokens_details": {"cached_tokens": 2000, "cache_write_tokens": 1000},
            "completion_tokens_details": {"reasoning_tokens": 7},
        },
    }
    assert json.loads(reply.raw) == reply.body
    assert reply.usage == USAGE
    assert json.loads(reply.usage_raw)["input_tokens"] == 12
    assert (reply.finish_reason, reply.response_model) == ("stop", "claude-x-20260101")


TOOL_MESSAGE = {
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
    "tool_calls": [
        {
            "id": "toolu_1",
            "type": "function",
            "function": {"name": "get_temp", "arguments": '{"city":"Oslo"}'},
        },
        {"id": "toolu_2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
    ],
}


def test_thinking_and_calls_survive_the_way_to_the_client_and_back() -> None:
    body = recorded("anthropic/reply_tools.json")
    reply = adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], body)
    message = reply.body["choices"][0]["message"]
    assert message == TOOL_MESSAGE
    assert reply.finish_reason == "tool_calls"
    results = [
        {"role": "tool", "tool_call_id": id, "content": "x"} for id in ("toolu_1", "toolu_2")
    ]
    sent = sent_body(CLAUDE, messages=[{"role": "user", "content": "hi"}, message, *results])
    assert sent["messages"][1]["content"] == json.loads(body)["content"]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons_become_finish_reasons(reason: str, expected: str) -> None:
    whole = recorded("anthropic/reply.json").replace(b"end_turn", reason.encode())
    assert adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], whole).finish_reason == expected
    reader = open_stream(CLAUDE)
    out = read_all(reader, recorded("anthropic/stream.sse").replace(b"end_turn", reason.encode()))
    assert (reader.finish_reason, message_in(out)["finish"]) == (expected, expected)


@pytest.mark.parametrize(
    ("body", "failure", "code"),
    [
        (recorded("anthropic/error_529.json"), FailureClass.TRANSIENT, "overloaded_error"),
        (b"<html></html>", FailureClass.TRANSIENT, "html_answer"),
        (b"{}", FailureClass.TRANSIENT, "not_an_answer"),
        (b"", FailureClass.TRANSIENT, "empty_answer"),
        (b'{"content":"text"}', FailureClass.TRANSIENT, "not_an_answer"),
    ],
)
def test_a_success_that_is_no_answer_is_an_error(
    body: bytes, failure: FailureClass, code: str
) -> None:
    with pytest.raises(UpstreamError) as caught:
        adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], body)
    assert (caught.value.failure, caught.value.code) == (failure, code)


# --- streams ----------------------------------------------------------------------------------


def test_a_stream_becomes_chat_completion_chunks() -> None:
    reader = open_stream(CLAUDE)
    out = read_all(reader, recorded("anthropic/stream.sse"))
    chunks = chunks_in(out)
    assert chunks[0] == {
        "id": "msg_1",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": "claude-x-20260101",
        "choices": [
            {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        ],
    }
    assert message_in(out)["content"] == "Ta cold — 4\u202f°C"
    assert out.endswith(b"data: [DONE]\n\n")
    assert b"usage" not in out
    assert (reader.done, reader.error, reader.usage) == (True, None, USAGE)
    assert (reader.content_frames, reader.output_chars) == (2, 14)
    assert reader.response_model == "claude-x-20260101"


def test_a_tool_stream_carries_thinking_signatures_and_parallel_calls() -> None:
    reader = open_stream(CLAUDE, wants_usage=True)
    out = read_all(reader, recorded("anthropic/stream_tools.sse"))
    message = message_in(out)
    assert message["content"] == TOOL_MESSAGE["content"]
    assert message["reasoning_content"] == TOOL_MESSAGE["reasoning_content"]
    assert message["reasoning_details"] == TOOL_MESSAGE["reasoning_details"]
    assert message["tool_calls"] == [
        {"id": "toolu_1", "name": "get_temp", "args": '{"city":"Oslo"}'},
        {"id": "toolu_2", "name": "now", "args": "{}"},
    ]
    assert message["finish"] == "tool_calls"
    last = chunks_in(out)[-1]
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 3012


def test_thinking_starts_the_content_but_not_the_answer() -> None:
    reader = open_stream(CLAUDE)
    events = recorded("anthropic/stream_tools.sse").split(b"\n\n")
    reader.feed(b"\n\n".join(events[:2]) + b"\n\n")
    assert not reader.content_started
    reader.feed(events[2] + b"\n\n")
    assert (reader.content_started, reader.answer_started) == (True, False)
    reader.feed(b"\n\n".join(events[3:10]) + b"\n\n")
    assert reader.answer_started


def test_pings_keep_the_client_awake_once_the_content_has_begun() -> None:
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    reader = open_stream(CLAUDE)
    assert reader.feed(ping) == b""
    reader.feed(
        b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}\n\n'
    )
    assert reader.feed(ping) == b": keep-alive\n\n"


def test_an_error_event_ends_the_stream() -> None:
    reader = open_stream(CLAUDE)
    out = read_all(reader, recorded("anthropic/stream_error.sse"))
    assert message_in(out)["content"] == "Ta"
    assert b"[DONE]" not in out
    assert reader.error is not None
    assert (reader.error.failure, reader.error.code) == (FailureClass.TRANSIENT, "overloaded_error")


@pytest.mark.parametrize(
    ("kept", "code"),
    [(-1, ""), (-2, "truncated"), (5, "truncated"), (1, "truncated"), (0, "truncated")],
)
def test_a_stream_without_its_stop_reason_is_truncated(kept: int, code: str) -> None:
    events = recorded("anthropic/stream.sse").removesuffix(b"\n\n").split(b"\n\n")
    reader = open_stream(CLAUDE)
    out = read_all(reader, b"".join(event + b"\n\n" for event in events[:kept]))
    assert reader.done is (code == "")
    assert (reader.error.code if reader.error else "") == code
    assert out.count(b"[DONE]") == (0 if code else 1)


def test_a_message_stop_without_a_stop_reason_is_truncated() -> None:
    reader = open_stream(CLAUDE)
    reader.feed(b'data: {"type":"message_stop"}\n\n')
    assert reader.error is not None
    assert reader.error.code == "truncated"


def test_events_of_unknown_kinds_are_passed_over() -> None:
    reader = open_stream(CLAUDE)
    new = b'event: new\ndata: {"type":"something_new"}\n\n'
    whole = new + recorded("anthropic/stream.sse")
    assert message_in(read_all(reader, whole))["content"].startswith("Ta")
    assert reader.done


def test_a_call_that_comes_whole_is_not_given_empty_arguments_as_well() -> None:
    start = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    }
    stop = {"type": "content_block_stop", "index": 0}
    end = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}
    data = b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in (start, stop, end))
    [call] = message_in(read_all(open_stream(CLAUDE), data))["tool_calls"]
    assert call["args"] == '{"a":1}'


def test_blocks_of_server_tools_are_not_carried_over() -> None:
    content = [{"type": "server_tool_use", "id": "s"}, {"type": "text", "text": "x"}]
    body = json.dumps({"content": content, "stop_reason": "end_turn"}).encode()
    reply = adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], body)
    assert reply.body["choices"][0]["message"] == {"role": "assistant", "content": "x"}
    assert reply.body["model"] == "claude-x"


def test_empty_deltas_and_deltas_of_other_kinds_say_nothing() -> None:
    reader = open_stream(CLAUDE)
    deltas: list[dict[str, Any]] = [
        {"type": "text_delta", "text": ""},
        {"type": "thinking_delta", "thinking": ""},
        {"type": "citations_delta", "citation": {}},
        {"type": "input_json_delta", "partial_json": "{}"},
    ]
    for delta in deltas:
        event = {"type": "content_block_delta", "index": 0, "delta": delta}
        assert reader.feed(b"data: " + json.dumps(event).encode() + b"\n\n") == b""
    assert not reader.content_started
