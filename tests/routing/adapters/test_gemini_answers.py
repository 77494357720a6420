from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

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

GEMINI = endpoint_of("gemini", "gemini-3-x", stop_max=5)


USAGE = Usage(input_total=100, cache_read=64, output_total=28, reasoning=8)


def test_a_reply_becomes_a_chat_completion() -> None:
    reply = adapter_of(GEMINI).read_reply(call_of(), GEMINI, [], recorded("gemini/reply.json"))
    assert reply.body == {
        "id": "r1",
        "object": "chat.completion",
        "created": CREATED,
        "model": "gemini-3-x",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Ta cold — 4\u202f°C",
                    "reasoning_content": "Thinking.",
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 28,
            "total_tokens": 128,
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 8},
        },
    }
    assert json.loads(reply.raw) == reply.body
    assert reply.usage == USAGE
    assert json.loads(reply.usage_raw)["thoughtsTokenCount"] == 8
    assert reply.output_chars == 14 + 9


def test_calls_and_their_thought_signatures_survive_the_way_to_the_client_and_back() -> None:
    body = recorded("gemini/reply_tools.json")
    reply = adapter_of(GEMINI).read_reply(call_of(), GEMINI, [], body)
    message = reply.body["choices"][0]["message"]
    assert reply.finish_reason == "tool_calls"
    first, second = message["tool_calls"]
    assert first["id"].startswith("call_")
    assert first["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    assert first["function"] == {"name": "get_temp", "arguments": '{"city":"Oslo"}'}
    assert second == {
        "id": "fc2",
        "type": "function",
        "function": {"name": "now", "arguments": "{}"},
    }
    results = [{"role": "tool", "tool_call_id": c["id"], "content": "x"} for c in (first, second)]
    sent = sent_body(GEMINI, messages=[{"role": "user", "content": "hi"}, message, *results])
    assert sent["contents"][1]["parts"][1] == {
        "functionCall": {"id": first["id"], "name": "get_temp", "args": {"city": "Oslo"}},
        "thoughtSignature": "c2ln",
    }
    assert reply.usage.input_total == 105


def test_a_blocked_prompt_is_an_answer_with_a_content_filter() -> None:
    reply = adapter_of(GEMINI).read_reply(
        call_of(), GEMINI, [], recorded("gemini/reply_blocked.json")
    )
    assert reply.finish_reason == "content_filter"
    assert reply.body["choices"][0]["message"] == {"role": "assistant", "content": None}
    assert reply.usage == Usage(input_total=9, output_total=0)
    reader = open_stream(GEMINI)
    out = read_all(reader, recorded("gemini/stream_blocked.sse"))
    assert (reader.done, reader.finish_reason) == (True, "content_filter")
    assert out.endswith(b"data: [DONE]\n\n")


def reply_with(candidate: dict[str, Any]) -> bytes:
    return json.dumps({"candidates": [candidate], "responseId": "r1"}).encode()


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("SOMETHING_NEW", "stop"),
    ],
)
def test_finish_reasons_become_openais(reason: str, expected: str) -> None:
    candidate = {"content": {"parts": [{"text": "x"}]}, "finishReason": reason}
    body = reply_with(candidate)
    assert adapter_of(GEMINI).read_reply(call_of(), GEMINI, [], body).finish_reason == expected
    reader = open_stream(GEMINI)
    read_all(reader, b"data: " + body + b"\n\n")
    assert reader.finish_reason == expected


@pytest.mark.parametrize(
    "reason",
    ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE", "OTHER"],
)
def test_a_reason_that_says_the_model_failed_is_an_error(reason: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        adapter_of(GEMINI).read_reply(call_of(), GEMINI, [], reply_with({"finishReason": reason}))
    assert (caught.value.failure, caught.value.code) == (FailureClass.TRANSIENT, reason.lower())


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (recorded("gemini/error_503.json"), "unavailable"),
        (b"{}", "not_an_answer"),
        (b'{"candidates":[]}', "not_an_answer"),
        (b"<html>", "html_answer"),
        (b"", "empty_answer"),
    ],
)
def test_a_success_that_is_no_answer_is_an_error(body: bytes, code: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        adapter_of(GEMINI).read_reply(call_of(), GEMINI, [], body)
    assert caught.value.code == code


def test_an_image_in_the_answer_becomes_a_data_url() -> None:
    parts = [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]
    body = reply_with({"content": {"parts": parts}, "finishReason": "STOP"})
    reply = adapter_of(GEMINI).read_reply(call_of(), GEMINI, [], body)
    [image] = reply.body["choices"][0]["message"]["images"]
    assert image["image_url"]["url"] == "data:image/png;base64,AAAA"


# --- streams ----------------------------------------------------------------------------------


def test_a_stream_becomes_chat_completion_chunks() -> None:
    reader = open_stream(GEMINI, wants_usage=True)
    out = read_all(reader, recorded("gemini/stream.sse"))
    chunks = chunks_in(out)
    assert chunks[0] == {
        "id": "r1",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": "gemini-3-x",
        "choices": [
            {
                "index": 0,
                "delta": {"role": "assistant", "reasoning_content": "Thinking."},
                "finish_reason": None,
            }
        ],
    }
    message = message_in(out)
    assert (message["content"], message["finish"]) == ("Ta cold — 4\u202f°C", "stop")
    assert chunks[-1]["usage"]["completion_tokens"] == 28
    assert out.endswith(b"data: [DONE]\n\n")
    assert (reader.done, reader.error, reader.usage) == (True, None, USAGE)
    assert (reader.content_frames, reader.output_chars) == (3, 23)


def test_a_call_in_an_earlier_chunk_makes_the_finish_one_of_tool_calls() -> None:
    reader = open_stream(GEMINI)
    message = message_in(read_all(reader, recorded("gemini/stream_tools.sse")))
    assert message["finish"] == "tool_calls"
    assert [call["name"] for call in message["tool_calls"]] == ["get_temp", "now"]
    assert [call["args"] for call in message["tool_calls"]] == ['{"city":"Oslo"}', "{}"]
    assert message["tool_calls"][0]["extra_content"]["google"]["thought_signature"] == "c2ln"
    assert reader.usage.input_total == 105


def test_several_candidates_keep_their_places() -> None:
    def event(*candidates: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps({"candidates": candidates}).encode() + b"\n\n"

    def part(index: int, text: str, **more: str) -> dict[str, Any]:
        return {"index": index, "content": {"parts": [{"text": text}]}, **more}

    data = event(part(0, "a"), part(1, "b")) + event(part(0, "A", finishReason="STOP"))
    cut = open_stream(GEMINI)
    read_all(cut, data)
    assert cut.error is not None
    assert cut.error.code == "truncated"
    out = read_all(open_stream(GEMINI), data + event(part(1, "B", finishReason="MAX_TOKENS")))
    assert (message_in(out)["content"], message_in(out, 1)["content"]) == ("aA", "bB")
    assert (message_in(out)["finish"], message_in(out, 1)["finish"]) == ("stop", "length")


def test_a_malformed_call_ends_the_stream_as_an_error() -> None:
    reader = open_stream(GEMINI)
    out = read_all(reader, recorded("gemini/stream_malformed_call.sse"))
    assert message_in(out)["content"] == "Lo"
    assert reader.error is not None
    assert reader.error.code == "malformed_function_call"
    assert b"[DONE]" not in out


@pytest.mark.parametrize(
    ("frame", "failure"),
    [
        (recorded("gemini/error_429.json"), FailureClass.CAPACITY),
        (recorded("gemini/error_503.json"), FailureClass.TRANSIENT),
        (b"7", FailureClass.TRANSIENT),
    ],
)
def test_an_error_frame_is_classified(frame: bytes, failure: FailureClass) -> None:
    reader = open_stream(GEMINI)
    one_line = json.dumps(json.loads(frame)).encode()
    assert read_all(reader, b"data: " + one_line + b"\n\n") == b""
    assert reader.error is not None
    assert reader.error.failure is failure


def test_a_stream_without_a_finish_reason_is_truncated() -> None:
    whole = recorded("gemini/stream.sse").removesuffix(b"\n\n")
    reader = open_stream(GEMINI)
    out = read_all(reader, whole.rpartition(b"\n\n")[0] + b"\n\n")
    assert reader.error is not None
    assert reader.error.code == "truncated"
    assert b"[DONE]" not in out


def test_an_array_instead_of_events_is_recognised() -> None:
    reader = open_stream(GEMINI)
    read_all(reader, b"[" + recorded("gemini/error_429.json") + b"]")
    assert reader.error is not None
    assert reader.error.failure is FailureClass.CAPACITY


def test_a_second_finish_reason_is_passed_over() -> None:
    event = b"data: " + reply_with({"finishReason": "STOP"}) + b"\n\n"
    reader = open_stream(GEMINI)
    out = read_all(reader, event + event)
    assert reader.done
    assert out.count(b'"finish_reason":"stop"') == 1


# --- probabilities of tokens ---------------------------------------------------------------------

PROBABLE = {
    "chosenCandidates": [
        {"token": "Ta", "tokenId": 1, "logProbability": -0.25},
        {"token": "\u00fc"},
    ],
    "topCandidates": [{"candidates": [{"token": "Ta", "logProbability": -0.25}, {"token": "To"}]}],
}
TOLD = {
    "content": [
        {
            "token": "Ta",
            "logprob": -0.25,
            "bytes": [84, 97],
            "top_logprobs": [
                {"token": "Ta", "logprob": -0.25, "bytes": [84, 97]},
                {"token": "To", "logprob": 0.0, "bytes": [84, 111]},
            ],
        },
        {"token": "\u00fc", "logprob": 0.0, "bytes": [195, 188], "top_logprobs": []},
    ],
    "refusal": None,
}


def test_probabilities_of_tokens_are_asked_for_and_told() -> None:
    sent = sent_body(GEMINI, logprobs=True, top_logprobs=2)
    assert sent["generationConfig"] == {"responseLogprobs": True, "logprobs": 2}
    assert "generationConfig" not in sent_body(GEMINI, logprobs=False)
    candidate = {
        "content": {"parts": [{"text": "Ta\u00fc"}]},
        "finishReason": "STOP",
        "logprobsResult": PROBABLE,
    }
    reply = adapter_of(GEMINI).read_reply(call_of(), GEMINI, [], reply_with(candidate))
    whole = ChatCompletion.model_validate_json(reply.raw, strict=True).choices[0].logprobs
    assert whole is not None
    assert whole.model_dump() == TOLD
    reader = open_stream(GEMINI)
    chunks = chunks_in(read_all(reader, b"data: " + reply_with(candidate) + b"\n\n"))
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [choice["logprobs"] for choice in choices if choice.get("logprobs")] == [TOLD]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
