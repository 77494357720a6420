from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from routing.adapters.base import Reply, UsageNote
from routing.adapters.notes import with_usage_note
from routing.core.errors import BrokenAnswer, FailureClass, Refused
from routing.core.usage import NO_USAGE, Usage
from tests.routing.adapters.support import (
    ADAPTERS,
    call_of,
    endpoint_of,
    plain_endpoint,
    recorded,
)


def read(slug: str, body: bytes, **quirks: Any) -> Reply:
    return ADAPTERS["openai_compat"].read_reply(call_of(), endpoint_of(slug, **quirks), [], body)


def answer(message: dict[str, Any], finish: Any = "stop", **more: Any) -> bytes:
    choices = [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}]
    return json.dumps({"id": "a1", "model": "m", "choices": choices, **more}).encode()


def test_an_answer_in_order_is_passed_on_as_the_bytes_it_came_in() -> None:
    body = recorded("openai/reply.json")
    reply = read("openai", body)
    assert reply.raw is body
    assert reply.finish_reason == "stop"
    assert reply.response_model == "gpt-x-2026-01-01"
    assert reply.usage == Usage(
        input_total=100, cache_read=64, cache_write_5m=0, output_total=20, reasoning=8
    )
    assert json.loads(reply.usage_raw)["total_tokens"] == 120
    assert reply.output_chars == len(reply.body["choices"][0]["message"]["content"])


def test_leading_blank_lines_do_no_harm() -> None:
    reply = read("deepseek", recorded("deepseek/reply.json"))
    assert reply.body["choices"][0]["message"]["content"] == "4 C"
    assert reply.usage.cache_read == 40


def test_reasoning_has_one_name_for_the_client() -> None:
    message = read("groq", recorded("groq/reply.json")).body["choices"][0]["message"]
    assert message["reasoning_content"] == "It is cold."
    assert "reasoning" not in message
    reply = read("mistral", recorded("mistral/reply.json"))
    assert reply.body["choices"][0]["message"]["content"] == "4 C"
    assert reply.body["choices"][0]["message"]["reasoning_content"] == "Cold, surely."
    assert json.loads(reply.raw) == reply.body
    assert reply.output_chars == len("4 CCold, surely.")


def test_a_providers_own_cost_is_read() -> None:
    usage = read("openrouter", recorded("openrouter/reply.json")).usage
    assert usage.provider_cost_usd == Decimal("0.000123")
    usage = read("xai", recorded("xai/reply.json")).usage
    assert usage.provider_cost_usd == Decimal("0.0000575")
    assert usage.output_total == 106


@pytest.mark.parametrize(
    ("message", "finish", "quirks", "expected"),
    [
        ({"content": "x"}, "stop", {}, "stop"),
        ({"content": "x"}, "eos", {}, "stop"),
        ({"content": "x"}, "", {}, "stop"),
        ({"content": "x"}, None, {}, "stop"),
        ({"content": "x"}, "model_length", {}, "length"),
        ({"content": "x"}, "guardrails", {}, "content_filter"),
        ({"content": "x"}, "odd", {"finish_map": {"odd": "length"}}, "length"),
        ({"content": "x"}, "something_new", {}, "something_new"),
        (
            {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
            "stop",
            {},
            "tool_calls",
        ),
        (
            {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
            "function_calls",
            {},
            "tool_calls",
        ),
        ({"content": "x", "tool_calls": []}, "stop", {}, "stop"),
    ],
)
def test_finish_words_become_openais(
    message: dict[str, Any], finish: Any, quirks: dict[str, Any], expected: str
) -> None:
    reply = read("acme", answer(message, finish), **quirks)
    assert reply.finish_reason == expected
    assert json.loads(reply.raw)["choices"][0]["finish_reason"] == expected


def test_tool_calls_get_what_a_client_needs() -> None:
    body = answer({"tool_calls": [{"id": "", "function": {"name": "f", "arguments": {"a": 1}}}]})
    [call] = read("acme", body).body["choices"][0]["message"]["tool_calls"]
    assert call["function"]["arguments"] == '{"a":1}'
    assert call["id"].startswith("call_")
    assert read("acme", body).body["choices"][0]["message"]["tool_calls"][0]["id"] == call["id"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_answer"),
        (b"  \n", "empty_answer"),
        (b"<html>busy</html>", "html_answer"),
        (b"busy", "not_an_answer"),
        (b"{}", "not_an_answer"),
        (b"[]", "not_an_answer"),
        (b"7", "not_an_answer"),
        (b'{"choices":[]}', "not_an_answer"),
        (b'{"choices":null}', "not_an_answer"),
        (b'{"choices":[{"message":{"content":"x"', "not_an_answer"),
    ],
)
def test_a_success_that_is_no_answer_is_a_broken_one(body: bytes, code: str) -> None:
    with pytest.raises(BrokenAnswer) as caught:
        read("openai", body)
    assert caught.value.code == code
    assert caught.value.failure is FailureClass.TRANSIENT


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (b'{"error":{"code":429,"message":"full"}}', FailureClass.CAPACITY),
        (b'{"error":{"message":"who?","code":"invalid_api_key"}}', FailureClass.CREDENTIAL),
        (b'{"error":"busy"}', FailureClass.TRANSIENT),
        (b'{"detail":"busy"}', FailureClass.TRANSIENT),
        (answer({"content": "x"}, "error"), FailureClass.TRANSIENT),
        (answer({"content": "x"}, "insufficient_system_resource"), FailureClass.TRANSIENT),
    ],
)
def test_an_error_behind_a_success_is_classified_like_any_other(
    body: bytes, failure: FailureClass
) -> None:
    with pytest.raises(Refused) as caught:
        read("openai", body)
    assert caught.value.failure is failure


def test_an_answer_without_usage_has_none_instead_of_zero() -> None:
    reply = read("acme", answer({"content": "four"}))
    assert reply.usage == NO_USAGE
    assert reply.usage_raw == b""
    assert reply.output_chars == 4


def test_the_hubs_cost_is_written_into_usage() -> None:
    reply = read("openai", recorded("openai/reply.json"))
    shown = with_usage_note(reply, UsageNote("0.000042", "metered"))
    usage = json.loads(shown.raw)["usage"]
    assert (usage["cost"], usage["cost_status"]) == ("0.000042", "metered")
    assert usage["total_tokens"] == 120
    assert "cost" not in reply.body["usage"]


def test_an_answer_without_usage_still_tells_its_cost() -> None:
    reply = read("acme", answer({"content": "four"}))
    usage = with_usage_note(reply, UsageNote("0.01", "estimated")).body["usage"]
    assert usage["cost_status"] == "estimated"
    assert usage["total_tokens"] == 0


def test_half_an_emoji_in_an_answer_does_not_stop_the_cost() -> None:
    reply = read("acme", answer({"content": "\ud83d"}))
    shown = with_usage_note(reply, UsageNote("0.01", "metered"))
    assert json.loads(shown.raw)["choices"][0]["message"]["content"] == "\ud83d"


def test_an_unknown_dialect_names_the_known_ones() -> None:
    from routing.adapters.registry import DIALECTS, adapter_for

    for dialect in DIALECTS:
        assert adapter_for(dialect).dialect == dialect
    with pytest.raises(KeyError, match="anthropic, gemini, openai_compat"):
        adapter_for("morse")


def test_a_simple_error_status_needs_no_body() -> None:
    error = ADAPTERS["openai_compat"].read_error(plain_endpoint(), 500, [], b"")
    assert error.message == "The provider answered with status 500 and no message."
