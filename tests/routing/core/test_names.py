from __future__ import annotations

import msgspec
import pytest

from routing.core import names as names_module
from routing.core.errors import HubError
from routing.core.names import resolve, unknown_fallback
from tests.routing.factories import MODEL, endpoint, model, policy, snapshot

WORLD = snapshot(
    endpoint("groq", 1),
    endpoint("cerebras", 2),
    endpoint("local", 3, of=model("vendor.model-v1:0", 2)),
    policies={"night-batch": policy("night-batch")},
)


@pytest.mark.parametrize(
    ("suffix", "objective"),
    [
        ("fastest", "fastest"),
        ("cheapest", "cheapest"),
        ("lowest-latency", "lowest-latency"),
        ("preferred", "preferred"),
        ("nitro", "fastest"),
        ("floor", "cheapest"),
    ],
)
def test_a_suffix_says_how_to_route(suffix: str, objective: str) -> None:
    found = resolve(f"{MODEL}:{suffix}", WORLD)
    assert (found.model, found.objective) == (MODEL, objective)


def test_a_provider_and_a_policy_are_suffixes_too() -> None:
    assert resolve(f"{MODEL}:groq", WORLD).pinned_provider == "groq"
    assert resolve(f"{MODEL}:night-batch", WORLD).policy_name == "night-batch"


def test_a_model_id_with_a_colon_is_matched_whole_first() -> None:
    assert resolve("vendor.model-v1:0", WORLD).model == "vendor.model-v1:0"
    assert resolve("vendor.model-v1:0:cheapest", WORLD).objective == "cheapest"


def test_a_short_or_differently_cased_name_finds_its_model() -> None:
    assert resolve("GPT-OSS-120b", WORLD).model == MODEL


def test_an_unknown_model_is_a_404_that_names_near_ones() -> None:
    with pytest.raises(HubError) as caught:
        resolve("openai/gpt-os-120", WORLD)
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    assert MODEL in caught.value.message


def test_two_suffixes_are_told_apart_from_an_unknown_model() -> None:
    with pytest.raises(HubError) as caught:
        resolve(f"{MODEL}:fastest:groq", WORLD)
    assert caught.value.code == "model_not_found"
    assert f"{MODEL} takes one" in caught.value.message


def test_an_unknown_fallback_names_near_models_or_where_they_are_listed() -> None:
    assert f"Did you mean {MODEL}" in unknown_fallback("openai/gpt-os-120", WORLD).message
    assert "GET /v1/models lists" in unknown_fallback("zzz", WORLD).message


def test_an_unknown_suffix_is_a_400_that_lists_what_exists() -> None:
    with pytest.raises(HubError) as caught:
        resolve(f"{MODEL}:quickest", WORLD)
    assert (caught.value.status, caught.value.code) == (400, "unknown_suffix")
    for known in (":fastest", ":groq", ":cerebras", ":night-batch"):
        assert known in caught.value.message


@pytest.mark.parametrize("name", ["", ":", "::", "a" * 5000, "\u2028", "x:y:z"])
def test_odd_names_are_refused_in_order(name: str) -> None:
    with pytest.raises(HubError) as caught:
        resolve(name, WORLD)
    assert caught.value.status == 404
    assert len(caught.value.message) < 600


def test_a_name_is_looked_up_anew_in_each_snapshot() -> None:
    other = snapshot(endpoint("groq", 1, of=model("vendor/new-model", 9)), aliases={"m": MODEL})
    assert resolve("m", other).model == MODEL
    again = msgspec.structs.replace(other, aliases={"m": "vendor/new-model"})
    assert resolve("m", again).model == "vendor/new-model"
    with pytest.raises(HubError):
        resolve("m", WORLD)
    assert resolve("m", other).model == MODEL


def test_what_is_remembered_of_a_snapshot_is_bounded() -> None:
    names = [f"{'x' * n}" for n in range(1, names_module.MAX_RESOLVED + 20)]
    many = msgspec.structs.replace(WORLD, aliases=dict.fromkeys(names, MODEL))
    for name in names:
        assert resolve(name, many).model == MODEL
    assert 0 < len(names_module._resolved[1]) <= names_module.MAX_RESOLVED


def test_a_name_that_was_refused_is_refused_again() -> None:
    for _ in range(2):
        with pytest.raises(HubError) as caught:
            resolve("no/such", WORLD)
        assert caught.value.status == 404
