from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from analytics import endpoint_stats
from analytics.queries import measured_around, measurements
from analytics.queries.types import MeasuredBy, Period
from analytics.rollups import fill
from routing.core.record import Outcome
from routing.models import EndpointStats, FormCell
from tests.analytics.conftest import Log
from tests.analytics.records import NOON, Told
from tests.analytics.stories import DAY, EVENING, everything, various
from tests.analytics.world import World

pytestmark = pytest.mark.django_db
BEFORE_NOON, AFTER_NOON = Period(DAY.start, NOON), Period(NOON, DAY.end)
CountQueries = Callable[[int], AbstractContextManager[object]]


def answered(world: World, ttft_ms: float, **who: object) -> list[object]:
    told = Told(NOON, model_id=world.model.pk, **who)
    finish = told.finish(ttft_ms=ttft_ms, last_chunk_ms=ttft_ms + 1000)
    return [told.intent(endpoint_id=world.at_swift.pk), finish, told.done()]


def failed(world: World, outcome: Outcome) -> list[object]:
    told = Told(NOON, model_id=world.model.pk)
    return [
        told.intent(endpoint_id=world.at_swift.pk),
        told.failed(outcome=outcome),
        told.done(outcome=outcome, endpoint_id=None),
    ]


def test_percentiles_come_with_their_intervals(world: World, log: Log) -> None:
    log(record for n in range(1, 101) for record in answered(world, float(n)))
    fill.roll_up(EVENING)
    found = measurements(everything())[world.at_swift.pk]
    assert found.ttft_p50 is not None
    assert found.ttft_p95 is not None
    assert found.ttft_p50.value == pytest.approx(50, rel=0.011)
    assert found.ttft_p50.low == pytest.approx(40, rel=0.011)
    assert found.ttft_p50.high == pytest.approx(61, rel=0.011)
    assert found.ttft_p95.high == pytest.approx(100, rel=0.011)
    assert found.ttft_p50.n == 100
    assert found.speed_p50 is not None
    assert found.speed_p50.value == pytest.approx(499, rel=0.011)


def test_too_few_give_no_upper_end(world: World, log: Log) -> None:
    log(record for n in range(5) for record in answered(world, 100.0))
    fill.roll_up(EVENING)
    found = measurements(everything())[world.at_swift.pk]
    assert found.ttft_p50 is not None
    assert found.ttft_p50.high is None


def test_availability_judges_the_provider_alone(world: World, log: Log) -> None:
    log(answered(world, 100.0))
    for outcome in (Outcome.PROVIDER_ERROR, Outcome.RATE_LIMITED, Outcome.TIMEOUT):
        log(failed(world, outcome))
    for outcome in (Outcome.CLIENT_CANCELLED, Outcome.USER_ERROR):
        log(failed(world, outcome))
    fill.roll_up(EVENING)
    found = measurements(everything())[world.at_swift.pk]
    assert found.success is not None
    assert (found.success.k, found.success.n) == (1, 4)
    assert (found.n, found.ok) == (6, 1)


def test_what_was_cut_before_the_first_token_is_told(world: World, log: Log) -> None:
    log(answered(world, 100.0))
    log(failed(world, Outcome.CLIENT_CANCELLED))
    fill.roll_up(EVENING)
    assert measurements(everything())[world.at_swift.pk].censored_share == 0.5


def test_probes_count_unless_traffic_is_asked_for(world: World, log: Log) -> None:
    log(answered(world, 100.0, kind="probe", simulated=True))
    fill.roll_up(EVENING)
    found = measurements(everything())[world.at_swift.pk]
    assert found.simulated
    assert found.last_at == NOON
    assert measurements(everything(kind="traffic")) == {}


def test_providers_and_models_are_measured_over_their_endpoints(world: World, log: Log) -> None:
    log(answered(world, 100.0))
    fill.roll_up(EVENING)
    assert set(measurements(everything(), "provider")) == {world.swift.pk}
    assert set(measurements(everything(), "model")) == {world.model.pk}
    assert measurements(everything(model="acme/two")) == {}


def test_routing_learns_what_was_measured(world: World, log: Log) -> None:
    log(record for n in range(10) for record in answered(world, 200.0))
    fill.roll_up(EVENING)
    assert endpoint_stats.refresh(NOON + dt.timedelta(hours=1)) == 1
    stats = EndpointStats.objects.get()
    assert stats.endpoint_id == world.at_swift.pk
    assert stats.ttft_p50_ms == pytest.approx(200, rel=0.011)
    assert (stats.n, stats.success_rate) == (10, 1.0)


@pytest.mark.parametrize("dimension", ["endpoint", "provider", "model"])
def test_sound_form_is_measured_where_answers_were_looked_at(
    world: World, log: Log, dimension: MeasuredBy
) -> None:
    log(answered(world, 100.0))
    fill.roll_up(EVENING)
    for hours, sound in ((0, 3), (1, 4), (48, 0)):
        FormCell.objects.create(
            bucket_start=NOON - dt.timedelta(hours=hours),
            endpoint_id=world.at_swift.pk,
            answers=5,
            sound=sound,
        )
    (found,) = measurements(everything(), dimension).values()
    assert found.form is not None
    assert (found.form.k, found.form.n) == (7, 10)
    of_one_kind = replace(everything(), kind="traffic")
    (part,) = measurements(of_one_kind, dimension).values()
    assert part.form is None


@pytest.mark.parametrize("dimension", ["endpoint", "provider", "model"])
def test_before_and_after_a_moment_are_what_each_of_the_two_windows_says(
    world: World, log: Log, dimension: MeasuredBy, django_assert_num_queries: CountQueries
) -> None:
    log(various(world))
    fill.roll_up(EVENING)
    FormCell.objects.create(bucket_start=NOON, endpoint_id=world.at_swift.pk, answers=4, sound=3)
    early, late = (
        replace(everything(), period=BEFORE_NOON),
        replace(everything(), period=AFTER_NOON),
    )
    with django_assert_num_queries(1):
        halves = measured_around(everything(), NOON, dimension)
    assert halves == (measurements(early, dimension), measurements(late, dimension))
    assert all(halves)
