from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.estimate import (
    estimate_input_tokens,
    estimated_usage,
    utf8_bytes_of,
)
from routing.core.usage import Usage, UsageSource, estimated_output_tokens


@pytest.mark.parametrize(
    ("messages", "tokens"),
    [
        ([], 0),
        ([{"role": "user", "content": "abcd"}], 4 + 1),
        ([{"role": "user", "content": "abcde"}], 4 + 2),
        ([{"role": "user", "content": "éé"}], 4 + 1),
        ([{"role": "user", "content": "ab"}, {"role": "user", "content": "cd"}], 8 + 1),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "abcd"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    ],
                }
            ],
            4 + 1 + 800,
        ),
        ([{"role": "user", "content": "\ud83d"}], 4 + 1),
    ],
)
def test_input_is_bytes_by_four_plus_four_for_each_message(
    messages: list[Any], tokens: int
) -> None:
    assert estimate_input_tokens({"messages": messages}) == tokens


def test_tools_and_schemas_count_by_their_json() -> None:
    tools = [{"type": "function", "function": {"name": "get_temp"}}]
    with_tools = estimate_input_tokens({"messages": [], "tools": tools})
    assert with_tools == -(-len('[{"type":"function","function":{"name":"get_temp"}}]') // 4)


def test_calls_and_reasoning_in_the_history_count() -> None:
    message = {"role": "assistant", "reasoning_content": "abcd", "tool_calls": ["abcdef"]}
    assert estimate_input_tokens({"messages": [message]}) == 4 + -(-(4 + len('["abcdef"]')) // 4)


def test_what_cannot_be_written_as_json_counts_nothing() -> None:
    assert estimate_input_tokens({"messages": [], "tools": [object()]}) == 0


@pytest.mark.parametrize(("chars", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (-3, 0)])
def test_output_is_characters_by_four_rounded_up(chars: int, tokens: int) -> None:
    assert estimated_output_tokens(chars) == tokens


def test_an_estimated_usage_says_that_it_is_one() -> None:
    usage = estimated_usage({"messages": [{"role": "user", "content": "abcd"}]}, 9)
    assert usage == Usage(input_total=5, output_total=3, source=UsageSource.ESTIMATED)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "tool_calls"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(JSON, JSON)
def test_no_body_makes_the_estimate_fail(messages: Any, tools: Any) -> None:
    assert estimate_input_tokens({"messages": messages, "tools": tools}) >= 0


LONG = ["naïve café — ", "日本語の文章。", "x" * 40 + "é", "🙂 ok "]


@pytest.mark.parametrize("word", LONG)
def test_long_texts_beyond_ascii_are_weighed_by_samples_to_a_few_percent(word: str) -> None:
    texts = [word * (60_000 // len(word)), "plain " * 500, word]
    raw = json.dumps(texts, ensure_ascii=False).encode()
    exact = sum(len(text.encode()) for text in texts)
    assert utf8_bytes_of(texts, raw) == pytest.approx(exact, rel=0.03)
    assert utf8_bytes_of(texts, json.dumps(texts).encode()) == exact  # all of it in escapes


@given(st.lists(st.text(max_size=200), max_size=8))
def test_shorter_ones_are_weighed_exactly(texts: list[str]) -> None:
    raw = json.dumps(texts, ensure_ascii=False).encode("utf-8", "surrogatepass")
    exact = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    assert utf8_bytes_of(texts, raw) == exact
