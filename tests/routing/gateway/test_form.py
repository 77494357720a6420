"""What is held against an answer's form, in every dialect, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.gateway.form import Asked, asked_of, verdict

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}}
GOOD = '{"city": "Oslo"}'


def asked(**fields: Any) -> Asked:
    found = asked_of({"messages": [{"role": "user", "content": "x"}], **fields})
    assert found is not None
    return found


CALLING = asked(tools=[TOOL])
WRITING = asked(response_format=FORMAT)


def chat(message: dict[str, Any], finish: str = "tool_calls") -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}]}).encode()


def calling(arguments: Any, name: str = "weather") -> dict[str, Any]:
    call = {"id": "a", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def of_whole(wanted: Asked, body: bytes) -> bool | None:
    return verdict(wanted, [body], is_stream=False)


def of_stream(wanted: Asked, *events: dict[str, Any]) -> bool | None:
    pieces = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
    return verdict(wanted, [*pieces, b"data: [DONE]\n\n"], is_stream=True)


def delta(said: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def part(index: int | None, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": "weather"} if "id" in more else {})}
    place = {} if index is None else {"index": index}
    return delta({"tool_calls": [{**place, **more, "function": function}]})


@pytest.mark.parametrize(
    ("arguments", "is_sound"),
    [
        (GOOD, True),
        ('{"city": "Oslo", "days": 2, "more": null}', True),
        ('{"city": "Oslo", "days": null}', True),  # it may be left out
        ('{"city": "Oslo"', False),
        ('{"town": "Oslo"}', False),
        ('{"city": 7}', False),
        ('{"city": "Oslo", "days": "two"}', False),
        ("[]", False),
        ("", False),
        ({"city": "Oslo"}, False),  # an object where a text is to be
    ],
)
def test_the_arguments_of_a_call_are_json_that_its_tool_takes(
    arguments: Any, is_sound: bool
) -> None:
    assert of_whole(CALLING, chat(calling(arguments))) is is_sound


def test_a_call_of_a_tool_that_nobody_offered_is_unsound() -> None:
    assert of_whole(CALLING, chat(calling(GOOD, "climate"))) is False


def test_a_call_may_be_of_a_tool_that_the_provider_brings_itself() -> None:
    wanted = asked(tools=[TOOL, {"type": "web_search"}])
    assert of_whole(wanted, chat(calling('{"q": 1}', "search"))) is True
    assert of_whole(wanted, chat(calling('{"q": ', "search"))) is False


def test_an_answer_without_a_call_says_nothing_unless_a_call_had_to_be() -> None:
    said = chat({"role": "assistant", "content": "It rains."}, "stop")
    assert of_whole(CALLING, said) is None
    assert of_whole(asked(tools=[TOOL], tool_choice="required"), said) is False
    named = {"type": "function", "function": {"name": "weather"}}
    assert of_whole(asked(tools=[TOOL], tool_choice=named), said) is False


@pytest.mark.parametrize(
    ("text", "is_sound"),
    [
        ('{"name": "A", "age": 3}', True),
        (' {"name": "A", "age": 3.0}\n', True),
        ('{"name": "A"}', False),
        ('{"name": "A", "age": "3"}', False),
        ('{"name": "A", "age": 3, "more": 1}', False),
        ('```json\n{"name": "A", "age": 3}\n```', False),
        ("", False),
    ],
)
def test_a_structured_answer_is_json_of_its_schema(text: str, is_sound: bool) -> None:
    said = {"role": "assistant", "content": text}
    assert of_whole(WRITING, chat(said, "stop")) is is_sound
    assert of_stream(WRITING, delta({"content": text[:9]}), delta({"content": text[9:]}),
                     delta({}, "stop")) is is_sound  # fmt: skip


def test_json_mode_asks_for_an_object_and_no_more() -> None:
    wanted = asked(response_format={"type": "json_object"})
    assert of_whole(wanted, chat({"content": '{"any": [1]}'}, "stop")) is True
    assert of_whole(wanted, chat({"content": "Sure! {}"}, "stop")) is False


@pytest.mark.parametrize(
    "answer",
    [
        chat(calling('{"ci'), "length"),
        chat(calling('{"ci'), "content_filter"),
        chat({"content": None, "refusal": "No."}, "stop"),
        chat({"tool_calls": [{"type": "custom", "custom": {"name": "x", "input": "{"}}]}),
        b'{"choices": 7}',
        b"[1]",
        b"not JSON",
    ],
)
def test_what_was_cut_refused_or_is_of_another_kind_says_nothing(answer: bytes) -> None:
    assert of_whole(asked(tools=[TOOL], response_format=FORMAT), answer) is None


def test_one_unsound_choice_spoils_an_answer_of_several() -> None:
    choices = [
        {"index": 0, "message": calling(GOOD), "finish_reason": "tool_calls"},
        {"index": 1, "message": calling("{"), "finish_reason": "tool_calls"},
    ]
    assert of_whole(CALLING, json.dumps({"choices": choices}).encode()) is False
    assert of_whole(CALLING, json.dumps({"choices": choices[:1]}).encode()) is True


def test_calls_that_come_in_pieces_are_put_together() -> None:
    begin = part(0, "", id="a", type="function"), part(0, '{"city": ')
    second = part(1, '{"city": "Bergen"}', id="b", type="function")
    end = delta({}, "tool_calls")
    assert of_stream(CALLING, *begin, part(0, '"Oslo"}'), second, end) is True
    assert of_stream(CALLING, *begin, second, end) is False


def test_pieces_without_an_index_belong_to_the_call_that_began_last() -> None:
    pieces = [
        part(None, '{"city":', id="a"), part(None, '"Oslo"}'),
        part(None, '{"city":', id="b"), part(None, '"Bergen"}'),
    ]  # fmt: skip
    assert of_stream(CALLING, *pieces, delta({}, "tool_calls")) is True


def message(*blocks: dict[str, Any], reason: str = "tool_use") -> bytes:
    return json.dumps({"type": "message", "content": blocks, "stop_reason": reason}).encode()


def test_messages_of_the_messages_dialect_are_looked_at_too() -> None:
    use = {"type": "tool_use", "id": "a", "name": "weather"}
    assert of_whole(CALLING, message({**use, "input": {"city": "Oslo"}})) is True
    assert of_whole(CALLING, message({**use, "input": {}})) is False
    assert of_whole(CALLING, message({**use, "input": {}}, reason="max_tokens")) is None


@pytest.mark.parametrize(("pieces", "is_sound"), [(['{"city": ', '"Oslo"}'], True), (["{"], False)])
def test_events_of_the_messages_dialect_are_put_together(pieces: list[str], is_sound: bool) -> None:
    block = {"type": "tool_use", "id": "a", "name": "weather", "input": {}}
    begin = {"type": "content_block_start", "index": 1, "content_block": block}
    deltas = [
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": piece},
        }
        for piece in pieces
    ]
    end = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}
    assert of_stream(CALLING, begin, *deltas, end) is is_sound


@pytest.mark.parametrize(("arguments", "is_sound"), [(GOOD, True), ('{"city"', False)])
def test_responses_of_the_responses_dialect_are_looked_at_too(
    arguments: str, is_sound: bool
) -> None:
    item = {"type": "function_call", "name": "weather", "arguments": arguments}
    response = {"object": "response", "status": "completed", "output": [item]}
    assert of_whole(CALLING, json.dumps(response).encode()) is is_sound
    completed = {"type": "response.completed", "response": response}
    assert of_stream(CALLING, {"type": "response.created", "response": {}}, completed) is is_sound


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [TOOL], "tool_choice": "none"},
        {"tools": [TOOL], "stop": ["\n"]},  # the client's own stop word may cut it anywhere
        {"response_format": {"type": "text"}},
        {"response_format": FORMAT, "messages": [{"role": "assistant", "content": "{"}]},
    ],
)
def test_where_no_form_can_be_held_against_an_answer_none_is_asked(body: dict[str, Any]) -> None:
    assert asked_of(body) is None


def test_what_the_adapter_left_out_is_not_held_against_the_provider() -> None:
    body = {"tools": [TOOL], "tool_choice": "required", "response_format": FORMAT}
    assert asked_of(body, ("tools",)) is None
    kept = asked_of(body, ("tool_choice", "response_format"))
    assert kept is not None
    assert not kept.must_call
    assert not kept.is_json
