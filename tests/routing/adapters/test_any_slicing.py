"""Properties that hold for the streams of all dialects."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.base import Reply, StreamReader
from routing.core.errors import UpstreamError
from tests.routing.adapters.support import (
    RECORDED,
    adapter_of,
    call_of,
    endpoint_of,
    message_in,
    open_stream,
    read_all,
    recorded,
)

STREAMS = sorted(f"{path.parent.name}/{path.name}" for path in RECORDED.glob("*/*.sse"))
PAIRS = [
    name
    for name in STREAMS
    if (RECORDED / name.replace("stream", "reply")).with_suffix(".json").exists()
]


def learned(reader: StreamReader) -> dict[str, Any]:
    error = reader.error
    return {
        "usage": reader.usage,
        "usage_raw": reader.usage_raw,
        "finish": reader.finish_reason,
        "model": reader.response_model,
        "done": reader.done,
        "chars": reader.output_chars,
        "frames": reader.content_frames,
        "error": error and (error.failure, error.code, error.message),
    }


def both(name: str, data: bytes, cuts: list[int], *, wants_usage: bool) -> None:
    slug = name.partition("/")[0]
    whole = open_stream(endpoint_of(slug), wants_usage=wants_usage)
    expected = read_all(whole, data)
    sliced = open_stream(endpoint_of(slug), wants_usage=wants_usage)
    assert read_all(sliced, data, cuts) == expected
    assert learned(sliced) == learned(whole)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(STREAMS), st.booleans(), st.data())
def test_any_slicing_gives_the_same_bytes_usage_and_finish(
    name: str, wants_usage: bool, data: st.DataObject
) -> None:
    body = recorded(name)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=12))
    both(name, body, cuts, wants_usage=wants_usage)


@pytest.mark.parametrize("name", STREAMS)
def test_byte_by_byte_and_frame_by_frame_give_the_same(name: str) -> None:
    body = recorded(name)
    both(name, body, list(range(len(body))), wants_usage=True)
    ends = [at + 2 for at in range(len(body)) if body[at : at + 2] == b"\n\n"]
    both(name, body, ends, wants_usage=True)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(STREAMS), st.data())
def test_damaged_streams_never_raise_and_are_read_alike_however_sliced(
    name: str, data: st.DataObject
) -> None:
    body = recorded(name)
    at = data.draw(st.integers(0, len(body)))
    until = data.draw(st.integers(at, min(len(body), at + 60)))
    damage = data.draw(
        st.binary(max_size=6) | st.sampled_from([b"\n\n", b"\r", b"null", b"[]", b"{}"])
    )
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    both(name, body[:at] + damage + body[until:], cuts, wants_usage=False)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(STREAMS), st.data())
def test_a_cut_stream_is_never_shown_as_complete(name: str, data: st.DataObject) -> None:
    body = recorded(name)
    cut = data.draw(st.integers(0, len(body) - 1))
    reader = open_stream(endpoint_of(name.partition("/")[0]))
    out = read_all(reader, body[:cut])
    assert reader.done is (reader.error is None)
    assert out.count(b"[DONE]") == int(reader.done)
    if reader.done:
        assert message_in(out)["finish"]


NAMES = st.sampled_from(
    [
        "id",
        "model",
        "choices",
        "delta",
        "content",
        "role",
        "index",
        "finish_reason",
        "usage",
        "error",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "reasoning",
        "type",
        "message",
        "content_block",
        "text",
        "candidates",
        "parts",
        "functionCall",
        "args",
        "finishReason",
        "usageMetadata",
        "promptFeedback",
        "blockReason",
        "x_groq",
        "prompt_tokens",
    ]
)
WORDS = st.sampled_from(
    [
        "stop",
        "error",
        "message_start",
        "content_block_start",
        "content_block_delta",
        "tool_use",
        "text_delta",
        "input_json_delta",
        "message_delta",
        "content_block_stop",
        "STOP",
        "",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
SLUGS = st.sampled_from(["openai", "groq", "mistral", "anthropic", "gemini"])


@settings(max_examples=200, deadline=None)
@given(SLUGS, st.lists(JSON, max_size=6), st.booleans())
def test_absurd_events_never_raise(slug: str, events: list[Any], wants_usage: bool) -> None:
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    reader = open_stream(endpoint_of(slug), wants_usage=wants_usage)
    out = read_all(reader, data)
    assert reader.done is (reader.error is None)
    assert (b"[DONE]" in out) is reader.done
    assert reader.output_chars >= 0


@settings(max_examples=100, deadline=None)
@given(SLUGS, JSON)
def test_an_absurd_reply_is_a_reply_or_an_upstream_error(slug: str, document: Any) -> None:
    endpoint = endpoint_of(slug)
    body = json.dumps(document).encode()
    try:
        reply = adapter_of(endpoint).read_reply(call_of(), endpoint, [], body)
    except UpstreamError:
        return
    assert isinstance(reply, Reply)
    assert json.loads(reply.raw)["choices"]


@settings(max_examples=100, deadline=None)
@given(SLUGS, JSON, JSON, JSON)
def test_an_absurd_request_is_built_or_refused(
    slug: str, messages: Any, tools: Any, choice: Any
) -> None:
    endpoint = endpoint_of(slug, strict_unknown=True, content_parts="string_only", stop_max=1)
    call = call_of(messages=messages, tools=tools, tool_choice=choice, stop=choice, n=tools)
    with suppress(UpstreamError):
        built = adapter_of(endpoint).build(call, endpoint, "s")
        assert isinstance(json.loads(built.body), dict)


@pytest.mark.parametrize("name", PAIRS)
def test_a_stream_says_the_same_as_the_plain_answer(name: str) -> None:
    endpoint = endpoint_of(name.partition("/")[0])
    body = recorded(name.replace("stream", "reply").replace(".sse", ".json"))
    reply = adapter_of(endpoint).read_reply(call_of(), endpoint, [], body)
    reader = open_stream(endpoint)
    streamed = message_in(read_all(reader, recorded(name)))
    message = reply.body["choices"][0]["message"]
    assert streamed["content"] == (message["content"] or "")
    assert streamed["reasoning_content"] == message.get("reasoning_content", "")
    assert streamed["finish"] == reply.body["choices"][0]["finish_reason"]
    calls = [
        (c["id"], c["function"]["name"], c["function"]["arguments"])
        for c in message.get("tool_calls") or []
    ]
    assert [(c["id"], c["name"], c["args"]) for c in streamed["tool_calls"]] == calls
    assert reader.usage == reply.usage
    assert reader.finish_reason == reply.finish_reason
    assert reader.response_model == reply.response_model
    assert reader.output_chars == reply.output_chars
