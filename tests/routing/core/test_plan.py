from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.catalog import EMPTY_POLICY, Endpoint
from routing.core.decision import Exclusion, Plan
from routing.core.ejection import KEPT
from routing.core.errors import FailureClass
from routing.core.health import HealthBook
from routing.core.plan import NoEndpointLeft, plan
from routing.core.request import ProviderPreferences
from tests.routing.factories import endpoint, facts, health, moment, policy, snapshot, stats

CHEAP = endpoint("cheap", 1, ("0.05", "0.20"), stats=stats(900, 40))
QUICK = endpoint("quick", 2, ("0.35", "0.75"), stats=stats(200, 1500))
EARLY = endpoint("early", 3, ("0.15", "0.60"), stats=stats(120, 350))
WORLD = snapshot(CHEAP, QUICK, EARLY)


def planned(
    world=WORLD, rules=EMPTY_POLICY, book: HealthBook | None = None, seed: int = 1, **wanted
) -> Plan:
    return plan(facts(**wanted), rules, world, book or health(), moment(), Random(seed))


def slugs(result: Plan) -> list[str]:
    return [one.provider.slug for one in result.attempts]


def excluded(error: NoEndpointLeft) -> set[str]:
    assert error.decision is not None
    return {candidate.excluded for candidate in error.decision.candidates}


def everything_is_excluded(error: NoEndpointLeft) -> None:
    assert "" not in excluded(error)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("cheapest", ["cheap", "early", "quick"]),
        ("fastest", ["quick", "early", "cheap"]),
        ("lowest-latency", ["early", "quick", "cheap"]),
    ],
)
def test_an_objective_orders_the_endpoints_by_its_own_measure(
    objective: str, expected: list[str]
) -> None:
    assert slugs(planned(objective=objective)) == expected


@pytest.mark.parametrize(
    ("sort", "first"), [("price", "cheap"), ("throughput", "quick"), ("latency", "early")]
)
def test_sort_in_the_provider_object_works_like_the_suffix(sort: str, first: str) -> None:
    assert slugs(planned(preferences=ProviderPreferences(sort=sort)))[0] == first


def test_cheapest_looks_at_this_requests_own_mix_of_tokens() -> None:
    reads = endpoint("reads", 1, ("0.10", "2.00"))
    writes = endpoint("writes", 2, ("0.50", "0.50"))
    world = snapshot(reads, writes)
    long_prompt = planned(world, objective="cheapest", input_tokens=50_000, output_tokens=10)
    long_answer = planned(world, objective="cheapest", input_tokens=100, output_tokens=4000)
    assert slugs(long_prompt)[0] == "reads"
    assert slugs(long_answer)[0] == "writes"


def test_a_pinned_provider_is_the_only_one_tried() -> None:
    result = planned(pinned_provider="early")
    assert slugs(result) == ["early"]
    codes = {c.endpoint_id: c.excluded for c in result.decision.candidates}
    assert codes == {1: Exclusion.NOT_PINNED, 2: Exclusion.NOT_PINNED, 3: ""}


def test_order_only_and_ignore_hold() -> None:
    assert slugs(planned(preferences=ProviderPreferences(order=("early", "cheap"))))[:2] == [
        "early",
        "cheap",
    ]
    assert set(slugs(planned(preferences=ProviderPreferences(only=("quick", "cheap"))))) == {
        "quick",
        "cheap",
    }
    assert "cheap" not in slugs(planned(preferences=ProviderPreferences(ignore=("cheap",))))


def test_without_fallbacks_there_is_one_attempt_and_only_the_listed_providers() -> None:
    wanted = ProviderPreferences(order=("early",), allow_fallbacks=False)
    assert slugs(planned(preferences=wanted)) == ["early"]


def test_a_hard_maximum_price_excludes_and_says_which_price_was_too_high() -> None:
    result = planned(preferences=ProviderPreferences(max_price_completion="0.5"))
    assert slugs(result) == ["cheap"]
    detail = {c.endpoint_id: c.detail for c in result.decision.candidates if c.excluded}
    assert detail[2] == "output 0.75 USD per 1M > 0.5"


def test_a_tiny_maximum_price_is_told_in_plain_digits() -> None:
    with pytest.raises(NoEndpointLeft) as caught:
        planned(preferences=ProviderPreferences(max_price_completion="0.0000001"))
    assert caught.value.decision is not None
    details = [candidate.detail for candidate in caught.value.decision.candidates]
    assert all(detail.endswith("USD per 1M > 0.0000001") for detail in details)


def test_a_policy_is_honoured_like_the_request() -> None:
    assert slugs(planned(rules=policy(objective="cheapest", ignore=("cheap",))))[0] == "early"
    assert slugs(planned(rules=policy(objective="ordered", order=("quick",))))[0] == "quick"
    assert slugs(planned(rules=policy(max_attempts=1, objective="fastest"))) == ["quick"]


def test_weights_are_shares_and_unnamed_providers_are_fallbacks_only() -> None:
    rules = policy(objective="weighted", weights={"cheap": 3, "quick": 1})
    firsts = Counter(slugs(planned(rules=rules, seed=seed))[0] for seed in range(400))
    assert set(firsts) == {"cheap", "quick"}
    assert 0.65 < firsts["cheap"] / 400 < 0.85
    assert all(slugs(planned(rules=rules, seed=seed))[-1] == "early" for seed in range(20))


def test_balanced_spreads_and_keeps_every_endpoint_measured() -> None:
    shares = {c.endpoint_id: c.share for c in planned().decision.candidates}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) >= 0.02 / 1.0001
    firsts = Counter(slugs(planned(seed=seed))[0] for seed in range(600))
    assert set(firsts) == {"cheap", "quick", "early"}
    for one in (CHEAP, QUICK, EARLY):
        assert firsts[one.provider.slug] / 600 == pytest.approx(shares[one.id], abs=0.08)


def test_balanced_turns_away_from_an_endpoint_that_fails() -> None:
    sick = endpoint("cheap", 1, ("0.05", "0.20"), stats=stats(900, 40, success=0.5))
    healthy_share = {c.endpoint_id: c.share for c in planned().decision.candidates}[1]
    sick_share = {
        c.endpoint_id: c.share for c in planned(snapshot(sick, QUICK, EARLY)).decision.candidates
    }[1]
    assert sick_share < healthy_share / 5


@pytest.mark.parametrize(
    ("bad", "wanted", "code", "status"),
    [
        (endpoint("x", 1, credentials=()), {}, Exclusion.NO_CREDENTIAL, 503),
        (endpoint("x", 1, None), {}, Exclusion.NO_PRICE, 503),
        (endpoint("x", 1, status="retired"), {}, Exclusion.RETIRED, 404),
        (
            endpoint("x", 1, context_window=1200),
            {"max_output_tokens": 500},
            Exclusion.CONTEXT_WINDOW,
            404,
        ),
        (
            endpoint("x", 1, max_output_tokens=100),
            {"max_output_tokens": 101},
            Exclusion.MAX_OUTPUT,
            404,
        ),
        (
            endpoint("x", 1, capabilities=frozenset({"tools"})),
            {"needs": frozenset({"vision", "tools"})},
            Exclusion.MISSING_CAPABILITY,
            404,
        ),
        (
            endpoint("x", 1, unsupported_parameters=frozenset({"seed"})),
            {
                "parameters": frozenset({"seed", "model"}),
                "preferences": ProviderPreferences(require_parameters=True),
            },
            Exclusion.PARAMETER_UNSUPPORTED,
            404,
        ),
        (
            endpoint("x", 1, quantization="fp8"),
            {"preferences": ProviderPreferences(quantizations=("bf16",))},
            Exclusion.QUANTIZATION,
            404,
        ),
        (
            endpoint("x", 1),
            {"preferences": ProviderPreferences(data_collection="deny")},
            Exclusion.DATA_POLICY,
            404,
        ),
    ],
)
def test_when_nothing_is_left_the_error_names_the_code(
    bad: Endpoint, wanted: dict[str, object], code: Exclusion, status: int
) -> None:
    with pytest.raises(NoEndpointLeft) as caught:
        planned(snapshot(bad), **wanted)
    assert excluded(caught.value) == {code}
    assert caught.value.status == status
    assert code in caught.value.message
    assert caught.value.detail is not None
    assert caught.value.detail["excluded_by"] == {code: 1}


def test_a_free_endpoint_needs_no_price() -> None:
    assert slugs(planned(snapshot(endpoint("gift", 1, None, is_free=True)))) == ["gift"]


def test_an_ejected_endpoint_is_skipped_while_others_are_left() -> None:
    book = health()
    for _ in range(5):
        book.on_failure(QUICK.id, 1000.0, FailureClass.TRANSIENT, None)
    result = planned(book=book, objective="fastest")
    assert slugs(result) == ["early", "cheap"]
    (out,) = [c for c in result.decision.candidates if c.excluded == Exclusion.BREAKER_OPEN]
    assert out.detail.startswith("failed 5 times in a row; tried again in 1")


def test_the_last_endpoint_is_tried_even_when_its_breaker_is_open() -> None:
    book = health()
    for one in (CHEAP, QUICK, EARLY):
        for i in range(5):
            book.on_failure(one.id, 990.0 + one.id + i, FailureClass.TRANSIENT, None)
    assert slugs(planned(book=book)) == ["cheap", "quick"]  # the least recently failed first


def opened(*endpoints: Endpoint, book: HealthBook | None = None) -> HealthBook:
    """The breakers of these are open; the first has failed first."""
    book = book or health()
    for at, one in enumerate(endpoints):
        for _ in range(5):
            book.on_failure(one.id, 990.0 + at, FailureClass.TRANSIENT, None)
    return book


def test_more_than_half_of_a_models_endpoints_are_never_out_and_the_rest_comes_last() -> None:
    result = planned(book=opened(QUICK, CHEAP), objective="fastest")
    assert slugs(result) == ["early", "quick"]
    noted = {c.endpoint_id: (c.excluded, c.detail) for c in result.decision.candidates}
    assert noted[CHEAP.id][0] == Exclusion.BREAKER_OPEN
    assert noted[QUICK.id] == ("", KEPT)


def test_the_only_endpoint_of_a_model_is_not_out_though_there_are_fallback_models() -> None:
    from tests.routing.factories import model

    other = endpoint("other", 9, of=model("meta-llama/Llama-3.3-70B-Instruct", 2))
    result = planned(
        snapshot(CHEAP, other), book=opened(CHEAP), fallback_models=(other.model.name,)
    )
    assert slugs(result) == ["other", "cheap"]


def test_in_need_one_that_failed_is_tried_before_one_that_refused_the_hub() -> None:
    book = opened(CHEAP)
    for _ in range(3):
        book.on_failure(QUICK.id, 999.0, FailureClass.CREDENTIAL, None)
    assert slugs(planned(snapshot(CHEAP, QUICK), book=book)) == ["cheap"]


FAILING = st.lists(st.sampled_from(["fail", "limit", "refuse", "well"]), min_size=1, max_size=7)


@settings(max_examples=150)
@given(FAILING, st.integers(0, 99))
def test_never_are_all_endpoints_out(states: list[str], seed: int) -> None:
    every = [endpoint(f"e{n}", n) for n in range(1, len(states) + 1)]
    book = opened(*[one for one, state in zip(every, states, strict=True) if state == "fail"])
    for one, state in zip(every, states, strict=True):
        for _ in range(3 if state == "refuse" else int(state == "limit")):
            refused = FailureClass.CREDENTIAL if state == "refuse" else FailureClass.CAPACITY
            book.on_failure(one.id, 999.0, refused, None)
    rules = policy(max_attempts=9)
    if set(states) == {"limit"}:  # nothing to try, but a moment to come back at
        with pytest.raises(NoEndpointLeft) as caught:
            planned(snapshot(*every), rules=rules, book=book, seed=seed)
        assert caught.value.status == 429
        return
    result = planned(snapshot(*every), rules=rules, book=book, seed=seed)
    out = [c for c in result.decision.candidates if c.excluded == Exclusion.BREAKER_OPEN]
    assert len(out) <= len(every) // 2
    assert result.attempts
    tried = [states[int(one.provider.slug[1:]) - 1] for one in result.attempts]
    assert tried == sorted(tried, key=lambda state: state != "well")


def test_when_all_are_rate_limited_the_client_is_told_when_to_come_back() -> None:
    book = health()
    for one, wait_s in ((CHEAP, 30.0), (QUICK, 12.0), (EARLY, 50.0)):
        book.on_failure(one.id, 1000.0, FailureClass.CAPACITY, wait_s)
    with pytest.raises(NoEndpointLeft) as caught:
        planned(book=book)
    assert caught.value.status == 429
    assert caught.value.retry_after_s == pytest.approx(12.0)


def test_fallback_models_come_after_the_model_that_was_asked_for() -> None:
    from tests.routing.factories import model

    other = endpoint("other", 9, of=model("meta-llama/Llama-3.3-70B-Instruct", 2))
    result = planned(
        snapshot(CHEAP, other),
        rules=policy(objective="cheapest"),
        fallback_models=(other.model.name,),
    )
    assert slugs(result) == ["cheap", "other"]


SLUGS = st.lists(st.sampled_from(["cheap", "quick", "early"]), max_size=3, unique=True).map(tuple)


@settings(max_examples=150)
@given(
    SLUGS,
    SLUGS,
    SLUGS,
    st.booleans(),
    st.sampled_from(["balanced", "cheapest", "fastest"]),
    st.integers(0, 99),
)
def test_a_plan_obeys_every_filter_and_repeats_for_a_seed(
    order: tuple[str, ...],
    only: tuple[str, ...],
    ignore: tuple[str, ...],
    fallbacks: bool,
    objective: str,
    seed: int,
) -> None:
    wanted = ProviderPreferences(order=order, only=only, ignore=ignore, allow_fallbacks=fallbacks)
    try:
        result = planned(objective=objective, preferences=wanted, seed=seed)
    except NoEndpointLeft as refusal:
        everything_is_excluded(refusal)
        return
    names = slugs(result)
    assert names == slugs(planned(objective=objective, preferences=wanted, seed=seed))
    assert not set(names) & set(ignore)
    assert set(names) <= (set(only) or {"cheap", "quick", "early"})
    assert len(names) == len(set(names))
    assert fallbacks or len(names) == 1
    assert len(result.decision.candidates) == 3
    eligible = {c.endpoint_id for c in result.decision.candidates if not c.excluded}
    assert {one.id for one in result.attempts} <= eligible
