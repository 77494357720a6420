from __future__ import annotations

import datetime as dt
from random import Random
from typing import Any

import pytest

from routing.core.errors import FailureClass
from routing.core.health import HealthBook
from routing.core.moment import Moment
from routing.gateway.listing import provider_entry
from tests.routing.factories import endpoint

NOW = Moment(1000.0, dt.datetime(2026, 11, 23, tzinfo=dt.UTC))


def entry(health: HealthBook | None = None, **options: Any) -> dict[str, Any]:
    return provider_entry(endpoint("alpha", 1, **options), health or HealthBook(Random(1)), NOW)


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
    health = HealthBook(Random(1))
    for _ in range(5):
        health.on_failure(1, NOW.monotonic_s, FailureClass.TRANSIENT, None)
    assert entry(health)["status"] == "error"


def test_what_was_not_measured_is_left_out() -> None:
    assert not {"throughput", "first_token_latency_ms", "success_rate"} & set(entry())
