"""The events of a stream: their order, their numbers, and that they add up to the response."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.errors import HubError
from tests.routing.surfaces.responses.support import (
    SSE_DONE,
    USAGE_CHUNK,
    chat_answer,
    chat_stream,
    checked_events,
    chunk,
    frame,
    joined,
    kinds,
    reply_to,
    stream_to,
    tool_delta,
    voice_of,
)

BEGINNING = ["created", "in_progress"]
LONG = chat_stream(
    chunk({"reasoning_content": "think "}),
    chunk({"reasoning_content": "hard"}),
    chunk({"content": "Héllo \u2028"}),
    b": keep-alive\n\n",
    chunk({"content": "wörld 👋"}),
    tool_delta(0, "", "c0", "get_temp"),
    tool_delta(0, '{"city":'),
    tool_delta(0, '"Oslo"}'),
    tool_delta(1, '{"city":"Rome"}', "c1", "get_temp"),
    finish="tool_calls",
)


def test_a_text_comes_in_the_order_that_clients_know() -> None:
    events = stream_to(voice_of(), chat_stream(chunk({"content": "Hel"}), chunk({"content": "lo"})))
    assert kinds(events) == [
        *BEGINNING,
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["model"] == "m-1"
    assert events[2]["item"]["content"] == []
    assert events[3]["part"]["text"] == ""
    assert events[6]["text"] == "Hello"
    assert events[-1]["response"]["output"] == [events[8]["item"]]
    assert events[-1]["response"]["usage"]["input_tokens"] == 100


def test_thoughts_come_as_they_are() -> None:
    events = stream_to(
        voice_of(), chat_stream(chunk({"reasoning_content": "hm"}), chunk({"content": "4"}))
    )
    assert kinds(events)[2:8] == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
    ]
    assert events[8]["output_index"] == 1


def test_thoughts_come_as_a_summary_where_one_was_asked_for() -> None:
    voice = voice_of(reasoning={"summary": "auto"})
    events = stream_to(
        voice, chat_stream(chunk({"reasoning_content": "hm"}), chunk({"content": "4"}))
    )
    assert kinds(events)[2:8] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    assert events[7]["item"]["summary"] == [{"type": "summary_text", "text": "hm"}]


def test_arguments_come_in_pieces_and_whole() -> None:
    stream = chat_stream(
        tool_delta(0, "", "c0", "get_temp"), tool_delta(0, '{"a":'), tool_delta(0, "1}")
    )
    events = stream_to(voice_of(), stream)
    assert kinds(events)[2:-1] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert events[2]["item"]["arguments"] == ""
    assert events[5]["arguments"] == '{"a":1}'
    assert events[6]["item"]["status"] == "completed"


def test_a_call_ends_when_the_next_begins() -> None:
    stream = chat_stream(
        tool_delta(0, "{}", "c0", "get_temp"), tool_delta(1, "{}", "c1", "get_temp")
    )
    events = stream_to(voice_of(), stream)
    done = [e["output_index"] for e in events if e["type"] == "response.output_item.done"]
    added = [e["output_index"] for e in events if e["type"] == "response.output_item.added"]
    assert done == added == [0, 1]
    assert kinds(events)[2:10].index("output_item.done") == 3


def test_calls_whose_pieces_come_in_turns_are_not_mixed_up() -> None:
    stream = chat_stream(
        tool_delta(0, '{"a":', "c0", "f"),
        tool_delta(1, '{"b":', "c1", "f"),
        tool_delta(0, "1}"),
        tool_delta(1, "2}"),
    )
    output = stream_to(voice_of(), stream)[-1]["response"]["output"]
    assert [item["arguments"] for item in output] == ['{"a":1}', '{"b":2}']


@pytest.mark.parametrize("begun", ["4", "tru", '"a', "[1]", '{"a":{}'])
def test_a_call_goes_on_until_its_arguments_are_a_whole_object(begun: str) -> None:
    stream = chat_stream(
        tool_delta(0, begun, "c0", "f"), tool_delta(1, "{}", "c1", "f"), tool_delta(0, " more")
    )
    output = stream_to(voice_of(), stream)[-1]["response"]["output"]
    assert [item["arguments"] for item in output] == [f"{begun} more", "{}"]


def test_nothing_is_added_to_a_call_that_has_ended() -> None:
    stream = chat_stream(
        tool_delta(0, "{}", "c0", "f"), tool_delta(1, "{}", "c1", "f"), tool_delta(0, " \n")
    )
    events = stream_to(voice_of(), stream)
    item = events[-1]["response"]["output"][0]
    assert item["arguments"] == joined(events, "function_call_arguments", item["id"]) == "{}"


def test_custom_tools_have_events_of_their_own() -> None:
    first = {"index": 0, "id": "c0", "type": "custom", "custom": {"name": "sql", "input": "SEL"}}
    second = {"index": 0, "custom": {"input": "ECT 1"}}
    events = stream_to(
        voice_of(), chat_stream(chunk({"tool_calls": [first]}), chunk({"tool_calls": [second]}))
    )
    assert kinds(events)[2:-1] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    assert events[-1]["response"]["output"][0]["input"] == "SELECT 1"


def test_a_refusal_has_events_of_its_own() -> None:
    events = stream_to(
        voice_of(), chat_stream(chunk({"refusal": "I "}), chunk({"refusal": "won't"}))
    )
    assert kinds(events)[3:8] == [
        "content_part.added",
        "refusal.delta",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
    ]
    assert events[6]["refusal"] == "I won't"


def test_text_then_refusal_are_two_parts() -> None:
    events = stream_to(voice_of(), chat_stream(chunk({"content": "a"}), chunk({"refusal": "b"})))
    (item,) = events[-1]["response"]["output"]
    assert [part["type"] for part in item["content"]] == ["output_text", "refusal"]


def test_citations_are_told_when_they_come() -> None:
    cited = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
    note = {"type": "url_citation", "url_citation": cited}
    events = stream_to(
        voice_of(), chat_stream(chunk({"content": "hi"}), chunk({"annotations": [note]}))
    )
    told = next(e for e in events if e["type"].endswith("annotation.added"))
    assert told["annotation"] == {"type": "url_citation", **cited}
    assert events[-1]["response"]["output"][0]["content"][0]["annotations"] == [told["annotation"]]


def test_logprobs_come_with_their_text() -> None:
    entry = {"token": "hi", "logprob": -0.1, "bytes": [104, 105], "top_logprobs": []}
    piece = chunk({"content": "hi"}, logprobs={"content": [entry], "refusal": None})
    events = stream_to(voice_of(), chat_stream(piece))
    shown = {"token": "hi", "logprob": -0.1, "top_logprobs": []}
    assert events[4]["logprobs"] == events[5]["logprobs"] == [shown]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == [entry]


def test_a_picture_comes_whole() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/webp;base64,QUJD"}}
    events = stream_to(voice_of(), chat_stream(chunk({"images": [image]})))
    assert kinds(events)[2:-1] == ["output_item.added", "output_item.done"]
    assert events[-1]["response"]["output"][0]["output_format"] == "webp"


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_a_cut_answer_ends_incomplete(finish: str, reason: str) -> None:
    events = stream_to(voice_of(), chat_stream(chunk({"content": "half"}), finish=finish))
    assert kinds(events)[-2:] == ["output_item.done", "incomplete"]
    response = events[-1]["response"]
    assert response["incomplete_details"] == {"reason": reason}
    assert response["output"][0]["status"] == "incomplete"


def test_an_answer_of_nothing_is_an_empty_message() -> None:
    response = stream_to(voice_of(), chat_stream())[-1]["response"]
    assert response["output"][0]["content"][0]["text"] == ""


def test_other_choices_are_not_mixed_in() -> None:
    other = frame({"choices": [{"index": 1, "delta": {"content": "B"}, "finish_reason": None}]})
    response = stream_to(voice_of(), chat_stream(chunk({"content": "A"}), other))[-1]["response"]
    assert response["output"][0]["content"][0]["text"] == "A"


def test_a_chunk_that_grew_in_translation_passes_whole() -> None:
    told = stream_to(voice_of(), chat_stream(chunk({"content": "x" * 2**21})))
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == "x" * 2**21


def test_closing_twice_says_nothing_twice() -> None:
    stream = voice_of().open_stream()
    stream.feed(LONG)
    assert stream.close()
    assert stream.close() == b""
    assert stream.broken(HubError(502, "late", "late")) == b""


@pytest.mark.parametrize(("status", "code"), [(502, "server_error"), (429, "rate_limit_exceeded")])
def test_a_broken_stream_tells_the_hubs_code_and_fails_with_what_came(
    status: int, code: str
) -> None:
    stream = voice_of().open_stream()
    told = stream.feed(chunk({"role": "assistant"}) + chunk({"content": "half"}))
    told += stream.broken(HubError(status, "provider_broke_off", "it broke off"))
    events = checked_events(told)
    assert kinds(events)[-2:] == ["error", "failed"]
    assert events[-2]["code"] == "provider_broke_off"
    assert "error" not in events[-2]  # clients take that for the older form and raise
    response = events[-1]["response"]
    assert response["error"] == {"code": code, "message": "it broke off"}
    assert response["output"][0]["content"][0]["text"] == "half"
    assert response["output"][0]["status"] == "incomplete"
    assert response["store"] is False
    assert stream.close() == b""


def test_a_stream_that_broke_before_anything_still_has_a_beginning() -> None:
    events = checked_events(voice_of().open_stream().broken(HubError(502, "gone", "gone")))
    assert kinds(events) == [*BEGINNING, "error", "failed"]


def test_a_keep_alive_is_passed_on() -> None:
    stream = voice_of().open_stream()
    stream.feed(chunk({"content": "a"}))
    assert stream.feed(b": keep-alive\n\n") == b": keep-alive\n\n"


# --- properties ------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, len(LONG)), max_size=12))
def test_the_events_do_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(LONG)]
    slices = [LONG[a:b] for a, b in itertools.pairwise(edges)]
    assert stream_to(voice_of(), *slices) == stream_to(voice_of(), LONG)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
deltas = st.one_of(
    texts.map(lambda text: {"content": text}),
    texts.map(lambda text: {"reasoning_content": text}),
    texts.map(lambda text: {"refusal": text}),
    # no closing brace: a whole object is the end of a call
    st.tuples(st.integers(0, 2), texts.filter(lambda text: "}" not in text)).map(
        lambda call: {
            "tool_calls": [
                {"index": call[0], "id": f"c{call[0]}", "function": {"arguments": call[1]}}
            ]
        }
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(deltas, max_size=10), st.sampled_from(["stop", "length", "tool_calls"]))
def test_the_deltas_add_up_to_the_items(pieces: list[dict[str, Any]], finish: str) -> None:
    events = stream_to(voice_of(), chat_stream(*map(chunk, pieces), finish=finish))
    response = events[-1]["response"]
    done = {e["item"]["id"]: e["item"] for e in events if e["type"].endswith("output_item.done")}
    assert {item["id"]: item for item in response["output"]} == done
    for item in response["output"]:
        assert _told(events, item) == _held(item)
    assert _everything(response["output"]) == _everything_sent(pieces)


def _told(events: list[dict[str, Any]], item: dict[str, Any]) -> list[str]:
    words = {"message": ("output_text", "refusal"), "function_call": ("function_call_arguments",)}
    return [
        joined(events, kind, item["id"]) for kind in words.get(item["type"], ("reasoning_text",))
    ]


def _held(item: dict[str, Any]) -> list[str]:
    if item["type"] == "function_call":
        return [item["arguments"]]
    parts = item.get("content", [])
    if item["type"] == "reasoning":
        return ["".join(part["text"] for part in parts)]
    return [
        "".join(part.get("text", "") for part in parts),
        "".join(part.get("refusal", "") for part in parts),
    ]


def _everything(output: list[dict[str, Any]]) -> int:
    return sum(len(text) for item in output for text in _held(item))


def _everything_sent(pieces: list[dict[str, Any]]) -> int:
    calls = [call for piece in pieces for call in piece.get("tool_calls", [])]
    words = [v for piece in pieces for v in piece.values() if isinstance(v, str)]
    return sum(map(len, [*words, *(call["function"]["arguments"] for call in calls)]))


def test_a_stream_and_a_whole_answer_give_the_same_output() -> None:
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "get_temp", "arguments": given}}
        for i, given in enumerate(['{"city":"Oslo"}', '{"city":"Rome"}'])
    ]
    message = {
        "content": "Héllo \u2028wörld 👋",
        "reasoning_content": "think hard",
        "tool_calls": calls,
    }
    whole = reply_to(voice_of(), chat_answer(message, "tool_calls"))
    streamed = stream_to(voice_of(), LONG)[-1]["response"]
    assert streamed["output"] == whole["output"]
    assert streamed["usage"] == whole["usage"]
    assert json.loads(USAGE_CHUNK.removeprefix(b"data: "))["usage"]
    assert LONG.endswith(SSE_DONE)
