from __future__ import annotations

import json
from decimal import Decimal
from random import Random

import pytest

from routing.core.catalog import Snapshot
from routing.core.decision import Candidate, Decision
from routing.core.explanation import MAX_HEADER_BYTES, cost_usd, explained, header_text, runner_up
from routing.core.plan import plan
from tests.routing.factories import endpoint, facts, health, moment, policy, snapshot, stats

DEAR, CHEAP = ("3", "15"), ("0.15", "0.60")


def world() -> Snapshot:
    return snapshot(
        endpoint("dear", 1, DEAR, stats=stats(300, 80)),
        endpoint("cheap", 2, CHEAP, stats=stats(900, 40, 0.97)),
        endpoint("small", 3, CHEAP, context_window=100),
    )


def decide(**document: object) -> Decision:
    found = plan(
        facts(), policy(objective="cheapest", **document), world(), health(), moment(), Random(3)
    )
    return found.decision


def test_every_candidate_is_told_with_its_numbers_and_why_it_was_left_out() -> None:
    told = explained(decide(), world().endpoints)
    cheap, dear, small = told["candidates"]
    assert cheap == {
        "endpoint": "cheap:openai/gpt-oss-120b",
        "endpoint_id": 2,
        "provider": "cheap",
        "place": 1,
        "estimated_cost_usd": "0.00045",  # 1000 x 0.15 + 500 x 0.60 per million
        "ttft_ms": 900.0,
        "speed_tps": 40.0,
        "success_rate": 0.97,
        "samples": 100,
        "valid_rate": None,  # no form is needed
        "valid_samples": None,
        "score": cheap["score"],
        "draw_probability": 1.0,
        "exploring_probability": 0.0,
        "excluded": None,
        "detail": None,
    }
    assert (dear["place"], dear["draw_probability"]) == (2, 0.0)
    assert (small["place"], small["excluded"]) == (None, "context_window")
    assert small["detail"]


def test_the_frame_says_by_which_rules_and_for_how_many_tokens() -> None:
    told = explained(decide(), world().endpoints)
    assert (told["policy"], told["policy_version"], told["objective"]) == ("mine", 3, "cheapest")
    assert (told["input_tokens"], told["output_tokens"]) == (1000, 500)
    assert told["order"] == ["cheap:openai/gpt-oss-120b", "dear:openai/gpt-oss-120b"]
    assert told["runner_up"] == "dear:openai/gpt-oss-120b"
    assert told["runner_up_cost_usd"] == "0.0105"


def test_the_runner_up_is_the_next_that_was_eligible_even_where_it_would_not_be_tried() -> None:
    second = runner_up(decide(allow_fallbacks=False))
    assert second is not None
    assert (second.endpoint_id, cost_usd(second)) == (1, Decimal("0.0105"))


def test_with_one_eligible_endpoint_there_is_no_runner_up() -> None:
    assert runner_up(decide(only=("cheap",))) is None


def test_an_endpoint_that_left_the_catalog_keeps_its_number() -> None:
    told = explained(decide(), {})
    assert told["order"] == ["#2", "#1"]
    assert told["candidates"][0]["provider"] == ""


def many(count: int) -> Decision:
    candidates = tuple(
        Candidate(i, 450_000_000, 900.0, 40.0, 0.97, 100, float(i), 0.01, "", "é\r\n" * 20)
        for i in range(1, count + 1)
    )
    return Decision("mine", 3, "balanced", "m", candidates, (5, 7), 1)


@pytest.mark.parametrize("count", [0, 1, 20, 500])
def test_a_header_stays_short_and_says_how_many_candidates_it_leaves_out(count: int) -> None:
    text = header_text(many(count), {})
    told = json.loads(text)
    assert len(text) <= MAX_HEADER_BYTES
    assert text.isascii()
    assert b"\n" not in text
    assert len(told["candidates"]) + told["candidates_omitted"] == count


def test_what_was_to_be_tried_is_left_out_last() -> None:
    told = json.loads(header_text(many(500), {}))
    assert [one["endpoint_id"] for one in told["candidates"][:3]] == [5, 7, 1]


def test_a_figure_that_json_cannot_say_is_left_unsaid() -> None:
    odd = Candidate(1, 0, None, None, None, 0, float("inf"), 0.0)
    told = json.loads(header_text(Decision("p", 1, "balanced", "m", (odd,), (1,), 1), {}))
    assert told["candidates"][0]["score"] is None
