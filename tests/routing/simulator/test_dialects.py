from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from routing.simulator.server import ThreadedSimulator
from tests.routing.simulator.plays import (
    CATALOG,
    PIXEL,
    WEATHER_TOOL,
    Player,
    events,
    text_in,
    usage_in,
)

SLUGS = [row["slug"] for row in CATALOG["providers"]]
TOOLS = [{"type": "function", "function": WEATHER_TOOL}]
Play = Callable[[str], Player]


@pytest.mark.parametrize("slug", SLUGS)
def test_each_provider_streams_the_text_and_usage_that_it_answers_whole(
    player: Play, slug: str
) -> None:
    play = player(slug)
    whole = play.ask()
    streamed = play.ask(stream=True)

    assert whole.status_code == streamed.status_code == 200
    assert "text/event-stream" in streamed.headers["content-type"]
    text = text_in(play.dialect, whole.json())
    assert "simulated answer" in text
    found = events(streamed)
    assert "".join(text_in(play.dialect, event) for event in found) == text
    assert usage_in(play.dialect, found) == usage_in(play.dialect, [whole.json()])


def test_the_same_model_says_the_same_at_all_its_providers(player: Play) -> None:
    slugs = ["groq", "together", "mistral", "deepinfra", "novita", "fireworks", "deepseek"]
    texts = {text_in(player(slug).dialect, player(slug).ask().json()) for slug in slugs}
    assert len(texts) == 1


def test_the_same_thinking_model_says_the_same_in_all_three_dialects(player: Play) -> None:
    texts = {
        text_in(player(slug).dialect, player(slug).ask().json())
        for slug in ("openai", "anthropic", "gemini")
    }
    assert len(texts) == 1


@pytest.mark.parametrize("slug", SLUGS)
def test_an_answer_is_no_longer_than_max_tokens(player: Play, slug: str) -> None:
    play = player(slug)
    answer = play.ask("Write 300 words.", limit=20)
    assert usage_in(play.dialect, [answer.json()])[1] == 20
    assert 0 < len(text_in(play.dialect, answer.json())) < 200


@pytest.mark.parametrize(
    ("slug", "told"),
    [
        ("groq", "length"),
        ("anthropic", "max_tokens"),
        ("gemini", "MAX_TOKENS"),
    ],
)
def test_a_cut_answer_says_so_in_the_words_of_the_provider(
    player: Play, slug: str, told: str
) -> None:
    answer = player(slug).ask(limit=6).text
    assert f'"{told}"' in answer


def test_together_ends_with_eos(player: Play) -> None:
    assert player("together").ask().json()["choices"][0]["finish_reason"] == "eos"


def test_a_stop_sequence_ends_the_answer_before_it(player: Play) -> None:
    answer = player("groq").ask("say exactly: one two STOP three", stop=["STOP"]).json()
    assert answer["choices"][0]["message"]["content"] == "one two "
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_anthropic_names_the_stop_sequence_that_was_hit(player: Play) -> None:
    answer = player("anthropic").ask("say exactly: one two STOP", stop_sequences=["STOP"]).json()
    assert answer["stop_reason"] == "stop_sequence"
    assert answer["stop_sequence"] == "STOP"


# --- where usage stands in a stream ---------------------------------------------------------------


def _with_usage(found: list[Any]) -> list[int]:
    return [n for n, event in enumerate(found) if isinstance(event, dict) and event.get("usage")]


def test_a_plain_host_tells_usage_only_when_asked_and_then_last(player: Play) -> None:
    asked = events(player("together").ask(stream=True))
    assert _with_usage(asked) == [len(asked) - 2]
    assert asked[-2]["choices"] == []
    unasked = events(player("together").ask(stream=True, stream_options={}))
    assert _with_usage(unasked) == []
    assert "usage" not in unasked[0]


def test_groq_tells_usage_unasked_on_its_finish_chunk_in_two_places(player: Play) -> None:
    found = events(player("groq").ask(stream=True))
    assert found[-2]["choices"][0]["finish_reason"] == "stop"
    assert found[-2]["usage"] == found[-2]["x_groq"]["usage"]
    assert found[0]["x_groq"]["id"].startswith("req_")


def test_mistral_tells_usage_on_its_finish_chunk(player: Play) -> None:
    found = events(player("mistral").ask(stream=True))
    assert _with_usage(found) == [len(found) - 2]
    assert found[-2]["choices"][0]["finish_reason"] == "stop"


def test_usage_on_every_chunk_is_cumulative(player: Play) -> None:
    found = events(player("fireworks").ask(stream=True))
    counts = [event["usage"]["completion_tokens"] for event in found[:-1]]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] > 30


def test_a_provider_without_done_ends_after_its_finish(player: Play) -> None:
    assert events(player("deepseek").ask(stream=True))[-1] != "[DONE]"
    assert events(player("groq").ask(stream=True))[-1] == "[DONE]"


def test_deepseek_begins_with_blank_lines_and_a_comment(player: Play) -> None:
    assert player("deepseek").ask().text.startswith("\n\n{")
    assert player("deepseek").ask(stream=True).text.startswith(": keep-alive\n\n")


def test_xai_counts_reasoning_outside_and_tells_its_cost(
    player: Play, simulator: ThreadedSimulator
) -> None:
    usage = player("xai").ask().json()["usage"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    assert reasoning > 0
    outside = usage["total_tokens"] - usage["prompt_tokens"] - usage["completion_tokens"]
    assert outside == reasoning
    cost = simulator.journal()[-1].cost_usd
    assert usage["cost_in_usd_ticks"] == round(float(cost) * 10**10)


def test_deepinfra_tells_its_cost_to_the_last_digit(
    player: Play, simulator: ThreadedSimulator
) -> None:
    told = json.loads(player("deepinfra").ask().text, parse_float=str)["usage"]["estimated_cost"]
    assert told == simulator.journal()[-1].cost_usd


# --- reasoning --------------------------------------------------------------------------------------


def test_reasoning_stands_in_the_field_of_the_provider(player: Play) -> None:
    play = player("groq")
    play.model = "reasoner"
    message = play.ask().json()["choices"][0]["message"]
    assert message["reasoning"]
    assert "reasoning_content" not in message
    none = play.ask(reasoning_effort="none").json()["choices"][0]["message"]
    assert "reasoning" not in none


def test_openai_bills_reasoning_that_it_does_not_show(player: Play) -> None:
    answer = player("openai").ask().json()
    assert set(answer["choices"][0]["message"]) == {"role", "content"}
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


def test_anthropic_thinks_only_when_told_and_signs_it(player: Play) -> None:
    play = player("anthropic")
    assert [block["type"] for block in play.ask().json()["content"]] == ["text"]
    answer = play.ask(thinking={"type": "enabled", "budget_tokens": 1024}).json()
    assert [block["type"] for block in answer["content"]] == ["thinking", "text"]
    again = [
        {"role": "user", "content": "Tell me something."},
        {"role": "assistant", "content": [answer["content"][0], {"type": "text", "text": "ok"}]},
        {"role": "user", "content": "And then?"},
    ]
    assert play.ask(messages=again).status_code == 200
    again[1]["content"][0]["signature"] = "forged"  # type: ignore[index]
    assert play.ask(messages=again).status_code == 400


def test_gemini_shows_thoughts_only_when_asked_but_counts_them(player: Play) -> None:
    play = player("gemini")
    hidden = play.ask().json()
    shown = play.ask(generationConfig={"thinkingConfig": {"includeThoughts": True}}).json()
    assert hidden["usageMetadata"]["thoughtsTokenCount"] > 0
    assert [bool(p.get("thought")) for p in hidden["candidates"][0]["content"]["parts"]] == [False]
    assert shown["candidates"][0]["content"]["parts"][0]["thought"] is True


# --- tools, formats, images --------------------------------------------------------------------------


def _openai_calls(found: list[Any]) -> list[dict[str, Any]]:
    return [
        delta
        for event in found
        if isinstance(event, dict)
        for choice in event["choices"]
        for delta in choice["delta"].get("tool_calls") or ()
    ]


def test_a_split_call_names_the_tool_once_and_adds_up_to_valid_arguments(player: Play) -> None:
    found = events(player("openai").ask("Weather in Oslo?", stream=True, tools=TOOLS))
    first, *rest = _openai_calls(found)
    assert first["function"] == {"name": "get_weather", "arguments": ""}
    assert len(rest) > 1
    assert all(set(delta) == {"index", "function"} for delta in rest)
    arguments = "".join(delta["function"]["arguments"] for delta in rest)
    assert json.loads(arguments) == {"city": "Oslo", "days": 1}


def test_groq_sends_a_call_whole_and_mistral_without_index(player: Play) -> None:
    (groq,) = _openai_calls(
        events(player("groq").ask("Weather in Oslo?", stream=True, tools=TOOLS))
    )
    assert json.loads(groq["function"]["arguments"])["city"] == "Oslo"
    assert groq["index"] == 0
    (mistral,) = _openai_calls(
        events(player("mistral").ask("Weather in Oslo?", stream=True, tools=TOOLS))
    )
    assert set(mistral) == {"id", "function"}
    assert len(mistral["id"]) == 9


def test_plain_hosts_send_empty_tool_lists_beside_text(player: Play) -> None:
    found = events(player("homemade").ask(stream=True))
    assert found[1]["choices"][0]["delta"]["tool_calls"] == []


def test_two_places_make_two_parallel_calls_unless_forbidden(player: Play) -> None:
    play = player("groq")
    both = play.ask("Weather in Oslo and Bergen?", tools=TOOLS).json()["choices"][0]
    cities = [json.loads(c["function"]["arguments"])["city"] for c in both["message"]["tool_calls"]]
    assert cities == ["Oslo", "Bergen"]
    assert both["finish_reason"] == "tool_calls"
    one = play.ask("Weather in Oslo and Bergen?", tools=TOOLS, parallel_tool_calls=False).json()
    assert len(one["choices"][0]["message"]["tool_calls"]) == 1


def test_a_tool_is_called_only_when_it_fits_or_is_forced(player: Play) -> None:
    play = player("groq")
    assert "tool_calls" not in play.ask("Hello.", tools=TOOLS).json()["choices"][0]["message"]
    forced = play.ask("Hello.", tools=TOOLS, tool_choice="required").json()
    assert forced["choices"][0]["message"]["tool_calls"]
    barred = play.ask("Weather in Oslo?", tools=TOOLS, tool_choice="none").json()
    assert "tool_calls" not in barred["choices"][0]["message"]


def test_a_tool_result_is_answered_in_text(player: Play) -> None:
    play = player("groq")
    call = play.ask("Weather in Oslo?", tools=TOOLS).json()["choices"][0]["message"]
    messages = [
        {"role": "user", "content": "Weather in Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": call["tool_calls"]},
        {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "4 degrees"},
    ]
    assert "4 degrees" in text_in("openai_compat", play.ask(tools=TOOLS, messages=messages).json())
    messages[2]["tool_call_id"] = "call_other"
    assert play.ask(tools=TOOLS, messages=messages).status_code == 400


def test_anthropic_calls_tools_in_blocks_and_wants_each_answered(player: Play) -> None:
    play = player("anthropic")
    tools = [{"name": "get_weather", "input_schema": WEATHER_TOOL["parameters"]}]
    found = events(play.ask("Weather in Oslo?", stream=True, tools=tools))
    start = next(e for e in found if e["type"] == "content_block_start")
    assert start["content_block"]["input"] == {}
    pieces = [
        e["delta"].get("partial_json", "") for e in found if e["type"] == "content_block_delta"
    ]
    assert pieces[0] == ""
    assert json.loads("".join(pieces)) == {"city": "Oslo", "days": 1}
    use = play.ask("Weather in Oslo?", tools=tools).json()["content"]
    messages = [
        {"role": "user", "content": "Weather in Oslo?"},
        {"role": "assistant", "content": use},
    ]
    result = {"type": "tool_result", "tool_use_id": use[0]["id"], "content": "4 degrees"}
    answered = play.ask(tools=tools, messages=[*messages, {"role": "user", "content": [result]}])
    assert "4 degrees" in text_in("anthropic", answered.json())
    ignored = play.ask(tools=tools, messages=[*messages, {"role": "user", "content": "well?"}])
    assert ignored.status_code == 400


def test_gemini_calls_whole_and_finishes_with_stop(player: Play) -> None:
    play = player("gemini")
    tools = [{"functionDeclarations": [{**WEATHER_TOOL}]}]
    found = events(play.ask("Weather in Oslo?", stream=True, tools=tools))
    parts = [part for event in found for part in event["candidates"][0]["content"]["parts"]]
    (call,) = [part for part in parts if "functionCall" in part]
    assert call["functionCall"]["args"] == {"city": "Oslo", "days": 1}
    assert found[-1]["candidates"][0]["finishReason"] == "STOP"
    reply = {"functionResponse": {"name": "get_weather", "response": {"result": "4 degrees"}}}
    contents = [
        {"role": "user", "parts": [{"text": "Weather in Oslo?"}]},
        {"role": "model", "parts": [call]},
        {"role": "user", "parts": [reply]},
    ]
    assert "4 degrees" in text_in("gemini", play.ask(contents=contents, tools=tools).json())
    call["thoughtSignature"] = "forged"
    assert play.ask(contents=contents, tools=tools).status_code == 400


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("slug", "fields"),
    [
        (
            "groq",
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "person", "schema": SCHEMA},
                }
            },
        ),
        ("fireworks", {"response_format": {"type": "json_object", "schema": SCHEMA}}),
        ("anthropic", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
        (
            "gemini",
            {
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseJsonSchema": SCHEMA,
                }
            },
        ),
    ],
)
def test_structured_output_is_valid_json_in_each_dialect(
    player: Play, slug: str, fields: dict[str, Any]
) -> None:
    play = player(slug)
    answer = json.loads(text_in(play.dialect, play.ask(**fields).json()))
    assert set(answer) == {"name", "age"}
    assert answer["age"] == 18


def test_json_mode_answers_an_object(player: Play) -> None:
    answer = player("homemade").ask(response_format={"type": "json_object"}).json()
    assert json.loads(text_in("openai_compat", answer))["simulated"] is True


def test_images_are_read_where_the_model_sees_and_refused_where_not(player: Play) -> None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    messages = [{"role": "user", "content": content}]
    seen = player("openai").ask(messages=messages)
    plain = player("openai").ask("What is this?")
    assert seen.json()["usage"]["prompt_tokens"] > plain.json()["usage"]["prompt_tokens"] + 80
    assert player("groq").ask(messages=messages).status_code == 400


def test_several_choices_differ_and_share_one_usage(player: Play) -> None:
    answer = player("together").ask(n=2).json()
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert len(set(texts)) == 2
    found = events(player("together").ask(n=2, stream=True))
    finishes = [e["choices"][0]["index"] for e in found[:-2] if e["choices"][0]["finish_reason"]]
    assert finishes == [0, 1]


def test_logprobs_cover_the_whole_text(player: Play) -> None:
    choice = player("together").ask(logprobs=True).json()["choices"][0]
    tokens = [entry["token"] for entry in choice["logprobs"]["content"]]
    assert "".join(tokens) == choice["message"]["content"]


# --- prompt caching -----------------------------------------------------------------------------------

LONG = "All work and no play makes a long beginning. " * 200


def test_the_second_request_with_a_long_beginning_reads_the_cache(player: Play) -> None:
    play = player("openai")
    first = play.ask(LONG + "first").json()["usage"]
    second = play.ask(LONG + "second").json()["usage"]
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    assert second["prompt_tokens_details"]["cached_tokens"] >= 1024
    assert second["prompt_tokens_details"]["cached_tokens"] <= second["prompt_tokens"]


def test_a_short_prompt_is_not_cached(player: Play) -> None:
    play = player("openai")
    play.ask("short")
    assert play.ask("short").json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


@pytest.mark.parametrize(
    ("mark", "field"),
    [
        ({"type": "ephemeral"}, "ephemeral_5m_input_tokens"),
        ({"type": "ephemeral", "ttl": "1h"}, "ephemeral_1h_input_tokens"),
    ],
)
def test_anthropic_writes_what_is_marked_and_then_reads_it(
    player: Play, mark: dict[str, str], field: str
) -> None:
    play = player("anthropic")
    system = [{"type": "text", "text": LONG, "cache_control": mark}]
    first = play.ask("first", system=system).json()["usage"]
    second = play.ask("second", system=system).json()["usage"]
    assert first["cache_creation"][field] == second["cache_read_input_tokens"] > 1024
    assert first["cache_read_input_tokens"] == second["cache_creation_input_tokens"] == 0
    assert first["input_tokens"] < 50


# --- through the official client ---------------------------------------------------------------------


def test_the_openai_package_streams_and_reads_errors(simulator: ThreadedSimulator) -> None:
    with openai.OpenAI(
        api_key=simulator.key("together"), base_url=simulator.base_url("together"), max_retries=0
    ) as client:
        whole = client.chat.completions.create(
            model="openai/gpt-oss-120b", messages=[{"role": "user", "content": "Hello."}]
        )
        with client.chat.completions.create(
            model="openai/gpt-oss-120b",
            messages=[{"role": "user", "content": "Hello."}],
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            chunks = list(stream)
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            client.chat.completions.create(
                model="nope", messages=[{"role": "user", "content": "Hello."}]
            )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
