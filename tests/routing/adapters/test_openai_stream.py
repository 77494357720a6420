from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from routing.adapters.base import UsageNote
from routing.adapters.openai_compat.stream import OpenAIStream
from routing.core.errors import FailureClass
from routing.core.usage import NO_USAGE, Usage, UsageSource
from tests.routing.adapters.chunks import (
    DONE,
    HEAD,
    HI,
    ROLE,
    STOP,
    USAGE,
    USAGE_ONLY,
    chunk,
    event,
    stream_of,
)
from tests.routing.adapters.support import (
    chunks_in,
    endpoint_of,
    message_in,
    open_stream,
    read_all,
    recorded,
)


def test_text_frames_are_passed_on_as_the_same_bytes() -> None:
    reader = stream_of()
    assert reader.feed(ROLE) == ROLE
    assert reader.feed(HI) == HI
    assert reader.feed(HI) is HI
    assert reader.feed(HI + HI) == HI + HI
    assert reader.feed(STOP + DONE) == STOP + DONE
    assert (reader.done, reader.error, reader.finish_reason) == (True, None, "stop")
    assert (reader.content_frames, reader.output_chars) == (4, 8)


@pytest.mark.parametrize(
    ("delta", "content", "answer"),
    [
        ({"role": "assistant"}, False, False),
        ({"content": ""}, False, False),
        ({"content": None}, False, False),
        ({"tool_calls": []}, False, False),
        ({"reasoning_content": ""}, False, False),
        ({"content": "x"}, True, True),
        ({"refusal": "no"}, True, True),
        ({"audio": {"data": "AA"}}, True, True),
        ({"function_call": {"name": "f", "arguments": ""}}, True, True),
        ({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}, True, True),
        ({"reasoning_content": "x"}, True, False),
        ({"reasoning": "x"}, True, False),
        ({"reasoning_details": [{"text": "x"}]}, True, False),
    ],
)
def test_only_something_to_read_starts_the_content_and_reasoning_is_no_answer(
    delta: dict[str, Any], content: bool, answer: bool
) -> None:
    reader = stream_of()
    reader.feed(chunk(delta))
    assert (reader.content_started, reader.answer_started) == (content, answer)
    assert reader.content_frames == int(content)


def test_the_answer_starts_after_reasoning_also_on_the_fast_path() -> None:
    reader = stream_of()
    reader.feed(chunk({"reasoning_content": "hm"}))
    reader.feed(chunk({"reasoning_content": "hm"}))
    assert (reader.content_started, reader.answer_started) == (True, False)
    reader.feed(HI)
    assert reader.answer_started
    assert reader.output_chars == 6


# --- the end ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        ROLE + HI + STOP + DONE,
        ROLE + HI + STOP,
        ROLE + HI + STOP + USAGE_ONLY + DONE,
        ROLE + HI + STOP + USAGE_ONLY,
        ROLE + HI + STOP + DONE + DONE,
        ROLE + HI + STOP + DONE + b"garbage",
        ROLE + HI + STOP + DONE + event({"error": "late"}),
        ROLE + STOP + DONE,
        ROLE + HI + USAGE_ONLY + DONE,
        ROLE + HI + STOP + b"data: [DONE]",
        ROLE + HI + STOP + b"data:[DONE]\r\n\r\n",
        ROLE + HI + STOP[:-2],
    ],
)
def test_a_proper_end_gives_done_once(data: bytes) -> None:
    reader = stream_of()
    out = read_all(reader, data)
    assert reader.error is None
    assert reader.done
    assert out.endswith(DONE)
    assert out.count(b"[DONE]") == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "truncated"),
        (ROLE, "truncated"),
        (ROLE + HI, "truncated"),
        (ROLE + HI + USAGE_ONLY, "truncated"),
        (DONE, "truncated"),
        (ROLE + DONE, "truncated"),
        (ROLE + HI + DONE, "truncated"),
        (b": only comments\n\n", "truncated"),
        (ROLE + HI + HI[:40], "malformed_frame"),
        (ROLE + HI + b"data: {oops\n\n" + STOP + DONE, "malformed_frame"),
        (ROLE + HI + b"data: 7\n\n" + STOP + DONE, "malformed_frame"),
        (ROLE + HI + b"data: " + b"[" * 5000 + b"\n\n", "malformed_frame"),
        (ROLE + HI + b"data: \xff\n\n", "malformed_frame"),
        (ROLE + HI + b"data: " + b"x" * 2**20 + b"\n\n", "event_too_large"),
        (b"<html><body>busy</body></html>", "html_answer"),
        (b'{"id":"a","choices":[{"message":{"content":"x"}}]}', "not_a_stream"),
        (b"busy, try later", "not_an_answer"),
    ],
)
def test_a_broken_stream_is_an_error_and_never_gets_done(data: bytes, code: str) -> None:
    reader = stream_of(wants_usage=True)
    out = read_all(reader, data)
    assert reader.error is not None
    assert (reader.error.code, reader.error.failure) == (code, FailureClass.TRANSIENT)
    assert not reader.done
    assert b"[DONE]" not in out
    assert reader.feed(HI) == b""
    assert reader.close() == b""


def test_what_came_before_the_break_is_still_passed_on() -> None:
    reader = stream_of()
    assert reader.feed(ROLE + HI + b"data: {oops\n\n" + HI) == ROLE + HI


def test_every_choice_must_finish() -> None:
    two = ROLE + HI + chunk({"content": "ho"}, index=1)
    reader = stream_of()
    read_all(reader, two + STOP)
    assert reader.error is not None
    reader = stream_of()
    read_all(reader, two + STOP + chunk({}, "length", index=1))
    assert reader.done
    assert reader.finish_reason == "stop"


def test_an_empty_delta_after_the_finish_does_not_open_it_again() -> None:
    reader = stream_of()
    read_all(reader, ROLE + HI + STOP + ROLE)
    assert reader.done


def test_a_provider_that_never_says_done_may_just_stop() -> None:
    reader = stream_of(done_required=False)
    assert read_all(reader, ROLE + HI) == ROLE + HI + DONE


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "failure"),
    [
        (event({"error": {"code": 429, "message": "full"}}), FailureClass.CAPACITY),
        (
            event({"error": {"message": "broke", "code": "insufficient_quota"}}),
            FailureClass.BILLING,
        ),
        (event({"error": {"message": "x"}, "status_code": 503}), FailureClass.TRANSIENT),
        (event({"error": {"message": "x", "type": "invalid_request_error"}}), FailureClass.CLIENT),
        (event({"error": "busy"}), FailureClass.TRANSIENT),
        (event([{"error": {"code": 429, "message": "full"}}]), FailureClass.CAPACITY),
        (event({"message": "busy", "type": "server_error"}), FailureClass.TRANSIENT),
        (
            b"event: error\n" + event({"message": "full", "code": "rate_limit_exceeded"}),
            FailureClass.CAPACITY,
        ),
        (event({"detail": "busy"}), FailureClass.TRANSIENT),
        (chunk({"content": ""}, "error"), FailureClass.TRANSIENT),
        (chunk({}, None, error={"code": 429, "message": "full"}), FailureClass.CAPACITY),
        (chunk({}, "insufficient_system_resource"), FailureClass.TRANSIENT),
        (b'{"error":{"code":429,"message":"full"}}', FailureClass.CAPACITY),
    ],
)
def test_an_error_in_the_stream_is_classified_before_and_after_content(
    frame: bytes, failure: FailureClass
) -> None:
    reader = stream_of()
    assert read_all(reader, frame) == b""
    assert reader.error is not None
    assert reader.error.failure is failure
    if frame.startswith(b"{"):
        return
    reader = stream_of()
    assert read_all(reader, ROLE + HI + frame + STOP + DONE) == ROLE + HI
    assert reader.error is not None
    assert reader.error.failure is failure


def test_a_recorded_error_in_the_middle_ends_the_stream() -> None:
    reader = open_stream(endpoint_of("openrouter"))
    out = read_all(reader, recorded("openrouter/stream_error.sse"))
    assert message_in(out)["content"] == "4"
    assert reader.error is not None
    assert (reader.error.failure, reader.error.status) == (FailureClass.CAPACITY, 429)


# --- usage ------------------------------------------------------------------------------------


def test_usage_is_stripped_when_the_client_did_not_ask() -> None:
    reader = open_stream(endpoint_of("openai"))
    out = read_all(reader, recorded("openai/stream.sse"))
    assert b"usage" not in out
    assert reader.usage == Usage(
        input_total=100, cache_read=64, cache_write_5m=0, output_total=20, reasoning=8
    )
    assert json.loads(reader.usage_raw)["total_tokens"] == 120


@pytest.mark.parametrize(
    "slug",
    [
        "openai",
        "groq",
        "mistral",
        "deepseek",
        "openrouter",
        "xai",
        "together",
        "nebius",
        "moonshot",
    ],
)
def test_a_client_that_asked_gets_exactly_one_usage_chunk_with_the_cost(slug: str) -> None:
    reader = open_stream(endpoint_of(slug), wants_usage=True)
    assert isinstance(reader, OpenAIStream)
    seen: list[Usage] = []

    def note(usage: Usage) -> UsageNote:
        seen.append(usage)
        return UsageNote("0.000001", "metered")

    reader.note = note
    chunks = chunks_in(read_all(reader, recorded(f"{slug}/stream.sse")))
    trailing = [c for c in chunks if not c["choices"]]
    assert trailing == [chunks[-1]]
    assert not any("usage" in chunk or "usage" in chunk.get("x_groq", {}) for chunk in chunks[:-1])
    assert chunks[-1]["usage"]["prompt_tokens"] == reader.usage.input_total
    assert chunks[-1]["usage"]["cost"] == "0.000001"
    assert chunks[-1]["usage"]["cost_status"] == "metered"
    assert chunks[-1]["id"] == chunks[0]["id"]
    assert seen == [reader.usage]


@pytest.mark.parametrize(
    "slug",
    [
        "openai",
        "groq",
        "mistral",
        "deepseek",
        "openrouter",
        "xai",
        "together",
        "nebius",
        "moonshot",
    ],
)
def test_a_recorded_stream_is_read_to_its_end(slug: str) -> None:
    reader = open_stream(endpoint_of(slug))
    out = read_all(reader, recorded(f"{slug}/stream.sse"))
    assert reader.error is None
    assert reader.finish_reason == "stop"
    assert b'"usage"' not in out
    message = message_in(out)
    assert message["finish"] == "stop"
    assert message["content"] == (
        "4 C" if slug != "openai" else "Ta cold day — 4\u202f°C.\u2028Bye 🙂"
    )
    assert reader.output_chars == len(message["content"] + message["reasoning_content"])
    assert reader.response_model


@pytest.mark.parametrize(
    ("slug", "usage"),
    [
        ("groq", Usage(input_total=74, cache_read=32, output_total=42, reasoning=5)),
        ("mistral", Usage(input_total=30, cache_read=16, output_total=9)),
        ("deepseek", Usage(input_total=50, cache_read=40, output_total=12, reasoning=4)),
        ("together", Usage(input_total=11, cache_read=8, output_total=3)),
        ("moonshot", Usage(input_total=11, cache_read=8, output_total=3)),
        ("nebius", Usage(input_total=11, output_total=3)),
        (
            "xai",
            Usage(
                input_total=32,
                cache_read=6,
                output_total=106,
                reasoning=97,
                provider_cost_usd=Decimal("0.0000575"),
            ),
        ),
        (
            "openrouter",
            Usage(
                input_total=20,
                cache_read=0,
                output_total=6,
                reasoning=2,
                provider_cost_usd=Decimal("0.000123"),
            ),
        ),
    ],
)
def test_usage_is_found_wherever_it_arrives(slug: str, usage: Usage) -> None:
    reader = open_stream(endpoint_of(slug))
    read_all(reader, recorded(f"{slug}/stream.sse"))
    assert reader.usage == usage


def test_the_last_usage_wins_and_nonsense_does_not_replace_it() -> None:
    reader = stream_of()
    later = event({**HEAD, "choices": [], "usage": {**USAGE, "completion_tokens": 4}})
    nonsense = event({**HEAD, "choices": [], "usage": {"prompt_tokens": -1}})
    read_all(reader, ROLE + HI + STOP + USAGE_ONLY + later + nonsense + DONE)
    assert reader.usage.output_total == 4


def test_a_client_that_asked_gets_an_estimate_where_the_provider_says_nothing() -> None:
    reader = stream_of(wants_usage=True)
    seen: list[Usage] = []

    def note(usage: Usage) -> UsageNote:
        seen.append(usage)
        return UsageNote("0.1", "estimated")

    reader.note = note
    last = chunks_in(read_all(reader, ROLE + HI + STOP + DONE))[-1]
    assert last["usage"]["completion_tokens"] == 1
    assert last["usage"]["cost_status"] == "estimated"
    assert [usage.source for usage in seen] == [UsageSource.ESTIMATED]
    assert reader.usage == NO_USAGE


@pytest.mark.parametrize("null", [',"usage":null', ', "usage": null', ',"usage" : null'])
@pytest.mark.parametrize("wants_usage", [False, True])
def test_null_usage_disappears_however_it_is_written(null: str, wants_usage: bool) -> None:
    reader = stream_of(wants_usage)
    reader.feed(ROLE + HI)
    out = reader.feed(HI[:-3] + null.encode() + b"}\n\n")
    assert chunks_in(out) == chunks_in(HI)


def test_the_word_usage_in_a_text_is_left_alone() -> None:
    reader = stream_of()
    reader.feed(ROLE + HI)
    frame = chunk({"content": ',"usage":null [DONE] "error" "finish_reason":"stop"'})
    assert reader.feed(frame) is frame
