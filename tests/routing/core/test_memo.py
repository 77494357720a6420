from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.breaker import PROBE_EVERY_S
from routing.core.catalog import EMPTY_POLICY, Endpoint, Policy, Snapshot
from routing.core.decision import Decision, Plan, to_json
from routing.core.errors import FailureClass
from routing.core.health import HealthBook
from routing.core.memo import REUSE_S, PlanMemo, rounded_up, step_below
from routing.core.plan import NoEndpointLeft, plan
from routing.core.pricing import PriceSheet
from routing.core.request import ProviderPreferences, RequestFacts
from tests.routing.factories import (
    LONG_AGO,
    NOON,
    endpoint,
    facts,
    health,
    model,
    moment,
    policy,
    price,
    snapshot,
    stats,
)

CHEAP = endpoint("cheap", 1, ("0.05", "0.20"), stats=stats(900, 40))
QUICK = endpoint("quick", 2, ("0.35", "0.75"), stats=stats(200, 1500))
EARLY = endpoint("early", 3, ("0.15", "0.60"), stats=stats(120, 350))
WORLD = snapshot(CHEAP, QUICK, EARLY)
ROUND = 1024  # tokens that no rounding changes


@dataclass
class Hub:
    """A memo in its world, asked at moments of its own clock."""

    world: Snapshot = WORLD
    rules: Policy = EMPTY_POLICY
    book: HealthBook = field(default_factory=health)
    memo: PlanMemo = field(default_factory=PlanMemo)
    rng: Random = field(default_factory=lambda: Random(5))
    now: float = 1000.0

    def plan(self, **wanted: object) -> Plan:
        return self.memo.plan(
            facts(**wanted), self.rules, self.world, self.book, moment(self.now), self.rng
        )

    def exactly(self, **wanted: object) -> Plan:
        return plan(facts(**wanted), self.rules, self.world, self.book, moment(self.now), self.rng)


def ids(result: Plan) -> list[int]:
    return [one.id for one in result.attempts]


def exclusions(decision: Decision | None) -> dict[int, tuple[str, str]]:
    assert decision is not None
    return {c.endpoint_id: (c.excluded, c.detail) for c in decision.candidates}


def shares(result: Plan) -> dict[int, float]:
    return {c.endpoint_id: c.share for c in result.decision.candidates}


@given(st.integers(0, 10**9))
def test_rounding_adds_at_most_an_eighth_and_has_no_gaps(tokens: int) -> None:
    up = rounded_up(tokens)
    assert tokens <= up <= tokens * 1.125
    assert rounded_up(up) == up
    if up:
        assert step_below(up) < tokens
        assert rounded_up(step_below(up)) < up == rounded_up(step_below(up) + 1)


def test_an_equal_question_is_not_worked_out_again() -> None:
    hub = Hub(rules=policy(objective="cheapest"))
    first = hub.plan(input_tokens=1000)
    assert hub.plan(input_tokens=1001) is first
    assert first.decision.input_tokens == 1024
    assert first.decision.output_tokens == 512
    hub.now += REUSE_S
    assert hub.plan(input_tokens=1000) is not first


@pytest.mark.parametrize(
    "other",
    [
        {"model": "meta-llama/Llama-3.3-70B-Instruct"},
        {"objective": "fastest"},
        {"pinned_provider": "early"},
        {"input_tokens": 2000},
        {"output_tokens": 1000},
        {"max_output_tokens": 400},
        {"needs": frozenset({"vision"})},
        {"service_tier": "flex"},
        {"fallback_models": ("meta-llama/Llama-3.3-70B-Instruct",)},
        {
            "parameters": frozenset({"seed"}),
            "preferences": ProviderPreferences(require_parameters=True),
        },
        {"preferences": ProviderPreferences(sort="latency")},
        {"preferences": ProviderPreferences(only=("early",))},
        {"preferences": ProviderPreferences(max_price_prompt="0.1")},
    ],
)
def test_another_question_gets_its_own_answer(other: dict[str, object]) -> None:
    blind = endpoint(
        "blind",
        4,
        ("0.01", "0.01"),
        capabilities=frozenset(),
        unsupported_parameters=frozenset({"seed"}),
        max_output_tokens=300,
    )
    llama = endpoint("llama", 9, of=model("meta-llama/Llama-3.3-70B-Instruct", 2))
    hub = Hub(snapshot(CHEAP, QUICK, EARLY, blind, llama), policy(objective="cheapest"))
    hub.plan()
    seen, expected = hub.plan(**other), hub.exactly(**other)
    assert ids(seen) == ids(expected)
    assert exclusions(seen.decision) == exclusions(expected.decision)


def test_two_policies_with_one_name_are_two_questions() -> None:
    hub = Hub(rules=policy(objective="cheapest"))
    assert ids(hub.plan())[0] == CHEAP.id
    hub.rules = policy(objective="fastest")
    assert ids(hub.plan())[0] == QUICK.id


def test_the_draw_is_new_each_time_and_the_shares_agree() -> None:
    hub = Hub()
    expected = shares(hub.exactly(input_tokens=ROUND, output_tokens=512))
    n = 6000
    plans = [hub.plan(input_tokens=ROUND, output_tokens=512) for _ in range(n)]
    firsts = Counter(ids(one)[0] for one in plans)
    for endpoint_id, share in expected.items():
        assert firsts[endpoint_id] / n == pytest.approx(share, abs=0.025)
    pairs = Counter(tuple(ids(one)[:2]) for one in plans)
    for (first, second), count in pairs.items():
        share = expected[first] * expected[second] / (1 - expected[first])
        assert count / n == pytest.approx(share, abs=0.025)
    assert all(sorted(ids(one)) == [1, 2, 3] for one in plans)


def test_an_opening_breaker_takes_effect_on_the_very_next_plan() -> None:
    hub = Hub(rules=policy(objective="fastest"))
    assert ids(hub.plan())[0] == QUICK.id
    for _ in range(5):
        hub.book.on_failure(QUICK.id, hub.now, FailureClass.TRANSIENT, None)
    assert QUICK.id not in ids(hub.plan())


def test_a_cool_down_takes_effect_at_once_and_ends_on_time() -> None:
    hub = Hub(rules=policy(objective="fastest"))
    hub.plan()
    hub.book.on_failure(QUICK.id, hub.now, FailureClass.CAPACITY, 10.0)
    assert QUICK.id not in ids(hub.plan())
    hub.now += 9.9
    assert QUICK.id not in ids(hub.plan())
    hub.now = 1010.0
    assert ids(hub.plan())[0] == QUICK.id


def test_another_snapshot_takes_effect_at_once() -> None:
    hub = Hub()
    hub.plan()
    hub.world = snapshot(EARLY)
    assert ids(hub.plan()) == [EARLY.id]


def test_a_half_open_breaker_lets_one_through() -> None:
    hub = Hub(rules=policy(objective="fastest"))
    for _ in range(5):
        hub.book.on_failure(QUICK.id, hub.now, FailureClass.TRANSIENT, None)
    hub.plan()
    hub.now = hub.book.of(QUICK.id).breaker.open_until
    assert ids(hub.plan())[0] == QUICK.id
    hub.book.on_start(QUICK.id, hub.now)
    assert QUICK.id not in ids(hub.plan())
    hub.book.on_success(QUICK.id, hub.now, 200.0, 1000.0)
    assert QUICK.id not in ids(hub.plan())
    hub.now += PROBE_EVERY_S
    assert ids(hub.plan())[0] == QUICK.id
    hub.book.on_start(QUICK.id, hub.now)
    assert QUICK.id not in ids(hub.plan())
    hub.now += 15.1  # the second try never ended
    assert ids(hub.plan())[0] == QUICK.id


@pytest.mark.parametrize("tokens", [100_001, 106_400, 106_401, 106_496])
def test_near_a_context_window_it_plans_exactly(tokens: int) -> None:
    small = endpoint("small", 4, ("0.01", "0.01"), context_window=106_400)
    hub = Hub(snapshot(CHEAP, small), policy(objective="cheapest"))
    hub.plan(input_tokens=98_305)
    seen = hub.plan(input_tokens=tokens)
    assert ids(seen) == ids(hub.exactly(input_tokens=tokens))
    assert seen.decision.input_tokens == tokens


@pytest.mark.parametrize("tokens", [199_999, 200_000, 200_001])
def test_near_a_price_tier_it_plans_exactly(tokens: int) -> None:
    rows = [
        price("input", "0.01", 1),
        price("output", "0.01", 2),
        price("input", "9", 3, min_input_tokens=200_000),
    ]
    tiered = msgspec.structs.replace(
        endpoint("tiered", 4), prices=PriceSheet(rows), context_window=None
    )
    wide = msgspec.structs.replace(CHEAP, context_window=None)
    hub = Hub(snapshot(wide, tiered), policy(objective="cheapest"))
    hub.plan(input_tokens=196_609)
    expected = [tiered.id, wide.id] if tokens < 200_000 else [wide.id, tiered.id]
    assert ids(hub.plan(input_tokens=tokens)) == expected


def test_a_price_that_depends_on_the_hour_is_looked_up_each_time() -> None:
    rows = [
        price("input", "0.01", 1, utc_from_minute=0, utc_until_minute=12 * 60),
        price("input", "9", 3),
        price("output", "0.1", 2),
    ]
    nightly = msgspec.structs.replace(endpoint("nightly", 4), prices=PriceSheet(rows))
    world, rules, book = snapshot(CHEAP, nightly), policy(objective="cheapest"), health()
    memo, rng = PlanMemo(), Random(1)
    before = moment(1000.0, NOON.replace(hour=11, minute=59))
    first = memo.plan(facts(), rules, world, book, before, rng)
    second = memo.plan(facts(), rules, world, book, moment(1000.1, NOON), rng)
    assert [ids(first)[0], ids(second)[0]] == [nightly.id, CHEAP.id]


def test_it_forgets_rather_than_grow() -> None:
    hub = Hub()
    for tokens in range(1, 3000):
        hub.plan(max_output_tokens=tokens)
    assert len(hub.memo._known) <= 512


def test_a_refusal_is_the_same_as_without_memory() -> None:
    hub = Hub(snapshot(endpoint("x", 1, credentials=())))
    for _ in range(2):
        with pytest.raises(NoEndpointLeft) as caught:
            hub.plan()
        assert exclusions(caught.value.decision)[1][0] == "no_credential"


def test_the_record_is_the_decision_as_json() -> None:
    hub = Hub()
    results = [hub.plan() for _ in range(20)] + [hub.exactly() for _ in range(20)]
    assert len({one.record for one in results}) > 2
    for one in results:
        assert one.record == to_json(one.decision) == msgspec.json.encode(one.decision)
        assert msgspec.json.decode(one.record, type=Decision) == one.decision


# --- any world ------------------------------------------------------------------------------------

NAMES = ("a", "b", "c", "d", "e")
OBJECTIVES = st.sampled_from(["balanced", "cheapest", "fastest", "lowest-latency", "ordered"])
SLUGS = st.lists(st.sampled_from(NAMES), max_size=3, unique=True).map(tuple)
USD = st.integers(1, 400).map(lambda cents: f"{cents / 100:.2f}")


@st.composite
def endpoints(draw: st.DrawFn, number: int) -> Endpoint:
    measured = st.builds(stats, st.integers(50, 3000), st.integers(10, 900), st.floats(0.4, 1.0))
    more: dict[str, object] = {
        "context_window": draw(st.sampled_from([None, 1100, 8192, 131072])),
        "max_output_tokens": draw(st.sampled_from([None, 256, 4096])),
        "credentials": endpoint(NAMES[number], number).credentials
        if draw(st.integers(0, 9))
        else (),
    }
    if draw(st.booleans()):
        more["stats"] = draw(measured)
    one = endpoint(NAMES[number], number, (draw(USD), draw(USD)), **more)  # type: ignore[arg-type]
    if draw(st.integers(0, 3)):
        return one
    tier = price("input", draw(USD), 90, effective_from=LONG_AGO, min_input_tokens=1000)
    return msgspec.structs.replace(one, prices=PriceSheet([*one.prices.rows, tier]))


@st.composite
def questions(draw: st.DrawFn) -> dict[str, object]:
    wanted: dict[str, object] = {
        "input_tokens": draw(st.integers(0, 3000)),
        "output_tokens": draw(st.integers(1, 2000)),
        "max_output_tokens": draw(st.sampled_from([None, 100, 257, 5000])),
        "pinned_provider": draw(st.sampled_from(["", "", "", "b"])),
    }
    if draw(st.booleans()):
        wanted["preferences"] = ProviderPreferences(
            order=draw(SLUGS),
            only=draw(SLUGS),
            ignore=draw(SLUGS),
            allow_fallbacks=draw(st.sampled_from([None, True, False])),
            preferred_max_latency=draw(st.sampled_from([None, 0.5])),
            max_price_prompt=draw(st.sampled_from([None, "2.5"])),
        )
    return wanted


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["start", "ok", "fail", "fail", "429", "client"]),
        st.integers(0, 4),
        st.sampled_from([0.0, 0.01, 0.1, 4.0, 16.0]),
    ),
    max_size=30,
)


def happen(book: HealthBook, kind: str, endpoint_id: int, now: float) -> None:
    if kind == "start":
        book.on_start(endpoint_id, now)
    elif kind == "ok":
        book.on_success(endpoint_id, now, None, None)
    else:
        failure = {
            "fail": FailureClass.TRANSIENT,
            "429": FailureClass.CAPACITY,
            "client": FailureClass.CLIENT,
        }
        book.on_failure(endpoint_id, now, failure[kind], 3.0)


def outcome(ask: object, wanted: RequestFacts, hub: Hub) -> tuple[object, Plan | None]:
    """What may be tried and what not, or the refusal's status."""
    try:
        result: Plan = ask(  # type: ignore[operator]
            wanted, hub.rules, hub.world, hub.book, moment(hub.now), hub.rng
        )
    except NoEndpointLeft as error:
        return (error.status, codes(error.decision)), None
    return codes(result.decision), result


def codes(decision: Decision | None) -> list[tuple[int, str]]:
    assert decision is not None
    return [(c.endpoint_id, c.excluded) for c in decision.candidates]


@settings(max_examples=150, deadline=None)
@given(st.data(), OBJECTIVES, SLUGS, EVENTS, st.lists(questions(), min_size=1, max_size=3))
def test_it_decides_as_an_exact_plan_would(
    data: st.DataObject,
    objective: str,
    order: tuple[str, ...],
    events: list[tuple[str, int, float]],
    asked: list[dict[str, object]],
) -> None:
    world = snapshot(*[data.draw(endpoints(number)) for number in range(5)])
    hub = Hub(world, policy(objective=objective, order=order, max_attempts=5))
    for kind, endpoint_id, step_s in [("client", 0, 0.0), *events]:
        hub.now += step_s
        happen(hub.book, kind, endpoint_id, hub.now)
        for wanted in asked:
            exact = facts(**wanted)
            rounded = facts(
                **{
                    **wanted,
                    "input_tokens": rounded_up(exact.input_tokens),
                    "output_tokens": rounded_up(exact.output_tokens),
                }
            )
            seen, result = outcome(hub.memo.plan, exact, hub)
            assert seen == outcome(plan, exact, hub)[0]
            if result is None or objective == "balanced":
                continue
            planned_for = result.decision.input_tokens, result.decision.output_tokens
            same = exact if planned_for == (exact.input_tokens, exact.output_tokens) else rounded
            _, expected = outcome(plan, same, hub)
            assert expected is not None
            assert ids(result) == ids(expected)
