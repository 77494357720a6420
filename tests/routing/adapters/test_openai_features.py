"""What only some providers can do survives on its way through, or the client is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.adapters.chunks import nine_char_id
from routing.adapters.openai_compat.adapter import OpenAICompat
from routing.catalog.files import SHIPPED
from tests.routing.adapters.chunks import DONE, HEAD, HI, ROLE, STOP, USAGE, chunk, event, stream_of
from tests.routing.adapters.support import (
    call_of,
    chunks_in,
    dropped_by,
    endpoint_of,
    plain_endpoint,
    read_all,
    sent_body,
)

CACHED = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral", "ttl": "1h"}}

# --- requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt_cache_key": "k", "prompt_cache_retention": "24h"},
        {"prompt_cache_options": {"mode": "explicit", "ttl": 3600}},
        {"service_tier": "flex"},
        {"seed": 7, "logprobs": True, "top_logprobs": 3},
        {"reasoning": {"effort": "low", "exclude": True}, "thinking": {"type": "enabled"}},
        {"chat_template_kwargs": {"enable_thinking": False}, "guided_json": {}},
        {"lora_adapter": "acme/style", "something_new": [1, {"x": None}]},
        {"model": "ft:gpt-4o-mini:acme::abc123"},
        {"messages": [{"role": "user", "content": [CACHED]}]},
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}],
                    "tool_calls": [
                        {
                            "id": "c",
                            "type": "function",
                            "function": {"name": "f", "arguments": "{}"},
                            "extra_content": {"google": {"thought_signature": "sig"}},
                        }
                    ],
                }
            ]
        },
    ],
)
def test_features_reach_a_provider_that_refuses_nothing(asked: dict[str, Any]) -> None:
    sent = sent_body(plain_endpoint(), **asked)
    assert {name: sent[name] for name in asked} == {**asked, **_as_there(asked)}
    assert dropped_by(plain_endpoint(), **asked) == ()


def _as_there(asked: dict[str, Any]) -> dict[str, Any]:
    return {"model": "up/model"} if "model" in asked else {}


def test_a_fine_tuned_models_id_is_sent_as_the_catalog_has_it() -> None:
    tuned = endpoint_of("openai", "ft:gpt-4o-mini:acme::a/b#lora")
    assert sent_body(tuned)["model"] == "ft:gpt-4o-mini:acme::a/b#lora"


@pytest.mark.parametrize(
    ("quirks", "message", "lost"),
    [
        ({"strict_unknown": True}, {"content": [CACHED]}, ("messages.content.cache_control",)),
        ({"strict_unknown": True}, {"content": "x", "prefix": True}, ("messages.prefix",)),
        (
            {"content_parts": "string_only"},
            {"content": [CACHED, CACHED]},
            ("messages.content.cache_control",),
        ),
        (
            {"strict_unknown": True},
            {"content": "x", "tool_calls": [{"id": "c", "extra_content": {"x": 1}}]},
            ("messages.tool_calls.extra_content",),
        ),
        # reasoning that a provider does not take back is no loss, nor is what was not there
        ({"strict_unknown": True}, {"content": "x", "reasoning_content": "r"}, ()),
        ({"reasoning_field_in": "none"}, {"content": "x", "reasoning": "r"}, ()),
        ({"strict_unknown": True}, {"content": "x", "prefix": None}, ()),
        ({"content_parts": "string_only"}, {"content": [{"type": "text", "text": "a"}]}, ()),
        ({"tool_call_ids": "nine"}, {"content": "x", "tool_calls": [{"id": "call_1"}]}, ()),
    ],
)
def test_what_of_a_message_a_provider_does_not_take_is_told(
    quirks: dict[str, Any], message: dict[str, Any], lost: tuple[str, ...]
) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", **message}]
    assert dropped_by(plain_endpoint(**quirks), messages=messages, seed=1) == lost


# --- ids of tool calls ---------------------------------------------------------------------------


def tool_loop(id: str) -> list[dict[str, Any]]:
    call = {"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": id, "content": "4"},
    ]


def ids_sent(id: str, **quirks: Any) -> tuple[str, str]:
    sent = sent_body(plain_endpoint(**quirks), messages=tool_loop(id))["messages"]
    return sent[1]["tool_calls"][0]["id"], sent[2]["tool_call_id"]


@pytest.mark.parametrize("id", ["call_1", "toolu_01AbCdEfGhIjKlMnOp", "functions.f:0", "", "é" * 9])
def test_a_tool_loop_begun_elsewhere_goes_on_where_ids_have_nine_letters(id: str) -> None:
    called, answered = ids_sent(id, tool_call_ids="nine")
    assert called == answered
    assert len(called) == 9
    assert called.isascii()
    assert called.isalnum()
    assert ids_sent(id) == (id, id)


def test_an_id_that_will_do_is_kept_and_others_stay_apart() -> None:
    assert ids_sent("D681PevKs", tool_call_ids="nine") == ("D681PevKs", "D681PevKs")
    assert len({nine_char_id(f"call_{n}") for n in range(2000)}) == 2000
    assert nine_char_id("half \ud83d") == nine_char_id("half \ud83d")


def test_an_absurd_tool_call_is_left_to_the_provider() -> None:
    messages = [{"role": "assistant", "tool_calls": [{"id": 7}, {}, "x"], "tool_call_id": 3}]
    sent = sent_body(plain_endpoint(tool_call_ids="nine"), messages=messages)["messages"]
    assert sent == [{"role": "assistant", "tool_calls": [{"id": 7}, {}], "tool_call_id": 3}]


def test_the_catalog_knows_which_provider_wants_such_ids() -> None:
    providers = json.loads((SHIPPED / "providers.json").read_text())["providers"]
    wanting = [p["slug"] for p in providers if p["quirks"].get("tool_call_ids") == "nine"]
    assert wanting == ["mistral"]


# --- answers -------------------------------------------------------------------------------------


def reply_of(**more: Any) -> Any:
    message = {"role": "assistant", "content": "4"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    body = json.dumps({"id": "a", "model": "m", "choices": choices, "usage": USAGE, **more})
    return OpenAICompat().read_reply(call_of(), plain_endpoint(), [], body.encode())


@pytest.mark.parametrize(
    ("more", "tier"),
    [
        ({}, ""),
        ({"service_tier": None}, ""),
        ({"service_tier": "flex"}, "flex"),
        ({"service_tier": "flex", "usage": {**USAGE, "extra": 1}}, "flex"),
        ({"service_tier": 7}, ""),
        ({"service_tier": "x" * 50}, "x" * 20),
    ],
)
def test_a_reply_tells_the_tier_that_it_was_served_by(more: dict[str, Any], tier: str) -> None:
    assert reply_of(**more).service_tier == tier


def test_a_stream_tells_the_last_tier_that_it_named() -> None:
    reader = stream_of()
    assert reader.service_tier == ""
    tiers = [chunk({"content": "a"}, service_tier=tier) for tier in ("auto", "flex", "flex")]
    read_all(reader, ROLE + b"".join(tiers) + chunk({}, "stop", service_tier="default") + DONE)
    assert reader.service_tier == "default"
    reader = stream_of()
    read_all(reader, chunk({"content": "a"}, service_tier="flex") + HI + STOP + DONE)
    assert reader.service_tier == "flex"


def test_logprobs_and_unknown_fields_pass_through_a_stream_untouched() -> None:
    tokens = {"content": [{"token": "hi", "logprob": -0.1, "bytes": [104], "top_logprobs": []}]}
    choice = {"index": 0, "delta": {"content": "hi"}, "logprobs": tokens, "finish_reason": None}
    frame = event({**HEAD, "choices": [choice], "x_new": {"a": 1}})
    reader = stream_of()
    assert read_all(reader, ROLE + frame * 4 + STOP + DONE) == ROLE + frame * 4 + STOP + DONE


def test_sources_that_come_after_the_text_reach_the_client() -> None:
    sources = {"citations": ["https://example.org"], "search_results": [{"title": "t"}]}
    last = event({**HEAD, "choices": [], "usage": USAGE, **sources})
    chunks = chunks_in(read_all(stream_of(), ROLE + HI + STOP + last + DONE))
    assert {name: chunks[-1][name] for name in sources} == sources
    assert "usage" not in chunks[-1]
    assert chunks[-1]["choices"] == [{"index": 0, "delta": {}, "finish_reason": None}]


def test_sources_do_not_begin_an_answer() -> None:
    reader = stream_of()
    assert reader.feed(event({**HEAD, "choices": [], "citations": ["x"]})) == b""
    assert not reader.content_started
