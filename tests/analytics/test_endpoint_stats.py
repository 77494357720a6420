"""What routing is told of endpoints: decayed figures of the last day."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analytics import endpoint_stats
from analytics.endpoint_stats import HALF_LIFE, weighted_quantile
from analytics.histogram import bin_of
from analytics.models import AttemptCell, LatencyCell
from routing.models import EndpointStats, FormCell
from routing.services.stats import AT_LEAST_EVERY, StatsRow, write_endpoint_stats
from tests.analytics.world import World

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)


def seen(
    world: World,
    age: dt.timedelta,
    n: int,
    *,
    ttft_ms: float | None = None,
    speed_tps: float | None = None,
    outcome: str = "ok",
    input_tokens: int = 0,
    cached: int = 0,
) -> None:
    """In the quarter of an hour whose middle lies so long back."""
    start = NOW - age - dt.timedelta(minutes=7.5)
    AttemptCell.objects.create(
        bucket_start=start,
        project_id=world.project.pk,
        key_id=world.key.pk,
        kind="traffic",
        model_id=world.model.pk,
        endpoint_id=world.at_swift.pk,
        outcome=outcome,
        attempt_outcome=outcome,
        cost_status="metered",
        simulated=True,
        attempts=n,
        censored=0,
        input_tokens=input_tokens,
        cache_read_tokens=cached,
        **dict.fromkeys(
            (
                "cache_write_tokens",
                "output_tokens",
                "reasoning_tokens",
                "cost_usd",
                "correction_usd",
            ),
            0,
        ),
    )
    for metric, value in (("ttft", ttft_ms), ("speed", speed_tps)):
        if value is not None:
            LatencyCell.objects.create(
                bucket_start=start,
                endpoint_id=world.at_swift.pk,
                project_id=world.project.pk,
                kind="traffic",
                outcome=outcome,
                simulated=True,
                metric=metric,
                bin=bin_of(value),
                n=n,
            )


def told(now: dt.datetime = NOW) -> EndpointStats:
    endpoint_stats.refresh(now)
    return EndpointStats.objects.get()


def test_an_observation_counts_half_as_much_after_two_hours(world: World) -> None:
    seen(world, dt.timedelta(), 30, outcome="ok")
    seen(world, HALF_LIFE, 60, outcome="provider_error")
    stats = told()
    assert stats.n == 90
    assert stats.weight == pytest.approx(60.0)
    assert stats.success_rate == pytest.approx(0.5)


def test_the_latest_figures_outweigh_many_old_ones(world: World) -> None:
    seen(world, dt.timedelta(hours=10), 300, ttft_ms=300.0, speed_tps=90.0)
    seen(world, dt.timedelta(minutes=5), 100, ttft_ms=2400.0, speed_tps=20.0)
    stats = told()
    assert stats.ttft_p50_ms == pytest.approx(2400.0, rel=0.011)
    assert stats.speed_p50_tps == pytest.approx(20.0, rel=0.011)


def test_late_quantiles_look_at_the_bad_end_of_each_figure(world: World) -> None:
    for minutes, n, ttft_ms, speed_tps in ((0, 90, 300.0, 100.0), (15, 10, 2000.0, 5.0)):
        seen(world, dt.timedelta(minutes=minutes), n, ttft_ms=ttft_ms, speed_tps=speed_tps)
    stats = told()
    assert stats.ttft_p50_ms == pytest.approx(300.0, rel=0.011)
    assert stats.ttft_p95_ms == pytest.approx(2000.0, rel=0.011)
    assert stats.speed_p50_tps == pytest.approx(100.0, rel=0.011)
    assert stats.speed_p95_tps == pytest.approx(5.0, rel=0.011)


def test_a_429_is_no_ill_health(world: World) -> None:
    seen(world, dt.timedelta(), 10, outcome="ok")
    seen(world, dt.timedelta(), 90, outcome="rate_limited")
    assert told().success_rate == 1.0


def test_the_share_of_cached_input_is_by_tokens_and_unknown_without_any(world: World) -> None:
    seen(world, dt.timedelta(), 2)
    assert told().cached_share is None
    seen(world, dt.timedelta(minutes=15), 2, input_tokens=900, cached=900)
    seen(world, dt.timedelta(minutes=30), 2, input_tokens=9100, cached=100)
    assert told().cached_share == pytest.approx(0.1, abs=0.01)


def test_what_nothing_was_measured_of_for_a_day_is_forgotten(world: World) -> None:
    seen(world, dt.timedelta(), 10, ttft_ms=300.0)
    assert told().n == 10
    assert endpoint_stats.refresh(NOW + dt.timedelta(hours=25)) == 0
    assert not EndpointStats.objects.exists()


def test_gateways_are_not_bothered_where_nothing_changed_much(world: World) -> None:
    seen(world, dt.timedelta(), 10_000, ttft_ms=300.0)
    first = told()
    soon = NOW + dt.timedelta(minutes=1)
    with CaptureQueriesContext(connection) as queries:
        assert endpoint_stats.refresh(soon) == 1
    assert not [q for q in queries if q["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
    assert told(soon).updated_at == first.updated_at
    seen(world, dt.timedelta(minutes=15), 90_000, ttft_ms=600.0)
    assert told(soon).updated_at == soon


def test_they_are_told_now_and_then_all_the_same(world: World) -> None:
    row = StatsRow(world.at_swift.pk, n=1000, ttft_p50_ms=300.0, weight=800.0)
    write_endpoint_stats([row], updated_at=NOW)
    write_endpoint_stats([row], updated_at=NOW + AT_LEAST_EVERY / 2)
    assert EndpointStats.objects.get().updated_at == NOW
    write_endpoint_stats([row], updated_at=NOW + AT_LEAST_EVERY)
    assert EndpointStats.objects.get().updated_at == NOW + AT_LEAST_EVERY


@pytest.mark.parametrize(
    ("bins", "q", "value"),
    [
        ({}, 0.5, None),
        ({5: 0.0}, 0.5, None),
        ({bin_of(100.0): 1.0}, 0.95, 100.0),
        ({bin_of(100.0): 0.94, bin_of(900.0): 0.06}, 0.95, 900.0),
        ({bin_of(100.0): 0.96, bin_of(900.0): 0.04}, 0.95, 100.0),
    ],
)
def test_a_weighted_quantile(bins: dict[int, float], q: float, value: float | None) -> None:
    found = weighted_quantile(bins, q)
    assert found == (None if value is None else pytest.approx(value, rel=0.011))


def test_the_share_of_sound_form_is_told_with_its_n(world: World) -> None:
    seen(world, dt.timedelta(), 30)
    assert told().valid_share is None
    for age, answers, sound in ((dt.timedelta(), 10, 10), (HALF_LIFE, 60, 0)):
        FormCell.objects.create(
            bucket_start=NOW - age - dt.timedelta(minutes=7.5),
            endpoint_id=world.at_swift.pk,
            answers=answers,
            sound=sound,
        )
    stats = told()
    assert (stats.valid_n, stats.valid_weight) == (70, pytest.approx(40.0))
    assert stats.valid_share == pytest.approx(0.25)
