from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.base import UsageNote
from routing.adapters.quirks import PLAIN, Quirks
from routing.adapters.usage import (
    MAX_TOKENS,
    anthropic_usage,
    gemini_usage,
    noted,
    openai_usage,
    openai_usage_object,
    provider_cost,
)
from routing.core.usage import NO_USAGE, Usage

NONSENSE = [-1, 2**63, MAX_TOKENS + 1, 1.5, 3.0, "7", True, None, [], {}]


def test_an_openai_usage_is_already_inclusive() -> None:
    raw = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    assert openai_usage(raw) == Usage(
        input_total=100, cache_read=64, cache_write_5m=8, output_total=20, reasoning=5
    )


@pytest.mark.parametrize(
    "raw",
    [
        {"prompt_tokens_details": {"cached_tokens": 8}},
        {"prompt_token_details": {"cached_tokens": 8}},
        {"prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2},
        {"cached_tokens": 8},
        {"num_cached_tokens": 8},
    ],
)
def test_cached_tokens_are_found_wherever_a_provider_puts_them(raw: dict[str, Any]) -> None:
    assert openai_usage({"prompt_tokens": 10, **raw}).cache_read == 8


def test_hits_and_misses_make_an_input_when_no_total_is_given() -> None:
    raw = {"prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2}
    assert openai_usage(raw).input_total == 10


def test_reasoning_outside_the_output_is_added() -> None:
    quirks = Quirks(output_includes_reasoning=False)
    raw = {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 97}}
    assert openai_usage(raw, quirks).output_total == 106
    assert openai_usage(raw, quirks).reasoning == 97


def test_a_cache_outside_the_input_is_added() -> None:
    quirks = Quirks(input_includes_cache=False)
    raw = {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 90}}
    assert openai_usage(raw, quirks) == Usage(input_total=100, cache_read=90)


@pytest.mark.parametrize("value", NONSENSE)
def test_a_count_that_cannot_be_one_is_as_good_as_absent(value: object) -> None:
    raw = {"prompt_tokens": value, "completion_tokens": 5}
    assert openai_usage(raw) == Usage(output_total=5)
    assert anthropic_usage({"input_tokens": value, "output_tokens": 5}) == Usage(output_total=5)
    assert gemini_usage({"promptTokenCount": value}) == NO_USAGE


def test_a_part_larger_than_its_whole_is_left_out() -> None:
    raw = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 11},
        "completion_tokens_details": {"reasoning_tokens": 6},
    }
    assert openai_usage(raw) == Usage(input_total=10, output_total=5)


def test_anthropics_input_is_made_inclusive() -> None:
    raw = {
        "input_tokens": 12,
        "cache_creation_input_tokens": 1000,
        "cache_read_input_tokens": 2000,
        "cache_creation": {"ephemeral_5m_input_tokens": 600, "ephemeral_1h_input_tokens": 400},
        "output_tokens": 30,
        "output_tokens_details": {"thinking_tokens": 7},
        "server_tool_use": {"web_search_requests": 2},
    }
    assert anthropic_usage(raw) == Usage(
        input_total=3012,
        cache_read=2000,
        cache_write_5m=600,
        cache_write_1h=400,
        output_total=30,
        reasoning=7,
        searches=2,
    )


@pytest.mark.parametrize("split", [{}, {"ephemeral_5m_input_tokens": 1}, None])
def test_cache_writes_without_a_split_that_adds_up_count_as_five_minutes(split: object) -> None:
    raw = {"input_tokens": 1, "cache_creation_input_tokens": 10, "cache_creation": split}
    usage = anthropic_usage(raw)
    assert (usage.cache_write_5m, usage.cache_write_1h, usage.input_total) == (10, None, 11)


def test_geminis_thinking_is_added_to_its_output() -> None:
    raw = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 64,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 8,
        "toolUsePromptTokenCount": 5,
    }
    assert gemini_usage(raw) == Usage(input_total=105, cache_read=64, output_total=28, reasoning=8)


def test_gemini_leaves_out_what_is_zero() -> None:
    assert gemini_usage({"promptTokenCount": 9, "totalTokenCount": 9}).output_total == 0


@pytest.mark.parametrize(
    ("cost", "scale", "expected"),
    [
        (0.000123, 1, Decimal("0.000123")),
        ("0.000123", 1, Decimal("0.000123")),
        (575000, 10**10, Decimal("0.0000575")),
        (1e-5, 1, Decimal("0.00001")),
        (0, 1, None),
        (0.0, 1, None),
        (None, 1, None),
        ("0", 1, None),
        (-1, 1, None),
        (float("nan"), 1, None),
        (float("inf"), 1, None),
        ("NaN", 1, None),
        ("1e308", 1, None),
        (1e308, 1, None),
        (True, 1, None),
        ("free", 1, None),
        ([1], 1, None),
    ],
)
def test_a_providers_cost_is_believed_only_when_it_can_be_true(
    cost: object, scale: int, expected: Decimal | None
) -> None:
    quirks = Quirks(cost_path="usage.cost", cost_scale=scale)
    assert provider_cost({"usage": {"cost": cost}}, quirks) == expected


def test_no_cost_is_looked_for_where_the_provider_gives_none() -> None:
    assert provider_cost({"usage": {"cost": 1}}, PLAIN) is None


def test_translated_usage_shows_totals_and_what_they_contain() -> None:
    usage = Usage(input_total=105, cache_read=64, cache_write_1h=1, output_total=28, reasoning=8)
    assert openai_usage_object(usage) == {
        "prompt_tokens": 105,
        "completion_tokens": 28,
        "total_tokens": 133,
        "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 8},
    }


def test_the_hubs_cost_is_a_decimal_string() -> None:
    shown = noted({"prompt_tokens": 1, "cost": 0.5}, UsageNote("0.000012", "metered"))
    assert shown == {"prompt_tokens": 1, "cost": "0.000012", "cost_status": "metered"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    [
        "prompt_tokens",
        "completion_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "cached_tokens",
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation",
        "promptTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "cachedContentTokenCount",
    ]
)


@settings(max_examples=150)
@given(st.dictionaries(FIELDS, JSON | st.integers(0, 50), max_size=8))
def test_whatever_a_provider_sends_totals_contain_their_parts(raw: dict[str, Any]) -> None:
    for usage in (openai_usage(raw), anthropic_usage(raw), gemini_usage(raw)):
        read, written = usage.cache_read or 0, usage.cache_write_5m or 0
        if usage.input_total is not None:
            assert 0 <= max(read, written) <= usage.input_total
        if usage.output_total is not None:
            assert 0 <= (usage.reasoning or 0) <= usage.output_total
