from __future__ import annotations

from typing import Any

import pytest

from routing.core.catalog import EMPTY_POLICY, Caller
from routing.core.errors import HubError
from routing.core.policies import Match, Rule
from routing.core.request import NO_PREFERENCES, ProviderPreferences
from routing.gateway.preferences import facts_for, parse_preferences
from tests.routing.factories import facts, policy

CALLER = Caller(key_id=7, key_name="app", project_id=1, organization_id=1)


def test_the_whole_provider_object_is_understood() -> None:
    parsed = parse_preferences(
        {
            "order": ["groq", "deepinfra/fp4"],
            "only": ["groq"],
            "ignore": ["together"],
            "allow_fallbacks": False,
            "require_parameters": True,
            "data_collection": "deny",
            "zdr": True,
            "enforce_distillable_text": True,
            "quantizations": ["fp8", "unknown"],
            "sort": {"by": "latency", "partition": "none"},
            "preferred_min_throughput": {"p50": 40, "p90": 20.5},
            "preferred_max_latency": {"p99": 3},
            "max_price": {"prompt": 0.5, "completion": "1.5", "request": 0.01, "image": "0.04"},
        }
    )
    assert parsed == ProviderPreferences(
        order=("groq", "deepinfra/fp4"),
        only=("groq",),
        ignore=("together",),
        allow_fallbacks=False,
        require_parameters=True,
        data_collection="deny",
        zdr=True,
        enforce_distillable_text=True,
        quantizations=("fp8", "unknown"),
        sort="latency",
        sort_partition="none",
        throughput_cutoffs=((50.0, 40.0), (90.0, 20.5)),
        latency_cutoffs=((99.0, 3.0),),
        max_price_prompt="0.5",
        max_price_completion="1.5",
        max_price_request="0.01",
        max_price_image="0.04",
    )


def test_a_plain_number_is_held_against_the_median() -> None:
    parsed = parse_preferences({"preferred_min_throughput": 40, "preferred_max_latency": 1.5})
    assert (parsed.preferred_min_throughput, parsed.preferred_max_latency) == (40.0, 1.5)
    assert not parsed.throughput_cutoffs
    assert not parsed.latency_cutoffs


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({"zdr": "yes"}, "provider.zdr"),
        ({"enforce_distillable_text": 1}, "provider.enforce_distillable_text"),
        ({"sort": {"by": "colour"}}, "provider.sort.by"),
        ({"sort": {"partition": "none"}}, "provider.sort.by"),
        ({"sort": {"by": "price", "partition": "all"}}, "provider.sort.partition"),
        ({"sort": {"by": "price", "order": "up"}}, "provider.sort.order"),
        ({"preferred_max_latency": {"p42": 1}}, "provider.preferred_max_latency.p42"),
        ({"preferred_max_latency": {"p90": "fast"}}, "provider.preferred_max_latency.p90"),
        ({"max_price": {"request": "free"}}, "provider.max_price.request"),
        ({"max_price": {"image": float("nan")}}, "provider.max_price.image"),
    ],
)
def test_a_wrong_field_is_named(value: dict[str, Any], param: str) -> None:
    with pytest.raises(HubError) as caught:
        parse_preferences(value)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_nulls_mean_nothing_at_any_depth() -> None:
    nothing = {
        "zdr": None,
        "sort": None,
        "preferred_max_latency": {"p90": None},
        "max_price": {"image": None},
    }
    assert parse_preferences(nothing) == NO_PREFERENCES
    assert parse_preferences({"sort": {"by": "price", "partition": None}}).sort == "price"


# --- what a policy wants to know besides ------------------------------------------------------------

BODY = {
    "model": "m",
    "seed": 1,
    "prompt_cache_key": "thread-9",
    "metadata": {"tags": ["eval", 3, " "]},
}
HEADERS = [(b"x-panelboard-tags", b"night, batch"), (b"x-session-id", b"s-1")]
A_RULE = (Rule(Match(tags=("night",)), {"stable_by": "conversation"}),)


def test_a_policy_that_looks_at_nothing_more_leaves_the_facts_alone() -> None:
    plain = facts()
    assert facts_for(policy(sticky_s=0), plain, CALLER, BODY, HEADERS) is plain
    assert facts_for(EMPTY_POLICY, plain, CALLER, {}, []) is plain


def test_tags_come_from_the_header_and_the_metadata() -> None:
    told = facts_for(policy(rules=A_RULE), facts(), CALLER, BODY, HEADERS)
    assert told.tags == {"night", "batch", "eval"}
    words = facts_for(policy(rules=A_RULE), facts(), CALLER, {"metadata": {"tags": "a,b"}}, [])
    assert words.tags == {"a", "b"}
    assert not facts_for(policy(rules=A_RULE), facts(), CALLER, {"metadata": "x"}, []).tags


def test_a_conversation_is_known_by_its_session_or_its_cache_key() -> None:
    for rules in (policy(stable_by="key"), policy(rules=A_RULE)):
        told = facts_for(rules, facts(), CALLER, BODY, HEADERS)
        assert (told.key_id, told.conversation) == (7, "s-1")
    assert facts_for(policy(stable_by="key"), facts(), CALLER, BODY, []).conversation == "thread-9"
    assert facts_for(policy(stable_by="key"), facts(), CALLER, {}, []).conversation == ""
    odd = {"prompt_cache_key": ["x"]}
    assert facts_for(policy(stable_by="key"), facts(), CALLER, odd, []).conversation == ""


def test_parameters_are_told_where_the_policy_requires_them() -> None:
    told = facts_for(policy(require_parameters=True), facts(), CALLER, BODY, [])
    assert told.parameters == set(BODY)
