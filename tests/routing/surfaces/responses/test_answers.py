"""Whole answers, held against OpenAI's own type."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.core.errors import HubError
from tests.routing.surfaces.responses.support import (
    NOW_S,
    REQUEST_ID,
    SURFACE,
    TOOL,
    USAGE,
    chat_answer,
    reply_to,
    voice_of,
)


def answered(message: Any, finish: str = "stop", **more: Any) -> dict[str, Any]:
    return reply_to(voice_of(), chat_answer(message, finish, **more))


def test_a_text_is_a_message_with_one_part() -> None:
    response = answered("hello there")
    assert response["id"] == f"resp_{REQUEST_ID.replace('-', '')}"
    assert response["created_at"] == int(NOW_S)
    assert response["status"] == "completed"
    assert response["model"] == "m-1"
    (item,) = response["output"]
    assert item["role"] == "assistant"
    assert item["status"] == "completed"
    part = {"type": "output_text", "text": "hello there", "annotations": [], "logprobs": []}
    assert item["content"] == [part]


def test_usage_is_told_in_the_words_of_the_dialect() -> None:
    assert answered("hi")["usage"] == {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 0},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 8},
        "total_tokens": 120,
    }


def test_the_cost_stands_beside_the_counts() -> None:
    noted = {**USAGE, "cost": "0.000012", "cost_status": "metered"}
    shown = answered("hi", usage=noted)["usage"]
    assert shown["cost"] == "0.000012"
    assert shown["cost_status"] == "metered"


def test_usage_that_no_provider_told_is_estimated_as_in_a_stream() -> None:
    shown = answered("eight ch", usage=None)["usage"]
    assert shown["output_tokens"] == 2
    assert shown["input_tokens"] > 0
    assert shown["total_tokens"] == shown["input_tokens"] + 2


def test_thoughts_are_content_of_an_item_of_their_own() -> None:
    thought, said = answered({"content": "4", "reasoning_content": "2 + 2"})["output"]
    assert thought["type"] == "reasoning"
    assert thought["summary"] == []
    assert thought["content"] == [{"type": "reasoning_text", "text": "2 + 2"}]
    assert said["content"][0]["text"] == "4"


def test_thoughts_are_a_summary_where_one_was_asked_for() -> None:
    voice = voice_of(reasoning={"summary": "auto"})
    thought = reply_to(voice, chat_answer({"content": "4", "reasoning": "2 + 2"}))["output"][0]
    assert thought["summary"] == [{"type": "summary_text", "text": "2 + 2"}]
    assert "content" not in thought


def test_calls_are_items_of_their_own() -> None:
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "get_temp", "arguments": "{}"}}
        for i in range(2)
    ]
    response = answered({"content": None, "tool_calls": calls}, "tool_calls")
    assert response["status"] == "completed"
    assert [(item["type"], item["call_id"]) for item in response["output"]] == [
        ("function_call", "c0"),
        ("function_call", "c1"),
    ]
    assert len({item["id"] for item in response["output"]}) == 2


def test_a_call_of_a_custom_tool_keeps_its_kind() -> None:
    call = {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    (item,) = answered({"content": None, "tool_calls": [call]}, "tool_calls")["output"]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "sql", "SELECT 1")


def test_a_refusal_is_a_part_of_its_own_kind() -> None:
    (item,) = answered({"content": None, "refusal": "I will not"})["output"]
    assert item["content"] == [{"type": "refusal", "refusal": "I will not"}]


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_was_cut_says_why(finish: str, reason: str) -> None:
    response = answered("half an ans", finish)
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": reason}
    assert response["output"][0]["status"] == "incomplete"


def test_of_a_cut_answer_only_the_call_that_was_cut_is_incomplete() -> None:
    calls = [
        {"id": "c0", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":'}},
    ]
    response = answered({"content": None, "tool_calls": calls}, "length")
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]


def test_thoughts_alone_are_a_whole_answer_only_when_they_were_cut() -> None:
    thoughts = {"content": None, "reasoning_content": "hm"}
    assert [i["type"] for i in answered(thoughts, "length")["output"]] == ["reasoning"]
    assert [i["type"] for i in answered(thoughts)["output"]] == ["reasoning", "message"]


def test_citations_are_annotations() -> None:
    cited = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
    note = {"type": "url_citation", "url_citation": cited}
    (item,) = answered({"content": "hi", "annotations": [note]})["output"]
    assert item["content"][0]["annotations"] == [{"type": "url_citation", **cited}]


def test_logprobs_have_the_bytes_of_their_tokens() -> None:
    entry = {"token": "hé", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    answer = chat_answer("hé")
    answer["choices"][0]["logprobs"] = {"content": [entry], "refusal": None}
    (item,) = reply_to(voice_of(), answer)["output"]
    assert item["content"][0]["logprobs"] == [{**entry, "bytes": list("hé".encode())}]


def test_a_picture_is_an_item() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    said, made = answered({"content": "here", "images": [image]})["output"]
    assert said["content"][0]["text"] == "here"
    assert (made["result"], made["output_format"]) == ("QUJD", "png")


def test_the_response_repeats_the_settings_of_its_request() -> None:
    settings: dict[str, Any] = {
        "instructions": "be brief",
        "max_output_tokens": 99,
        "max_tool_calls": 3,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "temperature": 0.2,
        "tool_choice": {"type": "function", "name": "get_temp"},
        "tools": [TOOL],
        "top_p": 0.9,
        "user": "u",
    }
    response = reply_to(voice_of(**settings), chat_answer("hi"))
    assert {name: response[name] for name in settings} == settings


def test_settings_may_also_be_objects_of_the_dialect() -> None:
    form = {"type": "json_schema", "name": "r", "schema": {"type": "object"}, "strict": True}
    voice = voice_of(
        text={"format": form, "verbosity": "low"},
        reasoning={"effort": "low", "summary": "concise"},
        tools=[{"type": "custom", "name": "sql"}, {"type": "function", "name": "f"}],
        truncation="auto",
        service_tier="flex",
    )
    response = reply_to(voice, chat_answer("{}", service_tier="default"))
    assert response["text"] == {"format": form, "verbosity": "low"}
    assert response["reasoning"] == {"effort": "low", "summary": "concise"}
    assert response["truncation"] == "disabled"
    assert response["service_tier"] == "default"


def test_a_tier_that_the_dialect_does_not_know_is_not_shown() -> None:
    assert answered("hi", service_tier="on_demand")["service_tier"] is None


def test_a_lone_surrogate_survives() -> None:
    raw = json.dumps(chat_answer("half an emoji: \ud83d")).encode()
    assert b"\\ud83d" in voice_of().reply(raw)


def test_an_error_wears_the_envelope_and_names_the_field_of_the_dialect() -> None:
    error = HubError(400, "context_length_exceeded", "too long", param="messages", detail={"a": 1})
    shown = json.loads(SURFACE.error_body(error, "r1"))["error"]
    assert shown == {
        "message": "too long",
        "type": "invalid_request_error",
        "param": "input",
        "code": "context_length_exceeded",
        "request_id": "r1",
        "detail": {"a": 1},
    }


@pytest.mark.parametrize(
    ("in_chat", "here"),
    [
        ("messages[3]", "input"),
        ("max_completion_tokens", "max_output_tokens"),
        ("response_format", "text.format"),
        ("model", "model"),
        (None, None),
    ],
)
def test_a_field_of_chat_is_named_as_the_client_wrote_it(
    in_chat: str | None, here: str | None
) -> None:
    shown = json.loads(SURFACE.error_body(HubError(400, "c", "m", param=in_chat), "r1"))
    assert shown["error"]["param"] == here
