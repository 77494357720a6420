"""The reader of a provider's own response, and the hub's ids put into it: events in, events out."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from routing.adapters.base import ChatCall, NativeCall
from routing.adapters.openai_responses.adapter import DIALECT, OpenAIResponses
from routing.adapters.openai_responses.stream import MAX_EVENT_BYTES, ResponsesReader
from routing.adapters.quirks import Quirks
from routing.core.errors import FailureClass, HubError, UpstreamError
from routing.core.usage import NO_USAGE, Usage
from routing.surfaces.base import VoiceStream
from tests.routing.factories import endpoint, provider
from tests.routing.surfaces.responses.support import checked_events, kinds, voice_of

ADAPTER = OpenAIResponses()
ENDPOINT = endpoint(
    "openai", 1, at=provider("openai", 1, quirks=Quirks(responses_path="/responses"))
)
CALL = ChatCall(
    {"model": "m", "messages": []},
    stream=True,
    wants_usage=True,
    native=NativeCall(DIALECT, {"input": "hi"}),
)
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 0},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 8},
    "total_tokens": 120,
}
SEARCH = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "q"},
}
OPENED = {**SEARCH, "id": "ws_2", "action": {"type": "open_page", "url": "https://a"}}
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
TEXT = 'She said "item_id": "msg_1" and “response”\u2028.'
PART = {"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [PART],
}


def response(status: str, *output: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = voice_of("hi")._base
    return {**base, "id": "resp_theirs", "store": False, "status": status, "output": [*output]} | {
        "model": "m-2026",
        "service_tier": "priority",
        **more,
    }


def events(*told: dict[str, Any]) -> list[bytes]:
    return [
        b"event: %s\ndata: %s\n\n"
        % (one["type"].encode(), json.dumps({**one, "sequence_number": no}).encode())
        for no, one in enumerate(told)
    ]


def item_events(place: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    opening = {**item, **({"status": "in_progress"} if "status" in item else {})}
    if item["type"] == "message":
        opening["content"] = []
    return [
        {"type": "response.output_item.added", "output_index": place, "item": opening},
        {"type": "response.output_item.done", "output_index": place, "item": item},
    ]


def text_events(place: int) -> list[dict[str, Any]]:
    at = {"item_id": "msg_1", "output_index": place, "content_index": 0}
    added, done = item_events(place, MESSAGE)
    pieces = [TEXT[:9], TEXT[9:]]
    return [
        added,
        {"type": "response.content_part.added", **at, "part": {**PART, "text": ""}},
        *({"type": "response.output_text.delta", **at, "delta": p, "logprobs": []} for p in pieces),
        {"type": "response.output_text.done", **at, "text": TEXT, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": PART},
        done,
    ]


BEGINNING = [
    {"type": "response.created", "response": response("in_progress")},
    {"type": "response.in_progress", "response": response("in_progress")},
]
MIDDLE = [
    *item_events(0, THOUGHT),
    *item_events(1, SEARCH),
    *item_events(2, OPENED),
    *text_events(3),
]
OUTPUT = (THOUGHT, SEARCH, OPENED, MESSAGE)
ENDING = {
    "type": "response.completed",
    "response": response("completed", *OUTPUT, usage=USAGE),
}
WHOLE = b"".join(events(*BEGINNING, *MIDDLE, ENDING))


def reader() -> ResponsesReader:
    return ADAPTER.open_stream(CALL, ENDPOINT)


def speech() -> VoiceStream:
    opened = voice_of("hi").open_native_stream()
    assert opened is not None
    return opened


def slices_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


FIELDS = st.sampled_from(
    [
        "id",
        "item",
        "item_id",
        "response",
        "output",
        "output_index",
        "delta",
        "error",
        "type",
        "action",
        "usage",
        "status",
        "approval_request_id",
        "content",
        "input_tokens_details",
    ]
)
KINDS = [
    "response.created",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_text.delta",
    "response.completed",
    "response.incomplete",
    "response.failed",
    "error",
]
CUTS = st.lists(st.integers(0, len(WHOLE)), max_size=12)


def through_both(pieces: list[bytes]) -> tuple[ResponsesReader, bytes]:
    read, told = reader(), speech()
    out = b"".join([told.feed(read.feed(piece)) for piece in pieces])
    out += told.feed(read.close())
    return read, out + asyncio.run(told.end())


@settings(max_examples=150, deadline=None)
@given(CUTS)
def test_events_pass_byte_for_byte_however_they_are_sliced(cuts: list[int]) -> None:
    read = reader()
    out = b"".join(map(read.feed, slices_of(WHOLE, cuts)))
    assert out + read.close() == WHOLE
    assert (read.done, read.error) == (True, None)
    assert read.usage == Usage(
        input_total=100,
        cache_read=64,
        cache_write_5m=0,
        output_total=20,
        reasoning=8,
        searches=1,
    )
    assert (read.finish_reason, read.response_model) == ("stop", "m-2026")
    assert (read.service_tier, read.output_chars) == ("priority", len(TEXT))


@settings(max_examples=150, deadline=None)
@given(CUTS, st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_the_hubs_ids_stand_in_the_same_events_however_they_are_sliced(
    cuts: list[int], line_end: bytes
) -> None:
    data = WHOLE.replace(b"\n", line_end)
    _, out = through_both(slices_of(data, cuts))
    lines = out.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    told = checked_events(lines)
    assert len(told) == len(BEGINNING) + len(MIDDLE) + 1
    ids = [item["id"] for item in told[-1]["response"]["output"]]
    hex = told[0]["response"]["id"].removeprefix("resp_")
    assert ids == [f"rs_{hex}o0", f"ws_{hex}o1", f"ws_{hex}o2", f"msg_{hex}o3"]
    assert {event["item_id"] for event in told if "item_id" in event} == {ids[3]}
    deltas = [e["delta"] for e in told if e["type"] == "response.output_text.delta"]
    assert "".join(deltas) == TEXT


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(WHOLE) - 2))
def test_a_stream_that_ends_too_early_is_no_answer_wherever_it_is_cut(cut: int) -> None:
    read, told = reader(), speech()
    out = told.feed(read.feed(WHOLE[:cut])) + told.feed(read.close())
    if read.done:  # all of the last event was there, but for a line end
        assert cut > len(WHOLE) - 3
        return
    assert read.error is not None
    out += told.broken(HubError(502, "provider_broke_off", "broke"))
    assert kinds(checked_events(out))[-2:] == ["error", "failed"]
    assert asyncio.run(told.end()) == b""


@pytest.mark.parametrize("place", range(len(BEGINNING) + len(MIDDLE) + 1))
def test_content_begins_with_the_first_thing_worth_seeing(place: int) -> None:
    read = reader()
    for event in events(*BEGINNING, *MIDDLE, ENDING)[:place]:
        read.feed(event)
    assert read.content_started is (place > 3)  # the thought that is done
    assert read.answer_started is (place > 4)  # the search that has begun


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("response.refusal.delta", {"delta": "no"}),
        ("response.function_call_arguments.delta", {"delta": "{"}),
        ("response.custom_tool_call_input.delta", {"delta": "x"}),
        ("response.mcp_call_arguments.delta", {"delta": "{"}),
        ("response.code_interpreter_call_code.delta", {"delta": "1"}),
        ("response.of_next_year.delta", {"delta": "1"}),
        ("response.image_generation_call.partial_image", {"partial_image_b64": "aa"}),
    ],
)
def test_every_kind_of_delta_is_an_answer(kind: str, fields: dict[str, str]) -> None:
    read = reader()
    read.feed(events({"type": kind, "item_id": "x", "output_index": 0, **fields})[0])
    assert (read.content_started, read.answer_started) == (True, True)
    assert read.output_chars == len(fields.get("delta", ""))


@pytest.mark.parametrize(
    ("event", "failure"),
    [
        (
            {"type": "error", "code": "rate_limit_exceeded", "message": "slow"},
            FailureClass.CAPACITY,
        ),
        (
            {"type": "error", "error": {"type": "server_error", "message": "x"}},
            FailureClass.TRANSIENT,
        ),
        (
            {
                "type": "response.failed",
                "response": response("failed", error={"code": "server_error", "message": "x"}),
            },
            FailureClass.TRANSIENT,
        ),
        ({"type": "response.failed", "response": response("failed")}, FailureClass.TRANSIENT),
        (
            {"type": "error", "code": "invalid_prompt", "message": "x", "status_code": 400},
            FailureClass.CLIENT,
        ),
    ],
)
def test_an_error_in_the_stream_is_no_answer(event: dict[str, Any], failure: FailureClass) -> None:
    read = reader()
    begun = b"".join(events(*BEGINNING, *MIDDLE))
    assert read.feed(begun + events(event)[0]) == begun
    assert isinstance(read.error, UpstreamError)
    assert read.error.failure is failure
    assert (read.done, read.feed(WHOLE), read.close()) == (False, b"", b"")


def test_what_a_failed_response_cost_is_read() -> None:
    read = reader()
    failed = response("failed", error={"code": "server_error", "message": "x"}, usage=USAGE)
    read.feed(events({"type": "response.failed", "response": failed})[0])
    assert read.usage.output_total == 20


@pytest.mark.parametrize(
    ("reason", "word"), [("max_output_tokens", "length"), ("content_filter", "content_filter")]
)
def test_an_answer_cut_short_has_ended_all_the_same(reason: str, word: str) -> None:
    cut = response("incomplete", MESSAGE, incomplete_details={"reason": reason})
    read, out = through_both(
        events(*BEGINNING, *text_events(0), {"type": "response.incomplete", "response": cut})
    )
    assert (read.done, read.finish_reason, read.usage) == (True, word, NO_USAGE)
    assert kinds(checked_events(out))[-1] == "incomplete"


def test_an_image_of_many_megabytes_passes_and_an_event_without_end_does_not() -> None:
    image = "A" * (5 * 2**20)
    partial = {
        "type": "response.image_generation_call.partial_image",
        "item_id": "ig_1",
        "output_index": 0,
        "partial_image_index": 0,
        "partial_image_b64": image,
    }
    read, out = through_both(events(*BEGINNING, partial, ENDING))
    assert read.error is None
    assert len(out) > len(image)
    endless = reader()
    endless.feed(b"data: " + b"A" * (MAX_EVENT_BYTES + 1))
    assert isinstance(endless.error, UpstreamError)
    assert endless.error.code == "event_too_large"
    assert "more than 32 MiB" in str(endless.error)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<html>", "html_answer"),
        (b"", "empty_answer"),
        (b"[]", "not_an_answer"),
        (json.dumps(response("in_progress")).encode(), "not_an_answer"),
        (json.dumps({"id": "c", "choices": []}).encode(), "not_an_answer"),
        (
            json.dumps(response("failed", error={"code": "server_error", "message": "x"})).encode(),
            "server_error",
        ),
        (b'{"error": {"message": "x", "code": "rate_limit_exceeded"}}', "rate_limit_exceeded"),
    ],
)
def test_what_is_no_response_is_no_answer(body: bytes, code: str) -> None:
    with pytest.raises(UpstreamError) as raised:
        ADAPTER.read_reply(CALL, ENDPOINT, [], body)
    assert raised.value.code == code


def test_a_whole_answer_says_what_its_stream_says() -> None:
    body = json.dumps(ENDING["response"]).encode()
    reply = ADAPTER.read_reply(CALL, ENDPOINT, [], body)
    read = reader()
    read.feed(WHOLE)
    assert (reply.raw, reply.is_native) == (body, True)
    for name in ("usage", "usage_raw", "finish_reason", "response_model", "service_tier"):
        assert getattr(reply, name) == getattr(read, name)


def test_only_a_model_that_reasons_is_asked_for_its_thoughts() -> None:
    keeping = msgspec.structs.replace(
        CALL, native=NativeCall(DIALECT, {"input": "hi", "store": False}, returns_thoughts=True)
    )
    asked = json.loads(ADAPTER.build(keeping, ENDPOINT, "k").body)
    assert asked["include"] == ["reasoning.encrypted_content"]
    plain = msgspec.structs.replace(ENDPOINT, capabilities=frozenset())
    assert "include" not in json.loads(ADAPTER.build(keeping, plain, "k").body)


def test_nothing_else_is_ever_written_as_a_response() -> None:
    chat = msgspec.structs.replace(CALL, native=None)
    with pytest.raises(UpstreamError) as raised:
        ADAPTER.build(chat, ENDPOINT, "k")
    assert (raised.value.failure, raised.value.was_sent) == (FailureClass.CLIENT, False)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@example(
    [
        ("response.output_item.added", {"item": {"id": {"id": 1}}, "output_index": True}),
        ("response.completed", {"response": {"output": [{"id": [], "type": {}}]}}),
    ]
)
@example([("\ud83d", {"response": {"output": []}})])
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(FIELDS, ANYTHING)), max_size=4))
def test_nonsense_of_a_provider_is_passed_on_or_refused_and_never_raises(
    told: list[tuple[str, dict[str, Any]]],
) -> None:
    pieces = [
        b"event: x\ndata: %s\n\n" % json.dumps({**fields, "type": kind}).encode()
        for kind, fields in told
    ]
    read, speaks = reader(), speech()
    out = b"".join([speaks.feed(read.feed(piece)) for piece in pieces])
    out += speaks.feed(read.close())
    if read.error is None:
        out += asyncio.run(speaks.end())
    else:
        out += speaks.broken(HubError(502, "provider_broke_off", "broke"))
        assert b"response.failed" in out
    assert read.done is (read.error is None)
