"""Requests of Anthropic's own dialect: sent as written, answered byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.anthropic.counting import build_count, read_count
from routing.adapters.anthropic.foreign import UNSIGNED, packed, unpacked
from routing.adapters.base import BuiltRequest, ChatCall, NativeCall, StreamReader
from routing.core.errors import BrokenAnswer, FailureClass, UpstreamError
from routing.core.usage import Usage
from tests.routing.adapters.support import adapter_of, endpoint_of, read_all, recorded

CLAUDE = endpoint_of(
    "anthropic", "claude-x", max_output_tokens=8192, base_url="https://api.anthropic.com"
)
EPHEMERAL = {"type": "ephemeral", "ttl": "1h"}
# Everything in it has no counterpart in OpenAI chat.
BODY: dict[str, Any] = {
    "model": "anthropic/claude-x:fastest",
    "max_tokens": 2048,
    "system": [{"type": "text", "text": "be brief", "cache_control": EPHEMERAL}],
    "messages": [
        {
            "role": "user",
            "content": [
                {
                    "type": "document",
                    "source": {"type": "file", "file_id": "file_1"},
                    "citations": {"enabled": True},
                    "cache_control": EPHEMERAL,
                }
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZW5j"},
                {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1.0}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True}],
        },
    ],
    "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "container": "container_1",
    "context_management": {"edits": []},
    "mcp_servers": [{"type": "url", "url": "https://mcp.test", "name": "m"}],
    "inference_geo": "eu",
    "something_new": None,
}


def call_of(*, stream: bool = False, headers: Any = (), **more: Any) -> ChatCall:
    native = NativeCall("anthropic", {**BODY, **more}, tuple(headers))
    chat = {"model": "asked/model", "messages": [{"role": "user", "content": "hi"}]}
    return ChatCall(chat, stream, wants_usage=stream, native=native)


def built(endpoint: Any = CLAUDE, **more: Any) -> BuiltRequest:
    return adapter_of(endpoint).build(call_of(**more), endpoint, "s3cret")


def sent(endpoint: Any = CLAUDE, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(built(endpoint, **more).body)
    return body


def open_native() -> StreamReader:
    return adapter_of(CLAUDE).open_stream(call_of(stream=True), CLAUDE)


# --- requests ----------------------------------------------------------------------------------


def test_the_body_goes_as_it_was_written_but_for_the_model() -> None:
    assert sent() == {**BODY, "model": "claude-x"}
    assert json.dumps(sent()["messages"]) == json.dumps(BODY["messages"])
    assert built().path == "/v1/messages"
    assert built().dropped == ()


def test_it_streams_if_the_call_does() -> None:
    assert sent(stream=True)["stream"] is True
    assert dict(built(stream=True).headers)[b"accept"] == b"text/event-stream"
    assert "stream" not in sent()


def test_a_request_in_another_dialect_is_translated_as_before() -> None:
    call = ChatCall(
        {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        stream=False,
        wants_usage=False,
        native=NativeCall("responses", {"input": "hi"}),
    )
    body = json.loads(adapter_of(CLAUDE).build(call, CLAUDE, "s").body)
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    reply = adapter_of(CLAUDE).read_reply(call, CLAUDE, [], recorded("anthropic/reply.json"))
    assert not reply.is_native
    assert reply.body["object"] == "chat.completion"
    assert not adapter_of(CLAUDE).open_stream(call, CLAUDE).is_native


@pytest.mark.parametrize(
    ("headers", "version", "betas"),
    [
        ([], b"2023-06-01", None),
        ([(b"anthropic-version", b"2026-10-21")], b"2026-10-21", None),
        ([(b"anthropic-beta", b"a-1,b-2")], b"2023-06-01", b"a-1,b-2"),
    ],
)
def test_the_clients_version_and_betas_reach_the_provider(
    headers: Any, version: bytes, betas: bytes | None
) -> None:
    told = dict(built(headers=headers).headers)
    assert told[b"anthropic-version"] == version
    assert told.get(b"anthropic-beta") == betas
    assert told[b"x-api-key"] == b"s3cret"


def test_no_other_header_of_the_client_reaches_the_provider() -> None:
    headers = [(b"x-api-key", b"client"), (b"cookie", b"c"), (b"anthropic-workspace-id", b"w")]
    told = dict(built(headers=headers).headers)
    assert told[b"x-api-key"] == b"s3cret"
    assert b"cookie" not in told
    assert b"anthropic-workspace-id" not in told


def test_a_records_betas_and_the_clients_are_one_list() -> None:
    endpoint = endpoint_of(
        "anthropic",
        "c",
        extra_headers={"anthropic-beta": "ours", "anthropic-version": "2023-06-01"},
    )
    headers = [(b"anthropic-beta", b"theirs"), (b"anthropic-version", b"2026-10-21")]
    told = built(endpoint, headers=headers).headers
    assert [v for n, v in told if n == b"anthropic-beta"] == [b"ours,theirs"]
    assert [v for n, v in told if n == b"anthropic-version"] == [b"2026-10-21"]


def test_what_a_provider_of_the_dialect_does_not_take_is_dropped_and_told() -> None:
    endpoint = endpoint_of("anthropic", "c", drop_params=("container", "top_k"))
    assert "container" not in sent(endpoint)
    assert built(endpoint).dropped == ("container",)


def test_other_makers_thoughts_are_kept_from_anthropic() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": ""}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": UNSIGNED},
                {"type": "redacted_thinking", "data": packed({"call": {"extra_content": {}}})},
                {"type": "thinking", "thinking": "Own.", "signature": "c2ln"},
                use,
            ],
        },
    ]
    assert sent(messages=messages)["messages"] == [
        messages[0],
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Own.", "signature": "c2ln"}, use],
        },
    ]


def test_other_makers_call_ids_are_made_safe_in_call_and_result() -> None:
    use = {"type": "tool_use", "id": "functions.f:0", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "functions.f:0", "content": "x"}
    messages = [
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result, {"type": "text", "text": "so?"}]},
    ]
    [first, second] = sent(messages=messages)["messages"]
    assert first["content"][0]["id"] == second["content"][0]["tool_use_id"] == "functions_f_0"
    assert messages[0]["content"] == [use]  # a retry starts clean


def test_only_anthropics_own_citations_go_back_to_it() -> None:
    own = {"type": "web_search_result_location", "encrypted_index": "aW5k", "url": "https://a.test"}
    text = {"type": "text", "text": "x", "citations": [{**own, "encrypted_index": UNSIGNED}, own]}
    messages = [{"role": "assistant", "content": [text]}]
    assert sent(messages=messages)["messages"][0]["content"] == [{**text, "citations": [own]}]


@pytest.mark.parametrize("messages", [None, {}, ["x"], [{"content": ["x", 7]}], [{"content": 7}]])
def test_absurd_messages_are_left_to_the_provider_to_refuse(messages: Any) -> None:
    assert sent(messages=messages)["messages"] == messages


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3))
def test_cargo_comes_back_as_it_was_packed(cargo: dict[str, Any]) -> None:
    assert unpacked(packed(cargo)) == cargo


# --- replies -----------------------------------------------------------------------------------

REPLIES = ("reply", "reply_tools", "reply_server_tools")


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_the_providers_own_bytes(name: str) -> None:
    body = recorded(f"anthropic/{name}.json")
    reply = adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], body)
    assert reply.raw is body
    assert reply.is_native
    assert reply.response_model == "claude-x-20260101"


def test_a_native_reply_is_metered() -> None:
    body = recorded("anthropic/reply_server_tools.json")
    reply = adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], body)
    assert reply.usage == Usage(
        input_total=11194,
        cache_read=512,
        cache_write_5m=0,
        cache_write_1h=0,
        output_total=510,
        searches=1,
    )
    assert json.loads(reply.usage_raw) == json.loads(body)["usage"]
    assert reply.finish_reason == "tool_calls"


def test_what_is_written_for_an_hour_has_its_own_meter() -> None:
    reply = adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], recorded("anthropic/reply.json"))
    assert (reply.usage.cache_write_5m, reply.usage.cache_write_1h) == (600, 400)
    assert (reply.usage.input_total, reply.usage.cache_read) == (3012, 2000)


@pytest.mark.parametrize(
    ("body", "code"),
    [(recorded("anthropic/error_529.json"), "overloaded_error"), (b"<html>", "html_answer")],
)
def test_a_native_success_that_is_no_answer_is_an_error(body: bytes, code: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        adapter_of(CLAUDE).read_reply(call_of(), CLAUDE, [], body)
    assert caught.value.code == code


# --- streams -----------------------------------------------------------------------------------

PAIRS = (
    ("stream", "reply"),
    ("stream_tools", "reply_tools"),
    ("stream_server_tools", "reply_server_tools"),
)


@pytest.mark.parametrize(("stream", "reply"), PAIRS)
def test_a_stream_is_passed_on_byte_for_byte_and_read(stream: str, reply: str) -> None:
    data = recorded(f"anthropic/{stream}.sse")
    reader = open_native()
    assert read_all(reader, data) == data
    assert (reader.is_native, reader.done, reader.error) == (True, True, None)
    whole = adapter_of(CLAUDE).read_reply(
        call_of(), CLAUDE, [], recorded(f"anthropic/{reply}.json")
    )
    assert reader.usage == whole.usage
    assert (reader.finish_reason, reader.response_model) == (
        whole.finish_reason,
        whole.response_model,
    )
    assert reader.output_chars == whole.output_chars


def with_ends(data: bytes, end: bytes) -> bytes:
    return data.replace(b"\n", end)


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from([stream for stream, _ in PAIRS]),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.data(),
)
def test_any_slicing_passes_on_the_same_bytes(name: str, end: bytes, data: st.DataObject) -> None:
    body = with_ends(recorded(f"anthropic/{name}.sse"), end)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=12))
    whole, sliced = open_native(), open_native()
    passed = read_all(whole, body)
    assert passed.rstrip() == body.rstrip()
    assert read_all(sliced, body, cuts).rstrip() == passed.rstrip()
    for attribute in ("usage", "finish_reason", "done", "output_chars", "content_frames"):
        assert getattr(sliced, attribute) == getattr(whole, attribute)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from([stream for stream, _ in PAIRS]), st.data())
def test_a_cut_stream_never_ends_in_the_middle_of_an_event(name: str, data: st.DataObject) -> None:
    body = recorded(f"anthropic/{name}.sse")
    cut = data.draw(st.integers(0, len(body) - 1))
    reader = open_native()
    out = reader.feed(body[:cut]) + reader.close()
    assert out == b"" or out.endswith(b"\n\n")
    assert reader.done is (reader.error is None)
    assert out.count(b"message_stop") == (2 if reader.done else 0)
    if reader.error is not None:
        assert reader.error.failure is FailureClass.TRANSIENT


def test_an_event_of_which_only_the_name_came_is_not_passed_on() -> None:
    body = recorded("anthropic/stream.sse")
    cut = body.index(b"event: message_stop\n") + len(b"event: message_stop\n")
    reader = open_native()
    out = reader.feed(body[:cut]) + reader.close()
    assert out == body
    assert reader.done


def test_an_end_without_its_last_event_is_given_one_if_the_answer_was_complete() -> None:
    body = recorded("anthropic/stream.sse")
    events = body.split(b"\n\n")[:-2]
    reader = open_native()
    out = read_all(reader, b"\n\n".join(events))  # not even the last blank line
    assert out == body
    assert reader.done


def test_the_error_event_itself_is_kept_back() -> None:
    reader = open_native()
    out = read_all(reader, recorded("anthropic/stream_error.sse"))
    assert b"event: error" not in out
    assert out.endswith(b'"text":"Ta"}}\n\n')
    assert isinstance(reader.error, UpstreamError)
    assert (reader.error.failure, reader.error.code) == (FailureClass.TRANSIENT, "overloaded_error")
    assert reader.content_started


def test_an_error_before_content_is_a_failed_attempt() -> None:
    reader = open_native()
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    error = b'event: error\ndata: {"type":"error","error":{"type":"rate_limit_error"}}\n\n'
    assert reader.feed(ping + error) == ping
    assert reader.error is not None
    assert reader.error.failure is FailureClass.CAPACITY
    assert not reader.content_started
    assert reader.feed(recorded("anthropic/stream.sse")) == b""


def test_thinking_starts_the_content_but_not_the_answer() -> None:
    events = [e + b"\n\n" for e in recorded("anthropic/stream_tools.sse").split(b"\n\n")]
    reader = open_native()
    reader.feed(b"".join(events[:2]))
    assert not reader.content_started
    reader.feed(b"".join(events[2:6]))
    assert (reader.content_started, reader.answer_started) == (True, False)
    reader.feed(b"".join(events[6:10]))
    assert reader.answer_started


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "truncated"),
        (b"event: x\ndata: {broken\n\n", "malformed_frame"),
        (b"data: " + b"x" * 2**20 + b"xx", "event_too_large"),
        (b"data: " + b"x" * 2**20 + b"xx\n\n", "event_too_large"),
        (b'{"type":"error","error":{"type":"overloaded_error"}}', "overloaded_error"),
        (b"<html></html>", "html_answer"),
        (b'data: {"type":"message_stop"}\n\n', "truncated"),
    ],
)
def test_what_is_no_whole_stream_is_an_error(data: bytes, code: str) -> None:
    reader = open_native()
    assert read_all(reader, data) == b""
    assert reader.error is not None
    assert reader.error.code == code


def test_what_follows_the_end_is_not_passed_on() -> None:
    body = recorded("anthropic/stream.sse")
    reader = open_native()
    assert reader.feed(body + body) == body
    assert (reader.feed(body), reader.close()) == (b"", b"")


def test_comments_and_unknown_events_are_passed_on() -> None:
    reader = open_native()
    data = b': keep-alive\n\nevent: new\ndata: {"type":"new"}\n\n'
    assert reader.feed(data) == data
    assert not reader.content_started


# --- counting ----------------------------------------------------------------------------------


def test_a_count_is_asked_for_with_the_prompt_alone() -> None:
    request = build_count(call_of(temperature=1, top_k=4, stream=True), CLAUDE, "s3cret")
    body = json.loads(request.body)
    assert request.path == "/v1/messages/count_tokens"
    assert dict(request.headers)[b"x-api-key"] == b"s3cret"
    assert body["model"] == "claude-x"
    assert body["messages"] == BODY["messages"]
    assert {"max_tokens", "temperature", "top_k", "stream"} & body.keys() == set()
    assert body["thinking"] == BODY["thinking"]


def test_a_count_is_read() -> None:
    assert read_count(b'{"input_tokens":2095}') == 2095


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"input_tokens":-1}', b"[]"])
def test_an_answer_without_a_count_is_an_error(body: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        read_count(body)
