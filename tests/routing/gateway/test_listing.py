from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from routing.core.errors import FailureClass
from routing.core.health import HealthBook
from routing.core.moment import Moment
from routing.core.plan import plan
from routing.gateway.listing import model_body, provider_entry
from tests.routing.factories import MODEL, endpoint, facts, health, policy, snapshot, stats

NOW = Moment(1000.0, dt.datetime(2026, 11, 23, tzinfo=dt.UTC))


def entry(book: HealthBook | None = None, **options: Any) -> dict[str, Any]:
    only = endpoint("alpha", 1, **options)
    book = book or HealthBook(Random(1))
    return provider_entry(only, book.numbers(only, NOW.monotonic_s), book, NOW)


@pytest.mark.parametrize(
    ("status", "shown", "deprecated"),
    [("active", "live", False), ("deprecated", "live", True), ("retired", "error", False)],
)
def test_a_deprecated_endpoint_is_live_and_says_so(
    status: str, shown: str, deprecated: bool
) -> None:
    found = entry(status=status)
    assert found["status"] == shown
    assert found.get("deprecated", False) is deprecated


def test_an_endpoint_that_keeps_failing_is_in_error() -> None:
    failing = HealthBook(Random(1))
    for _ in range(5):
        failing.on_failure(1, NOW.monotonic_s, FailureClass.TRANSIENT, None)
    assert entry(failing)["status"] == "error"


def test_what_was_not_measured_is_left_out() -> None:
    assert not {"throughput", "first_token_latency_ms", "success_rate"} & set(entry())


def test_the_share_of_the_input_that_is_read_from_a_cache_is_told() -> None:
    assert "cached_share" not in entry()
    book = HealthBook(Random(1))
    for _ in range(50):
        book.on_input(1, NOW.monotonic_s, 10_000, 8_000)
    assert 0.7 < entry(book)["cached_share"] <= 0.8


@pytest.mark.parametrize(
    ("objective", "shown_as", "best"),
    [("fastest", "throughput", max), ("lowest-latency", "first_token_latency_ms", min)],
)
def test_the_figures_shown_are_those_that_routing_ranks_by(
    objective: str, shown_as: str, best: Callable[..., dict[str, Any]]
) -> None:
    """Also where little is known of some: one lucky answer makes none the best of both."""
    world = snapshot(
        endpoint("known", 1, stats=stats(300, 90, n=500)),
        endpoint("lucky", 2, stats=stats(150, 200, n=1)),
        endpoint("other", 3, stats=stats(310, 80, n=500)),
        endpoint("slow", 4, stats=stats(9000, 5, n=500)),
    )
    book = health()
    listed = json.loads(model_body(MODEL, world, book, NOW))["providers"]
    result = plan(facts(objective=objective), policy(), world, book, NOW, Random(1))
    assert best(listed, key=lambda one: one[shown_as])["provider"] == (
        result.attempts[0].provider.slug
    )
    ranked = [(one.ttft_ms, one.speed_tps) for one in result.decision.candidates]
    assert [(one["first_token_latency_ms"], one["throughput"]) for one in listed] == [
        pytest.approx(one, abs=0.06) for one in ranked
    ]
