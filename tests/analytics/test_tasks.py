"""The tasks alone: what they call has tests of its own."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from analytics import partitions, tasks
from analytics.models import FillState, RequestCell
from analytics.rollups import fill
from routing.models import EndpointStats
from tests.analytics.conftest import Log
from tests.analytics.records import Told
from tests.analytics.world import World

pytestmark = pytest.mark.django_db


def test_rolling_up_fills_and_prepares_the_next_day(world: World, log: Log) -> None:
    told = Told(timezone.now() - dt.timedelta(minutes=1))
    log([told.intent(endpoint_id=world.at_swift.pk), told.finish(), told.done()])
    for _ in range(2):
        tasks.roll_up()
    assert RequestCell.objects.get().requests == 1
    today = timezone.now().date()
    assert {today, today + dt.timedelta(days=1)} <= set(partitions.days_kept())


def test_stats_of_endpoints_are_written_for_routing(world: World, log: Log) -> None:
    told = Told(timezone.now() - dt.timedelta(minutes=1))
    log([told.intent(endpoint_id=world.at_swift.pk), told.finish(), told.done()])
    fill.roll_up(timezone.now())
    for _ in range(2):
        tasks.refresh_endpoint_stats()
    assert EndpointStats.objects.get().n == 1


def test_the_first_figures_of_an_endpoint_do_not_wait_for_the_schedule(
    world: World, log: Log
) -> None:
    for _ in range(2):  # the second one has nothing new to say of an endpoint
        told = Told(timezone.now() - dt.timedelta(minutes=1))
        log([told.intent(endpoint_id=world.at_swift.pk), told.finish(), told.done()])
        tasks.roll_up()
        assert EndpointStats.objects.get().n == 1
    tasks.refresh_endpoint_stats()
    assert EndpointStats.objects.get().n == 2


def test_settling_has_nothing_to_do_in_an_empty_log(db: None) -> None:
    tasks.settle_with_providers()


def test_retention_drops_whole_days(settings: object) -> None:
    settings.PANELBOARD_LOG_RETENTION_DAYS = 30  # type: ignore[attr-defined]
    today = timezone.now().date()
    old, kept = today - dt.timedelta(days=31), today - dt.timedelta(days=30)
    for day in (old, kept):
        partitions.ensure_day(day)
    now = timezone.now()
    FillState.objects.create(name="cells", state="done", end=now, updated_at=now)
    tasks.drop_old_partitions()
    assert partitions.days_kept() == [kept]
    assert FillState.objects.get().kept_from == kept
