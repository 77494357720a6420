"""The flat pass over a plain body, held to the careful reading of the same body."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.forms import PLAIN_FIELDS
from routing.core.errors import HubError
from routing.gateway.parse import parse_any, parse_chat
from tests.routing.factories import MODEL, endpoint, model, policy, snapshot

WORLD = snapshot(
    endpoint("groq", 1),
    endpoint("other", 2, of=model("meta-llama/Llama-3.3-70B", 2)),
    policies={"night": policy("night")},
)
HELLO = [{"role": "user", "content": "hello"}]

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 20_000_000)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.sampled_from(["user", "auto", "include_usage"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)
MODELS = st.sampled_from(
    [MODEL, "GPT-OSS-120b", f"{MODEL}:fastest", f"{MODEL}:groq", f"{MODEL}:night"]
)
NO_MODELS = st.sampled_from(["no/such", f"{MODEL}:soonest", "", "m" * 301]) | ANYTHING
ROLES = st.sampled_from(["system", "user", "assistant"])
ODD_ROLES = st.sampled_from(["developer", "tool", "", None, 7, ["user"]])
TEXTS = st.text(max_size=8) | st.sampled_from(["naïve", "🙂", "\ud83d", "x" * 4000])
PARTS = st.lists(
    st.sampled_from([{"type": "text", "text": "a"}, {"type": "image_url"}, 3]), max_size=2
)
PLAIN_MESSAGES = st.fixed_dictionaries({"role": ROLES, "content": TEXTS})
ODD_MESSAGES = (
    st.fixed_dictionaries(
        {},
        optional={"role": ROLES | ODD_ROLES, "content": TEXTS | PARTS | ANYTHING, "name": TEXTS},
    )
    | ANYTHING
)
MESSAGES = st.lists(PLAIN_MESSAGES, min_size=1, max_size=3)
ODD_LISTS = st.lists(PLAIN_MESSAGES | ODD_MESSAGES, max_size=3) | ANYTHING
USUAL: dict[str, st.SearchStrategy[Any]] = {
    "stream": st.booleans(),
    "stream_options": st.sampled_from([{}, {"include_usage": True}, {"include_usage": 1}]),
    "max_tokens": st.integers(1, 2000),
    "max_completion_tokens": st.integers(1, 2000),
    "temperature": st.floats(0, 2),
    "seed": st.integers(0, 9),
}
ODD: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys([*PLAIN_FIELDS, "tools", "response_format", "n", "custom"], ANYTHING),
    "provider": st.sampled_from([None, {}, {"order": ["groq"]}, {"require_parameters": True}, 7]),
    "models": st.sampled_from([None, ["GPT-OSS-120b"], ["no/such"], 7]),
    "service_tier": st.sampled_from(["flex", None, 7]),
    "logprobs": st.booleans(),
    "model": NO_MODELS,
    "messages": ODD_LISTS,
}
PLAIN_BODIES = st.fixed_dictionaries({"model": MODELS, "messages": MESSAGES}, optional=USUAL)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A plain body with up to two fields that may be anything."""
    body = dict(draw(PLAIN_BODIES))
    for name in draw(st.lists(st.sampled_from(sorted(ODD)), max_size=2)):
        body[name] = draw(ODD[name])
    return body


def outcome(parse: Any, body: dict[str, Any]) -> object:
    body = copy.deepcopy(body)
    try:
        call, facts = parse(body, b"raw", WORLD)
    except HubError as error:
        return (error.status, error.code, error.message, error.param, error.detail)
    assert call.body is body
    return msgspec.structs.replace(call, is_plain=False), facts


@settings(max_examples=200, deadline=None)
@given(PLAIN_BODIES)
def test_a_plain_body_is_read_as_the_careful_way_reads_it(body: dict[str, Any]) -> None:
    assert outcome(parse_chat, body) == outcome(parse_any, body)


@settings(max_examples=200, deadline=None)
@given(bodies())
def test_any_body_gives_the_same_or_is_refused_in_the_same_words(body: dict[str, Any]) -> None:
    assert outcome(parse_chat, body) == outcome(parse_any, body)


@pytest.mark.parametrize(
    "more",
    [
        {"model": "m" * 301},
        {"model": "no/such", "max_tokens": 0},
        {"model": "no/such", "stream": "yes"},
        {"max_tokens": 0},
        {"max_tokens": 10_000_001},
        {"max_tokens": True},
        {"max_tokens": 5.0},
        {"max_completion_tokens": None, "max_tokens": 5},
        {"max_completion_tokens": 5, "max_tokens": "x"},
        {"messages": []},
        {"messages": [*HELLO, {"role": "user"}]},
        {"messages": [*HELLO, {"content": "x", "name": "y"}]},
        {"stream_options": None},
        {"stream": 1},
    ],
)
def test_at_the_edges_both_ways_agree(more: dict[str, Any]) -> None:
    body = {"model": MODEL, "messages": HELLO, **more}
    assert outcome(parse_chat, body) == outcome(parse_any, body)


def is_plain(**more: Any) -> bool:
    return parse_chat({"model": MODEL, "messages": HELLO, **more}, b"", WORLD)[0].is_plain


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"temperature": 0.2, "top_p": 0.9, "seed": 7, "user": "u", "prompt_cache_key": "k"},
        {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5},
        {"max_completion_tokens": 5, "reasoning_effort": "low"},
        {"messages": [{"role": r, "content": "é"} for r in ("system", "user", "assistant")]},
    ],
)
def test_texts_and_simple_parameters_are_plain(more: dict[str, Any]) -> None:
    assert is_plain(**more)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": []},
        {"response_format": {"type": "text"}},
        {"n": 1},
        {"stop": "x"},
        {"logprobs": False},
        {"service_tier": "auto"},
        {"provider": None},
        {"models": None},
        {"something_new": 1},
        {"max_tokens": None},
        {"stream": None},
        {"messages": [{"role": "developer", "content": "x"}]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"messages": [{"role": "user", "content": "x", "name": "n"}]},
        {"messages": [*HELLO, {"role": "assistant", "content": "x", "tool_calls": []}]},
        {"messages": [{"role": "assistant", "content": None}]},
    ],
)
def test_what_may_need_a_closer_look_is_not_plain(more: dict[str, Any]) -> None:
    assert not is_plain(**more)


def test_a_plain_body_goes_on_as_it_came() -> None:
    body = {"model": MODEL, "messages": HELLO}
    raw = json.dumps(body).encode()
    call, _ = parse_chat(body, raw, WORLD)
    assert call.raw is raw
    assert call.body is body
