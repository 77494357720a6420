from __future__ import annotations

import datetime as dt
from collections import Counter
from decimal import Decimal
from random import Random

import msgspec
import pytest

from routing.core.catalog import EMPTY_POLICY, DataPolicy, Endpoint, Policy
from routing.core.decision import Exclusion, Plan
from routing.core.errors import FailureClass
from routing.core.health import HealthBook
from routing.core.memo import PlanMemo
from routing.core.moment import Moment
from routing.core.plan import NoEndpointLeft, plan
from routing.core.policies import (
    Canary,
    Match,
    PolicyDocument,
    Rule,
    ServiceLevel,
    Shadow,
    holds,
    merged,
)
from routing.core.pricing import PriceSheet
from routing.core.request import ProviderPreferences
from routing.core.shadow import SpendCap, mirrored_to
from tests.routing.factories import (
    MODEL,
    NOON,
    endpoint,
    facts,
    health,
    model,
    moment,
    policy,
    price,
    provider,
    snapshot,
    stats,
)

CHEAP = endpoint("cheap", 1, ("0.05", "0.20"), stats=stats(900, 40))
QUICK = endpoint("quick", 2, ("0.35", "0.75"), stats=stats(200, 1500))
EARLY = endpoint("early", 3, ("0.15", "0.60"), stats=stats(120, 350))
WORLD = snapshot(CHEAP, QUICK, EARLY)


def planned(
    world=WORLD,
    rules: Policy = EMPTY_POLICY,
    book: HealthBook | None = None,
    seed: int = 1,
    at: Moment | None = None,
    **wanted: object,
) -> Plan:
    return plan(facts(**wanted), rules, world, book or health(), at or moment(), Random(seed))


def slugs(result: Plan) -> list[str]:
    return [one.provider.slug for one in result.attempts]


def codes(result: Plan) -> dict[str, str]:
    by_id = {1: "cheap", 2: "quick", 3: "early"}
    return {by_id[c.endpoint_id]: c.excluded for c in result.decision.candidates}


def refused(*endpoints: Endpoint, rules: Policy = EMPTY_POLICY, **wanted: object) -> set[str]:
    with pytest.raises(NoEndpointLeft) as caught:
        planned(snapshot(*endpoints), rules, **wanted)
    assert caught.value.decision is not None
    return {c.excluded for c in caught.value.decision.candidates}


# --- rules ----------------------------------------------------------------------------------------

MONDAY_NOON = NOON


@pytest.mark.parametrize(
    ("when", "wanted", "expected"),
    [
        (Match(), {}, True),
        (Match(models=(MODEL,)), {}, True),
        (Match(models=("openai/*",)), {}, True),
        (Match(models=("meta-llama/*", "openai/gpt-oss-20b")), {}, False),
        (Match(tags=("batch", "night")), {"tags": frozenset({"night", "x"})}, True),
        (Match(tags=("batch",)), {}, False),
        (Match(needs=("vision",)), {"needs": frozenset({"vision", "tools"})}, True),
        (Match(needs=("vision",)), {"needs": frozenset({"tools"})}, False),
        (Match(input_tokens_from=1000), {"input_tokens": 1000}, True),
        (Match(input_tokens_from=1001), {"input_tokens": 1000}, False),
        (Match(input_tokens_until=1000), {"input_tokens": 1000}, False),
        (Match(input_tokens_until=1001), {"input_tokens": 1000}, True),
        (Match(stream=True), {"stream": True}, True),
        (Match(stream=False), {"stream": True}, False),
        (Match(weekdays=("mon",)), {}, True),
        (Match(weekdays=("tue", "sun")), {}, False),
        (Match(models=(MODEL,), stream=True), {"stream": False}, False),
    ],
)
def test_a_rule_holds_when_all_of_its_conditions_do(
    when: Match, wanted: dict[str, object], expected: bool
) -> None:
    assert holds(when, facts(**wanted), MONDAY_NOON) is expected


@pytest.mark.parametrize(
    ("start", "end", "inside", "outside"),
    [
        ("08:00", "12:01", ["08:00", "12:00"], ["07:59", "12:01"]),
        ("22:00", "06:00", ["22:00", "23:59", "00:00", "05:59"], ["06:00", "21:59"]),
        ("18:30", "", ["18:30", "23:59"], ["00:00", "18:29"]),
        ("", "06:00", ["00:00", "05:59"], ["06:00", "23:59"]),
    ],
)
def test_a_time_window_is_half_open_and_may_wrap_midnight(
    start: str, end: str, inside: list[str], outside: list[str]
) -> None:
    when = Match(utc_from=start, utc_until=end)

    def at(clock: str) -> bool:
        utc = dt.datetime.combine(NOON.date(), dt.time.fromisoformat(clock), dt.UTC)
        return holds(when, facts(), utc)

    assert all(map(at, inside))
    assert not any(map(at, outside))


BY_SIZE = policy(
    objective="fastest",
    ignore=("early",),
    rules=(
        Rule(Match(input_tokens_from=5000), {"objective": "cheapest"}, "long"),
        Rule(Match(needs=("vision",)), {"only": ["quick"], "max_attempts": 1}),
        Rule(Match(input_tokens_from=100), {"objective": "lowest-latency", "ignore": []}),
    ),
)


def test_the_first_rule_that_holds_changes_what_it_names_and_keeps_the_rest() -> None:
    long = planned(rules=BY_SIZE, input_tokens=6000, needs=frozenset({"vision"}))
    assert slugs(long) == ["cheap", "quick"]
    assert long.decision.rule == "long"
    seeing = planned(rules=BY_SIZE, input_tokens=50, needs=frozenset({"vision"}))
    assert slugs(seeing) == ["quick"]
    assert (seeing.max_attempts, long.max_attempts) == (1, 3)
    assert seeing.decision.rule == "rule 2"
    assert slugs(planned(rules=BY_SIZE, input_tokens=100)) == ["early", "quick", "cheap"]
    short = planned(rules=BY_SIZE, input_tokens=99)
    assert slugs(short) == ["quick", "cheap"]
    assert short.decision.rule == ""


def test_a_remembered_plan_follows_the_rules_of_each_request() -> None:
    memo, book, rng = PlanMemo(), health(), Random(1)
    for tokens in (4999, 5000, 4999, 99, 100):
        wanted = facts(input_tokens=tokens)
        seen = memo.plan(wanted, BY_SIZE, WORLD, book, moment(), rng)
        assert slugs(seen) == slugs(planned(rules=BY_SIZE, input_tokens=tokens))
    nightly = policy(
        objective="fastest",
        rules=(Rule(Match(utc_from="12:00", utc_until="13:00"), {"objective": "cheapest"}),),
    )
    firsts = [
        slugs(memo.plan(facts(), nightly, WORLD, book, moment(1000.0, utc), rng))[0]
        for utc in (NOON - dt.timedelta(milliseconds=1), NOON, NOON + dt.timedelta(hours=1))
    ]
    assert firsts == ["quick", "cheap", "quick"]


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ({"objektive": "cheapest"}, "objektive"),
        ({"max_attempts": "three"}, "int"),
        ({"rules": []}, "cannot change rules"),
    ],
)
def test_a_rule_that_changes_no_setting_is_refused(then: dict[str, object], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        merged(PolicyDocument(), Rule(Match(), then))


# --- service levels -------------------------------------------------------------------------------


def test_slo_cheapest_takes_the_cheapest_of_those_that_keep_the_level() -> None:
    rules = policy(objective="slo-cheapest", slo=ServiceLevel(ttft_p95_ms=800))
    result = planned(rules=rules)
    assert slugs(result) == ["early", "quick", "cheap"]
    detail = {c.endpoint_id: c.detail for c in result.decision.candidates}
    assert detail[CHEAP.id].startswith("p95 TTFT ms")
    assert detail[QUICK.id] == detail[EARLY.id] == ""
    assert slugs(planned(rules=policy(objective="slo-cheapest")))[0] == "cheap"


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (ServiceLevel(speed_p50_tps=1000), ["quick", "early", "cheap"]),
        (ServiceLevel(speed_p50_tps=9000), ["quick", "early", "cheap"]),
        (ServiceLevel(success_rate=0.99), ["early", "quick", "cheap"]),
        (ServiceLevel(ttft_p95_ms=100), ["early", "quick", "cheap"]),
    ],
)
def test_those_that_miss_the_level_follow_the_nearest_first(
    level: ServiceLevel, expected: list[str]
) -> None:
    flaky = endpoint("cheap", 1, ("0.05", "0.20"), stats=stats(900, 40, success=0.98))
    rules = policy(objective="slo-cheapest", slo=level)
    assert slugs(planned(snapshot(flaky, QUICK, EARLY), rules)) == expected


def test_an_unmeasured_endpoint_is_not_taken_to_keep_a_level() -> None:
    unknown = endpoint("cheap", 1, ("0.01", "0.01"))
    rules = policy(objective="slo-cheapest", slo=ServiceLevel(ttft_p95_ms=5000))
    result = planned(snapshot(unknown, QUICK), rules)
    assert slugs(result) == ["quick", "cheap"]
    assert result.decision.candidates[0].detail == "p95 TTFT ms not measured"


def test_a_p95_follows_live_traffic() -> None:
    book, draw = HealthBook(Random(1)), Random(2)
    one = endpoint("a", 1)
    for i in range(3000):
        book.on_success(1, i * 0.01, draw.lognormvariate(5.0, 0.8), None)
    numbers = book.numbers(one, 30.0)
    assert numbers.ttft_ms_at(50) == pytest.approx(148.4, rel=0.08)
    assert numbers.ttft_ms_at(95) == pytest.approx(553.3, rel=0.12)
    assert numbers.speed_tps_at(95) is None


def test_a_p95_of_the_rollups_is_kept_where_nothing_is_live() -> None:
    one = endpoint("a", 1, stats=stats(1000, 50, n=1000))  # whose p95 is twice the median
    p95 = HealthBook(Random(1)).numbers(one, 0.0).ttft_ms_at(95)
    assert p95 == pytest.approx(2000, rel=0.05)


# --- canary, weights, stable draws ----------------------------------------------------------------


def first_shares(rules: Policy, n: int = 2000, world=WORLD, **wanted: object) -> dict[str, float]:
    rng, book = Random(3), health()
    firsts = Counter(
        slugs(plan(facts(**wanted), rules, world, book, moment(), rng))[0] for _ in range(n)
    )
    return {slug: count / n for slug, count in firsts.items()}


@pytest.mark.parametrize("objective", ["cheapest", "balanced"])
def test_a_canary_gets_its_share_first_and_is_last_otherwise(objective: str) -> None:
    rules = policy(objective=objective, canary=Canary("quick", 0.1))
    seen = first_shares(rules)
    assert seen["quick"] == pytest.approx(0.1, abs=0.025)
    noted = {c.endpoint_id: c.share for c in planned(rules=rules).decision.candidates}
    assert noted[QUICK.id] == pytest.approx(0.1)
    assert sum(noted.values()) == pytest.approx(1.0)
    for slug, one in (("cheap", CHEAP), ("early", EARLY)):
        assert seen.get(slug, 0.0) == pytest.approx(noted[one.id], abs=0.04)
    lasts = {tuple(slugs(planned(rules=rules, seed=seed))) for seed in range(200)}
    assert all(order[0] == "quick" or order[-1] == "quick" for order in lasts)


def test_a_canary_is_not_for_requests_that_say_whom_they_want() -> None:
    rules = policy(objective="cheapest", canary=Canary("quick", 1.0))
    assert slugs(planned(rules=rules))[0] == "quick"
    assert slugs(planned(rules=rules, objective="lowest-latency"))[0] == "early"
    wanted = ProviderPreferences(order=("early",))
    assert slugs(planned(rules=rules, preferences=wanted))[0] == "early"


def test_a_canary_that_is_braked_takes_nothing() -> None:
    book = health()
    book.on_failure(QUICK.id, 1000.0, FailureClass.CAPACITY, 30.0)
    rules = policy(objective="cheapest", canary=Canary("quick", 1.0))
    assert slugs(planned(rules=rules, book=book)) == ["cheap", "early"]


STABLE = policy(objective="weighted", weights={"cheap": 6, "quick": 3, "early": 1}, stable_by="key")


def firsts_by_key(rules: Policy, world=WORLD, book: HealthBook | None = None) -> dict[int, str]:
    rng, health_book = Random(9), book or health()
    return {
        key: slugs(plan(facts(key_id=key), rules, world, health_book, moment(), rng))[0]
        for key in range(1, 1501)
    }


def test_a_stable_draw_is_the_same_each_time_and_keeps_the_shares() -> None:
    once, again = firsts_by_key(STABLE), firsts_by_key(STABLE)
    assert once == again
    counts = Counter(once.values())
    assert counts["cheap"] / 1500 == pytest.approx(0.6, abs=0.05)
    assert counts["quick"] / 1500 == pytest.approx(0.3, abs=0.05)
    orders = {tuple(slugs(planned(rules=STABLE, key_id=5, seed=seed))) for seed in range(20)}
    assert len(orders) == 1


def test_an_endpoint_that_goes_away_moves_only_those_that_were_on_it() -> None:
    before = firsts_by_key(STABLE)
    book = health()
    book.on_failure(QUICK.id, 1000.0, FailureClass.CAPACITY, 30.0)
    after = firsts_by_key(STABLE, book=book)
    assert {k for k in before if before[k] != after[k]} == {
        k for k, slug in before.items() if slug == "quick"
    }


def test_a_growing_canary_keeps_those_it_has() -> None:
    small = policy(objective="cheapest", canary=Canary("quick", 0.05), stable_by="key")
    large = policy(objective="cheapest", canary=Canary("quick", 0.25), stable_by="key")
    had = {k for k, slug in firsts_by_key(small).items() if slug == "quick"}
    has = {k for k, slug in firsts_by_key(large).items() if slug == "quick"}
    assert had < has
    assert len(has) / 1500 == pytest.approx(0.25, abs=0.04)


def test_a_draw_is_stable_by_conversation_within_a_key() -> None:
    rules = policy(stable_by="conversation")
    memo, book, rng = PlanMemo(), health(), Random(1)

    def order(**wanted: object) -> tuple[str, ...]:
        return tuple(slugs(memo.plan(facts(**wanted), rules, WORLD, book, moment(), rng)))

    assert len({order(key_id=1, conversation="a") for _ in range(50)}) == 1
    assert len({order(key_id=1, conversation=str(i)) for i in range(200)}) > 2
    assert len({order(key_id=i, conversation="a") for i in range(1, 200)}) > 2
    assert len({order(key_id=1) for _ in range(200)}) > 2  # nothing to know a conversation by


# --- filters --------------------------------------------------------------------------------------


def kept(promised: DataPolicy, **wanted: object) -> set[str]:
    home = provider("x", 1, data_policy=promised)
    try:
        planned(snapshot(endpoint("x", 1, at=home)), **wanted)
    except NoEndpointLeft as error:
        decision = error.decision
        assert decision is not None
        return {decision.candidates[0].excluded}
    return {""}


DENY = {"preferences": ProviderPreferences(data_collection="deny")}
ZDR = {"preferences": ProviderPreferences(zdr=True)}


@pytest.mark.parametrize(
    ("promised", "denied", "kept_at_all"),
    [
        (DataPolicy(), True, True),
        (DataPolicy(trains_on_prompts=False), False, True),
        (DataPolicy(trains_on_prompts=True, retention_days=0), True, False),
        (DataPolicy(trains_on_prompts=False, retention_days=30), False, True),
        (DataPolicy(trains_on_prompts=False, retention_days=0), False, False),
    ],
)
def test_promises_about_data_are_asked_for_and_fail_closed(
    promised: DataPolicy, denied: bool, kept_at_all: bool
) -> None:
    assert kept(promised) == {""}
    assert kept(promised, **DENY) == ({Exclusion.DATA_POLICY} if denied else {""})
    assert kept(promised, **ZDR) == ({Exclusion.DATA_POLICY} if kept_at_all else {""})
    for rules, expected in (
        (policy(data_collection="deny"), denied),
        (policy(zdr=True), kept_at_all),
    ):
        assert kept(promised, rules=rules) == ({Exclusion.DATA_POLICY} if expected else {""})


def test_distillable_text_needs_a_licence_that_is_known_to_allow_it() -> None:
    wanted = ProviderPreferences(enforce_distillable_text=True)
    for allowed in (None, False):
        one = endpoint("x", 1, of=msgspec.structs.replace(model(), is_distillable=allowed))
        assert refused(one, preferences=wanted) == {Exclusion.DISTILLATION}
    free = endpoint("x", 1, of=msgspec.structs.replace(model(), is_distillable=True))
    assert slugs(planned(snapshot(free), preferences=wanted)) == ["x"]


def test_a_request_cannot_widen_what_its_policy_allows() -> None:
    rules = policy(max_price_output="0.7", quantizations=("fp8",), objective="cheapest")
    fp8 = msgspec.structs.replace(CHEAP, quantization="fp8")
    dear = msgspec.structs.replace(QUICK, quantization="fp8")
    wanted = ProviderPreferences(max_price_completion="100", quantizations=("fp8", "bf16"))
    result = planned(snapshot(fp8, dear, EARLY), rules, preferences=wanted)
    assert codes(result) == {
        "cheap": "",
        "quick": Exclusion.MAX_PRICE,
        "early": Exclusion.QUANTIZATION,
    }
    tighter = ProviderPreferences(max_price_completion="0.1")
    assert refused(fp8, rules=rules, preferences=tighter) == {Exclusion.MAX_PRICE}


def test_an_unstated_quantization_is_called_unknown() -> None:
    wanted = ProviderPreferences(quantizations=("unknown", "bf16"))
    stated = msgspec.structs.replace(QUICK, quantization="fp8")
    assert slugs(planned(snapshot(CHEAP, stated), preferences=wanted)) == ["cheap"]


def test_a_region_is_asked_for_by_the_policy() -> None:
    here = endpoint("x", 1, region="eu")
    assert slugs(planned(snapshot(here), policy(regions=("eu",)))) == ["x"]
    assert refused(here, rules=policy(regions=("us",))) == {Exclusion.REGION}
    assert refused(endpoint("x", 1), rules=policy(regions=("eu",))) == {Exclusion.REGION}


@pytest.mark.parametrize(
    ("meter", "wanted", "rules"),
    [
        ("request", ProviderPreferences(max_price_request="0.01"), EMPTY_POLICY),
        ("image", ProviderPreferences(max_price_image="0.01"), EMPTY_POLICY),
        ("request", ProviderPreferences(), policy(max_price_request="0.01")),
        ("image", ProviderPreferences(), policy(max_price_image="0.01")),
    ],
)
def test_a_maximum_price_holds_for_requests_and_images_too(
    meter: str, wanted: ProviderPreferences, rules: Policy
) -> None:
    def at(usd: str) -> Endpoint:
        rows = PriceSheet([*CHEAP.prices.rows, price(meter, usd, 9)])
        return msgspec.structs.replace(CHEAP, prices=rows)

    assert slugs(planned(snapshot(at("0.01")), rules, preferences=wanted)) == ["cheap"]
    assert refused(at("0.0101"), rules=rules, preferences=wanted) == {Exclusion.MAX_PRICE}


def test_a_policy_may_require_that_parameters_are_taken() -> None:
    deaf = endpoint("x", 1, unsupported_parameters=frozenset({"seed"}))
    rules = policy(require_parameters=True)
    assert refused(deaf, rules=rules, parameters=frozenset({"seed"})) == {
        Exclusion.PARAMETER_UNSUPPORTED
    }
    assert slugs(planned(snapshot(deaf), rules, parameters=frozenset({"top_p"}))) == ["x"]


def test_a_provider_is_named_with_its_quantization_or_region_too() -> None:
    home = provider("deep", 1)
    fp4 = endpoint("deep", 1, at=home, quantization="fp4")
    bf16 = endpoint("deep", 2, ("1", "1"), at=home, quantization="bf16", region="eu")
    world = snapshot(fp4, bf16)

    def ids(**fields: tuple[str, ...]) -> list[int]:
        wanted = ProviderPreferences(**fields)  # type: ignore[arg-type]
        result = planned(world, policy(objective="cheapest"), preferences=wanted)
        return [one.id for one in result.attempts]

    assert ids(only=("deep",)) == [1, 2]
    assert ids(only=("deep/bf16",)) == [2]
    assert ids(ignore=("deep/fp4",)) == [2]
    assert ids(ignore=("deep/eu",)) == [1]
    assert ids(order=("deep/eu",)) == [2, 1]
    ordered = planned(world, policy(objective="ordered", order=("deep/bf16", "deep")))
    assert [one.id for one in ordered.attempts] == [2, 1]


# --- preferences ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        (ProviderPreferences(latency_cutoffs=((50, 0.95),)), "cheap"),
        (ProviderPreferences(latency_cutoffs=((50, 0.95), (90, 0.95))), "early"),
        (ProviderPreferences(throughput_cutoffs=((50, 39.0),)), "cheap"),
        (ProviderPreferences(throughput_cutoffs=((90, 39.0),)), "early"),
        (ProviderPreferences(throughput_cutoffs=((50, 9e5),)), "cheap"),
    ],
)
def test_cut_offs_at_percentiles_put_endpoints_last_and_exclude_none(
    wanted: ProviderPreferences, first: str
) -> None:
    result = planned(rules=policy(objective="cheapest"), preferences=wanted)
    assert slugs(result)[0] == first
    assert len(slugs(result)) == 3


def test_fallback_models_can_be_sorted_together_with_the_first() -> None:
    other = endpoint("other", 9, ("0.01", "0.01"), of=model("meta-llama/Llama-3.3-70B-Instruct", 2))
    world = snapshot(CHEAP, QUICK, other)

    def order(partition: str) -> list[str]:
        wanted = ProviderPreferences(sort="price", sort_partition=partition)
        result = planned(world, preferences=wanted, fallback_models=(other.model.name,))
        return slugs(result)

    assert order("") == order("model") == ["cheap", "quick", "other"]
    assert order("none") == ["other", "cheap", "quick"]


# --- shadow ---------------------------------------------------------------------------------------

COPIED = Shadow("early", 0.25)


def test_a_share_of_the_requests_is_copied_to_the_shadow() -> None:
    result = planned(rules=policy(objective="cheapest", shadow=COPIED))
    assert result.decision.shadow == EARLY.id
    assert slugs(result)[0] == "cheap"
    assert mirrored_to(result, COPIED, 0.2499) is EARLY
    assert mirrored_to(result, COPIED, 0.25) is None
    assert mirrored_to(result, None, 0.0) is None


def test_a_request_is_not_copied_to_where_it_goes_or_may_not_go() -> None:
    there = planned(rules=policy(objective="lowest-latency", shadow=COPIED))
    assert mirrored_to(there, COPIED, 0.0) is None
    not_allowed = planned(rules=policy(objective="cheapest", ignore=("early",), shadow=COPIED))
    assert mirrored_to(not_allowed, COPIED, 0.0) is None
    book = health()
    book.on_failure(EARLY.id, 1000.0, FailureClass.CAPACITY, 30.0)
    resting = planned(rules=policy(objective="cheapest", shadow=COPIED), book=book)
    assert mirrored_to(resting, COPIED, 0.0) is None


def test_copies_stop_at_the_cap_of_the_day() -> None:
    cap, most = SpendCap(), Decimal(1)
    assert cap.take(Decimal("0.6"), most, NOON)
    assert not cap.take(Decimal("0.5"), most, NOON)
    assert cap.take(Decimal("0.4"), most, NOON)
    cap.correct(Decimal("0.6"), Decimal("0.1"))
    assert cap.take(Decimal("0.5"), most, NOON)
    assert not cap.take(Decimal("0.01"), most, NOON)
    assert cap.take(Decimal(1), most, NOON + dt.timedelta(days=1))


# --- the question a memo is asked -------------------------------------------------------------------

OTHER_VALUES: dict[str, object] = {
    "model": "meta-llama/Llama-3.3-70B-Instruct",
    "objective": "fastest",
    "pinned_provider": "early",
    "input_tokens": 2000,
    "output_tokens": 1000,
    "max_output_tokens": 400,
    "needs": frozenset({"vision"}),
    "parameters": frozenset({"seed"}),
    "service_tier": "flex",
    "preferences": ProviderPreferences(sort="latency"),
    "fallback_models": ("meta-llama/Llama-3.3-70B-Instruct",),
    "pieces": ((price("image", "1").meter, 2),),
    "window_tokens": 30,
}
NOT_ASKED = {
    "requested_model",  # what the client wrote; `model` is what it means
    "policy_name",  # the policy itself is part of the question
    "stream",  # by rules alone, and the rule is part of the question
    "tags",
    "kind",  # of the model
    "conversation",  # for the draw, which is not remembered
    "key_id",
}


def test_every_fact_is_part_of_the_question_or_known_to_change_no_plan() -> None:
    from routing.core.request import RequestFacts

    assert set(RequestFacts.__struct_fields__) == OTHER_VALUES.keys() | NOT_ASKED
    llama = endpoint("llama", 9, of=model("meta-llama/Llama-3.3-70B-Instruct", 2))
    world, book, rng = snapshot(CHEAP, EARLY, llama), health(), Random(1)
    for name, value in OTHER_VALUES.items():
        memo = PlanMemo()
        memo.plan(facts(), EMPTY_POLICY, world, book, moment(), rng)
        memo.plan(facts(**{name: value}), EMPTY_POLICY, world, book, moment(), rng)
        assert len(memo._known) == 2, name
