"""Lengths of answers, cached input and sound form: learned, shared, and read by plans."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from routing.core.catalog import Stats
from routing.core.health import REUSE_S
from routing.core.learning import Learning
from routing.core.moment import Moment
from routing.core.output_lengths import MOST_KNOWN, OutputLengths
from routing.core.plan import plan
from routing.core.policies import ServiceLevel
from routing.core.pricing import PriceSheet
from routing.core.request import DEFAULT_OUTPUT_TOKENS
from routing.core.usage import Usage, UsageSource
from routing.core.validity import reply_is_sound, tool_calls_are_sound
from tests.routing.factories import endpoint, facts, health, moment, policy, price, snapshot, stats

NOW = moment().monotonic_s


# --- lengths of answers ----------------------------------------------------------------------------


def noted(key_id: int, tokens: int, times: int, model: str = "m") -> OutputLengths:
    lengths = OutputLengths()
    for _ in range(times):
        lengths.note(key_id, model, tokens)
        lengths.settle()
    return lengths


def test_nothing_is_expected_of_a_model_that_never_answered() -> None:
    assert noted(1, 100, 5).expected(1, "other") == 0


def test_the_more_answers_the_nearer_to_their_mean() -> None:
    found = [noted(1, 4000, times).expected(1, "m") for times in (1, 5, 20, 80)]
    assert found == sorted(found)
    assert DEFAULT_OUTPUT_TOKENS < found[0] < 2500
    assert found[-1] == pytest.approx(4000, rel=0.1)


def test_each_key_has_its_own_and_a_new_one_begins_with_what_all_have() -> None:
    lengths = noted(1, 4000, 50)
    for _ in range(50):
        lengths.note(2, "m", 100)
        lengths.settle()
    long, short, new = (lengths.expected(key, "m") for key in (1, 2, 3))
    assert long > 3000
    assert short < 500
    assert short < new < long


def test_it_follows_a_change() -> None:
    lengths = noted(1, 4000, 500)
    for _ in range(150):
        lengths.note(1, "m", 100)
        lengths.settle()
    assert (lengths.expected(1, "m")) < 700


def test_what_comes_all_at_once_counts_as_what_comes_one_by_one() -> None:
    at_once = OutputLengths()
    for _ in range(30):
        at_once.note(1, "m", 700)
    assert at_once.expected(1, "m") == 0
    at_once.settle()
    assert at_once.expected(1, "m") == noted(1, 700, 30).expected(1, "m")


def test_what_is_told_adds_up_and_is_told_once() -> None:
    ours, theirs = noted(1, 200, 30), noted(1, 800, 30)
    told = theirs.tell()
    assert theirs.tell() == []
    ours.hear(told)
    assert ours.expected(1, "m") == pytest.approx(500, abs=15)
    assert [(one.answers, one.tokens) for one in ours.tell()] == [(30.0, 6000.0)]


def test_memory_of_lengths_is_bounded() -> None:
    lengths = OutputLengths()
    for key in range(1, MOST_KNOWN + 50):
        lengths.note(key, "m", 10)
        lengths.settle()
    assert len(lengths._known) <= MOST_KNOWN
    assert lengths.expected(MOST_KNOWN + 49, "m") == lengths.expected(MOST_KNOWN + 48, "m") > 0
    for key in range(MOST_KNOWN + 50):
        lengths.expected(key, "m")
    assert len(lengths._expected) <= MOST_KNOWN


# --- what an answer teaches ------------------------------------------------------------------------


def answered(learning: Learning, times: int, **usage: object) -> None:
    for _ in range(times):
        learning.on_answer(1, 3, facts(), Usage(**usage), NOW)  # type: ignore[arg-type]
        learning.settle(NOW)


def test_the_output_that_is_usual_for_the_key_is_expected() -> None:
    learning = Learning(health())
    asked = facts(output_tokens=DEFAULT_OUTPUT_TOKENS)
    assert learning.expected_output(asked, 3) == DEFAULT_OUTPUT_TOKENS
    answered(learning, 100, output_total=3000)
    assert learning.expected_output(asked, 3) == pytest.approx(3000, rel=0.1)


def test_the_client_s_own_cap_is_never_exceeded() -> None:
    learning = Learning(health())
    answered(learning, 100, output_total=3000)
    assert learning.expected_output(facts(max_output_tokens=100, output_tokens=100), 3) == 100


def test_our_own_estimates_teach_nothing() -> None:
    learning = Learning(health())
    answered(
        learning, 50, output_total=9000, cache_read=0, input_total=10, source=UsageSource.ESTIMATED
    )
    assert learning.expected_output(facts(), 3) == facts().output_tokens
    assert learning.tell(NOW) == b""


def test_only_chat_has_answers_of_a_length() -> None:
    learning = Learning(health())
    learning.on_answer(1, 3, facts(kind="embedding"), Usage(output_total=0, input_total=9), NOW)
    assert learning.tell(NOW) == b""
    answered(learning, 100, output_total=3000)
    asked = facts(kind="embedding")
    assert learning.expected_output(asked, 3) == asked.output_tokens


CACHING = msgspec.structs.replace(
    endpoint("caching", 1, ("1.00", "1.00"), stats=stats(400, 90)),
    prices=PriceSheet(
        [price("input", "1.00", 1), price("cache_read", "0.10", 2), price("output", "1.00", 3)]
    ),
)
PLAIN = endpoint("plain", 2, ("0.80", "1.00"), stats=stats(400, 90))
WORLD = snapshot(CACHING, PLAIN)


def test_measured_cache_reads_lower_the_expected_cost() -> None:
    learning = Learning(health())
    asked = facts(input_tokens=100_000, output_tokens=100)

    def cheapest(at: Moment) -> str:
        result = plan(asked, policy(objective="cheapest"), WORLD, learning.health, at, Random(1))
        return result.attempts[0].provider.slug

    assert cheapest(moment(NOW)) == "plain"
    answered(learning, 40, input_total=10_000, cache_read=7_000, output_total=10)
    assert cheapest(moment(NOW + REUSE_S)) == "caching"
    numbers = learning.health.numbers(CACHING, NOW + REUSE_S)
    assert numbers.cached_share == pytest.approx(0.7, abs=0.05)


def test_a_provider_that_does_not_say_teaches_nothing_of_caches() -> None:
    learning = Learning(health())
    answered(learning, 40, input_total=10_000, output_total=10)
    assert learning.health.numbers(CACHING, NOW).cached_share == 0.0


def test_all_of_it_is_told_to_the_other_processes() -> None:
    ours, theirs = Learning(health()), Learning(health())
    answered(theirs, 40, input_total=10_000, cache_read=7_000, output_total=3000)
    for _ in range(20):
        theirs.health.on_form(1, NOW, False)
    ours.hear(theirs.tell(NOW), 5000.0, age_s=1.0)
    numbers = ours.health.numbers(CACHING, 5000.0)
    assert numbers.cached_share == pytest.approx(0.7, abs=0.05)
    assert numbers.valid_rate < 0.3
    assert ours.expected_output(facts(), 3) == pytest.approx(3000, rel=0.15)


# --- form ------------------------------------------------------------------------------------------


def test_unsound_tool_calls_count_where_a_request_needs_tools_and_nowhere_else() -> None:
    book = health()
    good = endpoint("good", 1, stats=stats(400, 90))
    sloppy = endpoint("sloppy", 2, stats=stats(400, 90))
    for n in range(40):
        book.on_form(2, NOW, n % 3 > 0)
        book.on_form(1, NOW, True)

    def share(**wanted: object) -> float:
        result = plan(facts(**wanted), policy(), snapshot(good, sloppy), book, moment(), Random(1))
        return {one.endpoint_id: one.share for one in result.decision.candidates}[2]

    assert share() == pytest.approx(0.5, abs=0.02)
    assert share(needs=frozenset({"tools"})) < 0.12
    assert share(needs=frozenset({"vision"})) == pytest.approx(0.5, abs=0.02)


def test_what_the_rollups_say_of_form_is_where_a_new_process_begins() -> None:
    known = Stats(400, 800, 90, 1.0, 100, valid_share=0.25, valid_n=60, valid_weight=20.0)
    numbers = health().numbers(endpoint("sloppy", 1, stats=known), NOW)
    assert numbers.valid_rate == pytest.approx((5 + 20 * 0.25) / 25)
    assert numbers.valid_samples == 60


def test_a_service_level_of_success_holds_for_form_too() -> None:
    book = health()
    sloppy = endpoint("sloppy", 2, ("0.01", "0.01"), stats=stats(400, 90))
    rules = policy(objective="slo-cheapest", slo=ServiceLevel(success_rate=0.95))
    for _ in range(40):
        book.on_form(2, NOW, False)
    world = snapshot(endpoint("good", 1, stats=stats(400, 90)), sloppy)
    asked = facts(needs=frozenset({"structured_output"}))
    result = plan(asked, rules, world, book, moment(), Random(1))
    found = {one.endpoint_id: one for one in result.decision.candidates}
    assert result.attempts[0].provider.slug == "good"
    assert "success rate" in found[2].detail


SEARCH = {"type": "object", "properties": {"q": {}}, "required": ["q"]}


@pytest.mark.parametrize(
    ("calls", "is_sound"),
    [
        ([("search", '{"q": "x"}')], True),
        ([("search", b'{"q": null, "more": 1}'), ("ping", "")], True),
        ([], True),
        ([("search", '{"q": "x"')], False),
        ([("search", '{"p": "x"}')], False),
        ([("search", "[1]")], False),
        ([("search", "")], False),
        ([("find", '{"q": "x"}')], False),
        ([("ping", "{}"), ("search", "no")], False),
    ],
)
def test_a_tool_call_names_a_tool_and_gives_what_it_requires(
    calls: list[tuple[str, str]], is_sound: bool
) -> None:
    assert tool_calls_are_sound(calls, {"search": SEARCH, "ping": None}) is is_sound


@pytest.mark.parametrize(
    ("text", "schema", "is_sound"),
    [
        ('{"q": 1}', SEARCH, True),
        ('{"q": 1}', None, True),
        ("{}", SEARCH, False),
        ("```json\n{}\n```", None, False),
        ("[1, 2]", {"type": "array"}, True),
        ("[1, 2", {"type": "array"}, False),
        ("[1, 2]", None, False),
        ('{"q": 1}', {"type": "object", "required": "q"}, True),  # no schema of ours to judge by
    ],
)
def test_a_reply_that_was_to_be_json_is(
    text: str, schema: dict[str, object] | None, is_sound: bool
) -> None:
    assert reply_is_sound(text, schema) is is_sound
