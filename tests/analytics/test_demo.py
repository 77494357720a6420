from __future__ import annotations

import datetime as dt
from collections import Counter
from decimal import Decimal
from random import Random

import pytest
from django.core.management import CommandError, call_command

from analytics.demo import shape, stage, story
from analytics.demo.story import Outage
from routing.core.pricing import PriceSheet, charge
from routing.core.record import Finish, Intent, Outcome, RequestDone, encode_lines
from routing.models import ApiKey, Price
from tests.analytics.world import World

NO_LINES = encode_lines(())
LAST = dt.date(2026, 11, 22)
FIRST = LAST - dt.timedelta(days=20)

pytestmark = pytest.mark.django_db


@pytest.fixture
def built(world: World) -> stage.Stage:
    return stage.build(FIRST, shape.price_cut_before(LAST))


def records_of(built: stage.Stage, day: dt.date, per_day: int = 150) -> list[object]:
    outage = Outage(built.failing.provider_id, *shape.outage_before(LAST))
    return list(story.day_of_requests(built, day, LAST, per_day, 1, outage))


def test_weekends_are_quiet_and_traffic_grows() -> None:
    def on(day: dt.date) -> int:
        return shape.requests_on(day, LAST, 10_000, Random(1))

    friday, saturday = dt.date(2026, 11, 20), dt.date(2026, 11, 21)
    assert on(saturday) < on(friday) / 2
    assert on(friday - dt.timedelta(days=14)) < on(friday)


def test_the_afternoon_is_busier_than_the_night() -> None:
    rng = Random(1)
    hours = Counter(shape.moment_of(LAST, rng).hour for _ in range(2000))
    assert hours[14] > 3 * hours[2]


def test_the_planted_facts_lie_one_to_two_weeks_back() -> None:
    for last in (LAST + dt.timedelta(days=n) for n in range(7)):
        start, end = shape.outage_before(last)
        assert 4 <= (last - start.date()).days <= 11
        assert end - start == dt.timedelta(hours=3)
        assert shape.price_cut_before(last) < start


def test_the_same_seed_tells_the_same_story(built: stage.Stage) -> None:
    assert records_of(built, LAST) == records_of(built, LAST)


def test_everything_is_marked_simulated_and_belongs_to_the_demo(built: stage.Stage) -> None:
    for record in records_of(built, LAST):
        if isinstance(record, Intent | RequestDone):
            assert record.simulated
            assert record.organization_id == built.organization.pk


def test_every_charge_is_usage_times_the_prices_in_force(built: stage.Stage) -> None:
    intents: dict[tuple[object, int], Intent] = {}
    charged = 0
    for record in records_of(built, LAST):
        if isinstance(record, Intent):
            intents[record.request_id, record.attempt_no] = record
        elif isinstance(record, Finish) and record.lines != NO_LINES:
            intent = intents[record.request_id, record.attempt_no]
            at = dt.datetime.fromtimestamp(intent.received_at, dt.UTC)
            sheet = built.sheets[intent.endpoint_id]
            bill = charge(record.usage, sheet, at, intent.service_tier)
            assert (record.cost_usd, record.lines) == (bill.amount_usd, encode_lines(bill.lines))
            charged += 1
    assert charged > 20


def test_during_the_outage_one_provider_fails_and_others_take_over(built: stage.Stage) -> None:
    start, end = shape.outage_before(LAST)
    outcomes: Counter[tuple[bool, bool]] = Counter()
    rescued, where = 0, {}
    for record in records_of(built, start.date(), per_day=600):
        if isinstance(record, Intent):
            where[record.request_id, record.attempt_no] = record
        elif isinstance(record, Finish):
            intent = where[record.request_id, record.attempt_no]
            at = dt.datetime.fromtimestamp(intent.received_at, dt.UTC)
            if start <= at < end:
                endpoints = {e.pk: e for group in built.choices.values() for e in group}
                hit = endpoints[intent.endpoint_id].provider_id == built.failing.provider_id
                outcomes[hit, record.outcome is Outcome.PROVIDER_ERROR] += 1
        elif isinstance(record, RequestDone):
            rescued += record.outcome is Outcome.OK and record.attempts > 1
    assert outcomes[True, True] > 3 * outcomes[True, False]
    assert outcomes[False, True] < outcomes[False, False]
    assert rescued > 0


def test_the_price_cut_shows_in_the_demo_and_changes_no_real_price(
    built: stage.Stage, world: World
) -> None:
    sheet = built.sheets[built.cheaper.pk]
    cut = shape.price_cut_before(LAST)
    before = sheet.at(cut - dt.timedelta(hours=1), service_tier=stage.TIER)
    after = sheet.at(cut, service_tier=stage.TIER)
    assert all(after[meter].unit_price_usd < before[meter].unit_price_usd for meter in after)
    real = PriceSheet(row for row in sheet.rows if row.service_tier != stage.TIER)
    now = dt.datetime.now(dt.UTC)
    assert sheet.at(now) == real.at(now)


def test_building_the_stage_again_changes_nothing(built: stage.Stage) -> None:
    before = (Price.objects.count(), ApiKey.objects.count())
    stage.build(FIRST, shape.price_cut_before(LAST))
    assert (Price.objects.count(), ApiKey.objects.count()) == before


def test_nobody_can_use_the_keys_of_the_demo(built: stage.Stage) -> None:
    keys = ApiKey.objects.filter(project__organization=built.organization)
    assert keys.exists()
    assert not keys.filter(revoked_at=None).exists()


def test_an_empty_catalog_is_told_what_to_do(db: None) -> None:
    with pytest.raises(CommandError, match="load_catalog"):
        call_command("seed_demo")


@pytest.mark.parametrize("days", ["0", "13", "91"])
def test_days_without_the_planted_facts_are_refused(db: None, days: str) -> None:
    with pytest.raises(CommandError, match="--days"):
        call_command("seed_demo", "--days", days)


def test_costs_are_exact_in_the_ledgers_digits(built: stage.Stage) -> None:
    for record in records_of(built, LAST):
        if isinstance(record, Finish):
            assert record.cost_usd == round(record.cost_usd, 12)
            assert isinstance(record.cost_usd, Decimal)
