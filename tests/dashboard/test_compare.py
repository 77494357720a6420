"""Comparisons: one address, honest words."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from decimal import Decimal

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from analytics.queries.types import Measurement, Quantile
from dashboard import comparison, verdict
from dashboard.comparison import Interval, Kind, SharedModel, Subject
from tests.dashboard.conftest import Enter
from tests.dashboard.world import World


def verdict_of(page: str) -> str:
    found = re.search(r'aria-label="In one sentence"><p>(.*?)</p>', page, re.DOTALL)
    assert found
    return html.unescape(found[1])


@pytest.mark.parametrize(
    ("asked", "address"),
    [
        ("together-vs-groq", "groq-vs-together"),
        ("GROQ-vs-together", "groq-vs-together"),
        ("together-vs-novita-vs-groq", "groq-vs-novita-vs-together"),
        (
            "together~openai-gpt-oss-120b-vs-groq~openai-gpt-oss-120b",
            "groq~openai-gpt-oss-120b-vs-together~openai-gpt-oss-120b",
        ),
    ],
)
def test_the_order_of_subjects_makes_no_new_address(
    owner: Client, asked: str, address: str
) -> None:
    answer = owner.get(f"/compare/{asked}/?period=24h")
    assert answer.status_code == 301
    assert answer["Location"] == f"/compare/{address}/?period=24h"


def test_providers_are_compared_on_the_models_they_share(owner: Client) -> None:
    page = owner.get("/compare/groq-vs-together/").content.decode()
    sentence = verdict_of(page)
    assert sentence.startswith("Of 2 models in common, Groq is cheapest on 1 and 1 costs the same")
    assert "Models in common" in page
    assert 'id="price-head"' not in page


def test_a_single_model_in_common_is_spoken_of_as_one() -> None:
    rows = [SharedModel("m", "acme/m", (None, None), place, ("a", "b")) for place in (1, None)]
    pair = [replace(subject(name, None), kind=Kind.PROVIDER) for name in "AB"]
    told = [verdict.of(pair, [row], "").sentence for row in rows]
    assert told[0].startswith("The only model in common is cheapest at B;")
    assert told[1].startswith("The only model in common has no cheapest provider;")


def test_endpoints_of_one_model_go_by_their_providers(owner: Client) -> None:
    address = "/compare/groq~openai-gpt-oss-120b-vs-novita~openai-gpt-oss-120b/"
    page = owner.get(address).content.decode()
    assert "<title>Groq vs Novita · Panelboard</title>" in page
    sentence = verdict_of(page)
    assert "Novita is cheapest ($0.10 blended, 62% below Groq)" in sentence
    assert "Groq answers sooner than Novita" in sentence


def test_models_are_compared_at_their_cheapest(owner: Client) -> None:
    address = "/compare/meta-llama-llama-3-3-70b-instruct-vs-openai-gpt-oss-120b/"
    sentence = verdict_of(owner.get(address).content.decode())
    assert sentence.startswith("openai/gpt-oss-120b is cheapest at its cheapest endpoint")


def test_subjects_of_different_kinds_say_what_can_be_said(owner: Client) -> None:
    page = owner.get("/compare/groq-vs-openai-gpt-oss-120b/").content.decode()
    assert "These are of different kinds" in page
    assert "not like for like" in verdict_of(page)


def test_nothing_measured_is_an_honest_page(empty_hub: World, enter: Enter) -> None:
    page = enter(empty_hub.owner).get("/compare/groq-vs-together/").content.decode()
    assert "too little was measured to compare anything but prices" in verdict_of(page)
    assert "Nothing was measured for any of them" in page
    assert "w-dot" not in page


def test_providers_without_a_common_model_are_not_priced_against_each_other(
    owner: Client,
) -> None:
    sentence = verdict_of(owner.get("/compare/groq-vs-quiet/").content.decode())
    assert sentence.startswith("They serve no model in common")


@pytest.mark.parametrize(
    ("subjects", "words"),
    [
        ("groq-vs-togehter", "Did you mean together"),
        ("groq", "Choose 2 to 4 different subjects"),
        ("groq-vs-groq", "Choose 2 to 4 different subjects"),
        ("groq-vs-together-vs-novita-vs-quiet-vs-openai-gpt-oss-120b", "Choose 2 to 4"),
    ],
)
def test_what_cannot_be_compared_says_why(owner: Client, subjects: str, words: str) -> None:
    answer = owner.get(f"/compare/{subjects}/")
    assert answer.status_code == 404
    assert words in answer.content.decode()


def test_the_picker_leads_to_the_one_address(owner: Client) -> None:
    answer = owner.get("/compare/?s=together&s=groq&s=&s=")
    assert answer["Location"] == "/compare/groq-vs-together/"


def test_the_picker_begins_with_one_subject_without_complaint(owner: Client) -> None:
    answer = owner.get("/compare/?edit=1&s=groq")
    assert answer.status_code == 200
    page = answer.content.decode()
    assert 'value="groq" autocomplete' in page
    assert 'role="alert"' not in page


def test_the_picker_keeps_what_was_typed_when_it_is_wrong(owner: Client) -> None:
    answer = owner.get("/compare/?s=together&s=grok")
    assert answer.status_code == 400
    page = answer.content.decode()
    assert 'value="grok"' in page
    assert "Did you mean groq" in page


def test_a_comparison_can_be_edited(owner: Client) -> None:
    page = owner.get("/compare/groq-vs-together/").content.decode()
    edit = html.unescape(re.search(r'href="(/compare/\?edit=[^"]+)"', page)[1])  # type: ignore[index]
    picker = owner.get(edit)
    assert picker.status_code == 200
    assert 'value="groq"' in picker.content.decode()


def test_own_providers_are_suggested_first(owner: Client) -> None:
    page = owner.get("/compare/").content.decode()
    assert "your providers" in page
    assert page.index("your providers") < page.index("gpt-oss 120B")


# --- the rules, without a page -----------------------------------------------------------------------

intervals = st.builds(
    lambda low, a, b: Interval(low + a, low, low + a + b),
    st.floats(0, 1e5),
    st.floats(0, 1e4),
    st.floats(0, 1e4),
)
named = st.dictionaries(st.sampled_from("ABCD"), st.none() | intervals, min_size=2, max_size=4)


@given(named, st.booleans())
def test_a_leader_lies_beyond_every_other_interval(
    found: dict[str, Interval | None], lower_is_better: bool
) -> None:
    finding = comparison.separate(found, lower_is_better)
    known = {name: one for name, one in found.items() if one is not None}
    apart = [
        name
        for name, one in known.items()
        if all(
            (one.high < rival.low if lower_is_better else one.low > rival.high)
            for other, rival in known.items()
            if other != name
        )
    ]
    expected = apart[0] if apart and len(known) >= 2 else ""
    assert finding.leader == expected
    assert set(finding.missing) == set(found) - set(known)


@given(named, st.booleans())
def test_the_best_group_holds_every_interval_that_reaches_the_best(
    found: dict[str, Interval | None], lower_is_better: bool
) -> None:
    by_id = {ord(name): one for name, one in found.items()}
    group = comparison.best_group(by_id, lower_is_better)
    known = {key: one for key, one in by_id.items() if one is not None}
    if len(known) < 2:
        assert group == frozenset()
        return
    assert group
    for key, one in known.items():
        beaten = any(
            (rival.high < one.low if lower_is_better else rival.low > one.high)
            for rival in known.values()
        )
        assert (key in group) == (not beaten)


def subject(name: str, ttft: Quantile | None) -> Subject:
    measured = Measurement(
        n=100 if ttft else 0,
        ok=100,
        success=None,
        ttft_p50=ttft,
        ttft_p95=None,
        speed_p50=None,
        e2e_p50=None,
        censored_share=None,
        simulated=False,
        last_at=None,
    )
    return Subject(Kind.MODEL, 1, name.lower(), name, "", "", False, (), measured)


def test_overlapping_intervals_crown_nobody() -> None:
    near = [subject("A", Quantile(100, 90, 120, 99)), subject("B", Quantile(110, 95, 130, 99))]
    told = verdict.of(near, [], "the last 7 days")
    assert told.leaders == frozenset()
    assert "TTFT cannot be separated" in told.sentence
    assert "sooner" not in told.sentence


def test_a_figure_without_an_interval_separates_nothing() -> None:
    few = [subject("A", Quantile(100, None, None, 3)), subject("B", Quantile(900, 800, 950, 99))]
    told = verdict.of(few, [], "the last 7 days")
    assert told.leaders == frozenset()
    assert "too little was measured" in told.sentence


def test_a_verdict_says_under_which_conditions_it_holds() -> None:
    told = verdict.of([subject("A", None), subject("B", None)], [], "the last 24 hours")
    assert "the last 24 hours" in told.conditions
    assert "attempts: A 0, B 0" in told.conditions


@pytest.mark.parametrize(
    ("prices", "place"),
    [
        (["1", "2"], 0),
        (["2", "1", "3"], 1),
        (["1", "1"], None),
        (["1", None], None),
    ],
)
def test_lowest_is_said_of_one_alone(prices: list[str | None], place: int | None) -> None:
    assert comparison.only_cheapest([Decimal(p) if p else None for p in prices]) == place


def test_nobody_leads_whom_a_bare_figure_outdoes() -> None:
    """A rival that was measured twice, and looks far better, is no reason to name a winner."""
    sure = [subject("A", Quantile(100, 90, 120, 99)), subject("B", Quantile(900, 800, 950, 99))]
    quick, slow = Quantile(20, None, None, 2), Quantile(2000, None, None, 2)
    assert verdict.of([*sure, subject("C", slow)], [], "").leaders == {"A"}
    told = verdict.of([*sure, subject("C", quick)], [], "")
    assert told.leaders == frozenset()
    assert "too little was measured" in told.sentence
