from __future__ import annotations

import json
from typing import Any

import pytest

from tests.routing.adapters.chunks import DONE, HI, ROLE, STOP, chunk, event, stream_of
from tests.routing.adapters.support import (
    chunks_in,
    endpoint_of,
    message_in,
    open_stream,
    read_all,
    recorded,
)


@pytest.mark.parametrize(
    ("word", "quirks", "expected"),
    [
        ("eos", {}, "stop"),
        ("end_turn", {}, "stop"),
        ("model_length", {}, "length"),
        ("sensitive", {}, "content_filter"),
        ("odd", {"finish_map": {"odd": "length"}}, "length"),
        ("something_new", {}, "something_new"),
    ],
)
def test_finish_words_become_openais(word: str, quirks: dict[str, Any], expected: str) -> None:
    reader = stream_of(**quirks)
    out = read_all(reader, ROLE + HI + chunk({}, word) + DONE)
    assert reader.finish_reason == expected
    assert message_in(out)["finish"] == expected


def test_an_empty_finish_word_is_none() -> None:
    reader = stream_of()
    reader.feed(chunk({"content": "x"}, ""))
    assert reader.finish_reason == ""
    assert not reader.done


@pytest.mark.parametrize("slug", ["openai", "groq", "mistral"])
def test_tool_calls_reach_the_client_with_index_id_and_finish(slug: str) -> None:
    reader = open_stream(endpoint_of(slug))
    out = read_all(reader, recorded(f"{slug}/stream_tools.sse"))
    message = message_in(out)
    assert message["finish"] == "tool_calls"
    names = [(call["name"], json.loads(call["args"])) for call in message["tool_calls"]]
    expected = [("get_temp", {"city": "Oslo"}), ("now", {})]
    assert names == expected[: len(names)]
    assert len(names) == (1 if slug == "groq" else 2)
    assert len({call["id"] for call in message["tool_calls"]}) == len(names)


def call_delta(**call: Any) -> bytes:
    return chunk({"tool_calls": [call]})


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        # no index, pieces of one call
        (
            [
                call_delta(id="a", function={"name": "f", "arguments": '{"x"'}),
                call_delta(function={"arguments": ":1}"}),
            ],
            [("a", "f", '{"x":1}')],
        ),
        # no index, a second call known by its id
        (
            [
                call_delta(id="a", function={"name": "f", "arguments": "{}"}),
                call_delta(id="b", function={"name": "g", "arguments": "{}"}),
            ],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        # the same index for two calls
        (
            [
                call_delta(index=0, id="a", function={"name": "f", "arguments": "{}"}),
                call_delta(index=0, id="b", function={"name": "g", "arguments": "{}"}),
            ],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        # id, type and name repeated with every piece
        (
            [
                call_delta(
                    index=0, id="a", type="function", function={"name": "f", "arguments": "{"}
                ),
                call_delta(
                    index=0, id="a", type="function", function={"name": "f", "arguments": "}"}
                ),
            ],
            [("a", "f", "{}")],
        ),
        # a fresh id with every piece
        (
            [
                call_delta(index=0, id="a", function={"name": "f", "arguments": "{"}),
                call_delta(index=0, id="b", function={"arguments": "}"}),
            ],
            [("a", "f", "{}")],
        ),
        # a name in pieces
        (
            [
                call_delta(index=0, id="a", function={"name": "get_", "arguments": ""}),
                call_delta(index=0, function={"name": "temp", "arguments": "{}"}),
            ],
            [("a", "get_temp", "{}")],
        ),
        # an index that is a float
        (
            [
                call_delta(index=0.0, id="a", function={"name": "f", "arguments": ""}),
                call_delta(index=0.0, function={"arguments": "{}"}),
            ],
            [("a", "f", "{}")],
        ),
    ],
)
def test_fragments_of_calls_are_numbered_where_the_provider_does_not(
    frames: list[bytes], expected: list[tuple[str, str, str]]
) -> None:
    out = read_all(stream_of(), ROLE + b"".join(frames) + chunk({}, "stop") + DONE)
    message = message_in(out)
    calls = [(call["id"], call["name"], call["args"]) for call in message["tool_calls"]]
    assert calls == expected
    assert message["finish"] == "tool_calls"
    assert all(
        type(call["index"]) is int
        for one in chunks_in(out)
        for choice in one["choices"]
        for call in choice["delta"].get("tool_calls", [])
    )


def test_a_call_without_an_id_gets_a_stable_one() -> None:
    frame = call_delta(index=0, function={"name": "f", "arguments": "{}"})
    ids = {
        message_in(read_all(stream_of(), ROLE + frame + STOP + DONE))["tool_calls"][0]["id"]
        for _ in range(2)
    }
    assert len(ids) == 1
    assert ids.pop().startswith("call_")


def test_more_arguments_of_a_known_call_are_passed_on_untouched() -> None:
    reader = stream_of()
    reader.feed(
        call_delta(index=0, id="a", type="function", function={"name": "f", "arguments": ""})
    )
    frame = call_delta(index=0, function={"arguments": '{"a"'})
    assert reader.feed(frame) is frame
    assert reader.output_chars == 1 + 4


def test_reasoning_has_one_name_for_the_client() -> None:
    out = read_all(open_stream(endpoint_of("groq")), recorded("groq/stream.sse"))
    assert message_in(out)["reasoning_content"] == "It is cold."
    assert b'"reasoning"' not in out
    out = read_all(open_stream(endpoint_of("mistral")), recorded("mistral/stream.sse"))
    assert message_in(out)["reasoning_content"] == "Cold, surely."


def test_reasoning_under_both_names_is_not_doubled() -> None:
    reader = stream_of(reasoning_field_out="reasoning")
    frame = chunk({"reasoning": "hm", "reasoning_content": "hm"})
    out = read_all(reader, ROLE + frame + frame + HI + STOP + DONE)
    assert message_in(out)["reasoning_content"] == "hmhm"
    assert b'"reasoning"' not in out


def test_frames_without_choices_say_nothing_to_the_client() -> None:
    filtered = event({"choices": [], "id": "", "prompt_filter_results": [{}]})
    reader = stream_of()
    assert reader.feed(filtered + event({"type": "heartbeat"})) == b""
    assert reader.feed(HI) == HI
    assert chunks_in(read_all(stream_of(True), filtered + HI + STOP + DONE))[-1]["id"] == "s1"


def test_comments_keep_the_client_awake_once_the_content_has_begun() -> None:
    reader = stream_of()
    assert reader.feed(b": OPENROUTER PROCESSING\n\n") == b""
    reader.feed(ROLE + HI)
    assert reader.feed(b": anything\n\n") == b": keep-alive\n\n"


@pytest.mark.parametrize("text", ["\n\ndata: [DONE]\n\n", "\r", "\0", "\u2028", '"}]}'])
def test_a_text_cannot_forge_a_frame(text: str) -> None:
    out = read_all(stream_of(), ROLE + chunk({"content": text}) + STOP + DONE)
    assert message_in(out)["content"] == text


def test_half_an_emoji_passes_and_counts() -> None:
    half = chunk({"content": "\ud83d"})
    reader = stream_of()
    out = read_all(reader, ROLE + half + HI + half + chunk({"content": "\ude42"}, "eos") + DONE)
    assert reader.error is None
    assert message_in(out)["content"] == "\ud83dhi\ud83d\ude42"
    assert reader.output_chars == 5


@pytest.mark.parametrize("separator", [b"\r\n", b"\r"])
def test_other_line_ends_come_out_as_ours(separator: bytes) -> None:
    data = (ROLE + HI + HI + STOP + DONE).replace(b"\n", separator)
    assert read_all(stream_of(), data) == ROLE + HI + HI + STOP + DONE
