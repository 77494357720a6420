from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.models import Attempt, RequestLog
from analytics.queries import breakdown, cost_series, headline, month_of, monthly_bill
from analytics.queries.figures import GROUPS, sums, sums_by_each
from analytics.queries.types import DIMENSIONS, EVERYTHING, Dimension, Filters, Period, Scope
from analytics.rollups import fill
from routing.core.record import Outcome
from tests.analytics.conftest import Log
from tests.analytics.records import NOON, Told
from tests.analytics.stories import DAY, EVENING, everything, various
from tests.analytics.world import World

pytestmark = pytest.mark.django_db


def test_the_headline_is_what_the_log_says(busy: World) -> None:
    found = headline(everything(kind="all"))
    assert found.requests == RequestLog.objects.count() == 60
    assert found.attempts == Attempt.objects.count()
    assert found.cost_usd == Attempt.objects.aggregate(usd=Sum("cost_usd"))["usd"]
    assert sum(found.cost_by_status.values()) == found.cost_usd
    assert found.output_tokens == Attempt.objects.aggregate(n=Sum("output_total"))["n"]
    read = Attempt.objects.aggregate(n=Sum("cache_read"))["n"]
    assert found.cached_share == (read or 0) / found.input_tokens
    assert found.rescued == RequestLog.objects.filter(outcome="ok", attempts=2).count()


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_breakdown_adds_up_to_the_headline(busy: World, dimension: Dimension) -> None:
    whole = headline(everything())
    rows = breakdown(everything(), dimension)
    assert sum((row.cost_usd for row in rows), Decimal(0)) == whole.cost_usd
    assert sum(row.requests for row in rows) == whole.requests
    assert sum(row.ok for row in rows) == whole.ok
    assert sum(row.output_tokens for row in rows) == whole.output_tokens


@pytest.mark.parametrize("bucket", ["hour", "day"])
def test_a_series_adds_up_to_the_headline(busy: World, bucket: str) -> None:
    points = cost_series(everything(), "provider", bucket)  # type: ignore[arg-type]
    assert sum((p.cost_usd for p in points), Decimal(0)) == headline(everything()).cost_usd
    assert all(DAY.start <= point.start < DAY.end for point in points)


def test_the_bill_is_the_headline_of_the_month_with_probes(busy: World) -> None:
    bill = monthly_bill(EVERYTHING, NOON.date())
    whole = headline(Filters(EVERYTHING, month_of(NOON.date()), kind="all"))
    assert bill.total_usd == whole.cost_usd
    assert bill.requests == whole.requests
    for rows in (bill.by_provider, bill.by_model, bill.by_project, bill.by_key):
        assert sum((row.cost_usd for row in rows), Decimal(0)) == bill.total_usd
    probes = headline(Filters(EVERYTHING, month_of(NOON.date()), kind="probe"))
    assert bill.probe_usd == probes.cost_usd > 0
    simulated = Attempt.objects.filter(simulated=True).aggregate(usd=Sum("cost_usd"))["usd"]
    assert bill.simulated_usd == simulated


def test_one_reading_says_by_each_name_what_readings_one_by_one_say(busy: World) -> None:
    found = sums_by_each(everything(kind="all"), list(GROUPS))
    for name in GROUPS:
        alone = sums(everything(kind="all"), [name])
        assert found[name] == {key: group for (key,), group in alone.items()}, name


def test_one_reading_of_nothing_finds_nothing(busy: World) -> None:
    empty = everything(provider="nobody")
    assert sums_by_each(empty, ["provider", "outcome"]) == {"provider": {}, "outcome": {}}


filters = st.fixed_dictionaries(
    {
        "provider": st.sampled_from(["", "swift", "steady", "nobody"]),
        "model": st.sampled_from(["", "acme/one", "acme/two"]),
        "kind": st.sampled_from(["", "all", "traffic", "probe"]),
        "outcome": st.sampled_from(["", *(outcome.value for outcome in Outcome)]),
    }
)


@given(wanted=filters, dimension=st.sampled_from(DIMENSIONS), own=st.booleans())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_filtered_the_parts_add_up(
    busy: World, wanted: dict[str, str], dimension: Dimension, own: bool
) -> None:
    asked = everything(**wanted)
    if own:
        asked = replace(asked, scope=Scope(frozenset({busy.project.pk})))
    whole, rows = headline(asked), breakdown(asked, dimension)
    assert sum((row.cost_usd for row in rows), Decimal(0)) == whole.cost_usd
    assert sum(row.requests for row in rows) == whole.requests


def test_the_parts_of_a_filter_are_those_of_the_whole(busy: World) -> None:
    by_provider = {row.slug: row for row in breakdown(everything(), "provider")}
    for slug in ("swift", "steady"):
        asked = headline(everything(provider=slug))
        assert asked.cost_usd == by_provider[slug].cost_usd
        assert asked.requests == by_provider[slug].requests


def test_a_scope_sees_its_own_projects_alone(busy: World) -> None:
    mine = Scope(frozenset({busy.project.pk, busy.other_project.pk}))
    theirs = Scope(frozenset({busy.rival_project.pk}))
    ours, others = (headline(replace(everything(), scope=scope)) for scope in (mine, theirs))
    assert ours.requests + others.requests == headline(everything()).requests
    assert {row.id for row in breakdown(replace(everything(), scope=theirs), "project")} == {
        busy.rival_project.pk
    }


def test_an_empty_scope_sees_nothing(busy: World) -> None:
    found = headline(replace(everything(), scope=Scope(frozenset())))
    assert (found.requests, found.cost_usd, found.delivered) == (0, 0, None)


def test_delivered_leaves_out_what_could_not_be_delivered(world: World, log: Log) -> None:
    def ended(outcome: Outcome, **changes: object) -> list[object]:
        told = Told()
        return [told.intent(), told.finish(), told.done(outcome=outcome, **changes)]

    log(
        [
            *ended(Outcome.OK),
            *ended(Outcome.PROVIDER_ERROR),
            *ended(Outcome.USER_ERROR),
            *ended(Outcome.BLOCKED),
            *ended(Outcome.CLIENT_CANCELLED, ttft_ms=None),
            *ended(Outcome.CLIENT_CANCELLED, ttft_ms=10.0),
        ]
    )
    fill.roll_up(EVENING)
    delivered = headline(everything()).delivered
    assert delivered is not None
    assert (delivered.k, delivered.n) == (1, 3)


def test_a_period_is_widened_to_whole_quarters(world: World, log: Log) -> None:
    told = Told(NOON)
    log([told.intent(), told.finish(), told.done()])
    fill.roll_up(EVENING)
    minute = dt.timedelta(minutes=1)
    inside = Filters(EVERYTHING, Period(NOON + 3 * minute, NOON + 4 * minute))
    assert headline(inside).requests == 1
    after = Filters(EVERYTHING, Period(NOON + 15 * minute, NOON + 30 * minute))
    assert headline(after).requests == 0


def test_latency_is_not_told_per_key(busy: World) -> None:
    assert headline(everything()).ttft_p50 is not None
    assert headline(everything(key_id=busy.key.pk)).ttft_p50 is None


def test_groups_can_be_walked_in_pieces(busy: World) -> None:
    whole = sums(everything(), ["day", "key", "model"])
    walked: dict[object, object] = {}
    after = None
    while piece := sums(everything(), ["day", "key", "model"], after=after, limit=2):
        walked |= piece
        after = list(piece)[-1]
    assert walked == whole


def test_what_left_the_catalog_still_counts(world: World, log: Log) -> None:
    told = Told(model_id=999_999, project_id=999_999)
    log([told.intent(endpoint_id=999_999), told.finish(), told.done(endpoint_id=999_999)])
    fill.roll_up(EVENING)
    for dimension in DIMENSIONS:
        (row,) = breakdown(everything(), dimension)
        assert (row.requests, row.cost_usd) == (1, Decimal("0.00042"))
        assert dimension == "outcome" or "removed" in row.label


def test_the_same_seed_tells_the_same_story(world: World) -> None:
    assert len(list(various(world))) == len(list(various(world)))
