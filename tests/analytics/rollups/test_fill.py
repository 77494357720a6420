from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.histogram import bin_of
from analytics.models import (
    AttemptCell,
    ChargeCorrection,
    DirtyBucket,
    FillState,
    LatencyCell,
    RequestCell,
)
from analytics.queries.types import CELL
from analytics.rollups import fill
from routing.core.record import Outcome
from routing.core.usage import Usage, UsageSource
from tests.analytics.conftest import Log
from tests.analytics.records import NOON, Told

pytestmark = pytest.mark.django_db
MINUTE = dt.timedelta(minutes=1)
LATER = NOON + dt.timedelta(hours=3)


def whole(*tolds: Told) -> list[object]:
    return [record for told in tolds for record in (told.intent(), told.finish(), told.done())]


def cells() -> dict[str, list[tuple[object, ...]]]:
    return {
        model.__name__: sorted(model.objects.values_list(*_columns(model)), key=repr)
        for model in (RequestCell, AttemptCell, LatencyCell)
    }


def _columns(model: type) -> list[str]:
    return [field.name for field in model._meta.fields if field.name != "pk"]  # type: ignore[attr-defined]


def test_a_quarter_of_an_hour_becomes_its_sums(log: Log) -> None:
    log(whole(Told(), Told()))
    fill.roll_up(LATER)
    request, attempt = RequestCell.objects.get(), AttemptCell.objects.get()
    assert (request.bucket_start, request.requests, request.rescued) == (NOON, 2, 0)
    assert (attempt.attempts, attempt.input_tokens, attempt.output_tokens) == (2, 2000, 1000)
    assert attempt.cost_usd == Decimal("0.00084")
    assert attempt.cache_read_tokens == 400


def test_the_database_bins_as_python_does(log: Log) -> None:
    told = Told()
    log([told.intent(), told.finish(), told.done()])
    fill.roll_up(LATER)
    found = dict(LatencyCell.objects.values_list("metric", "bin"))
    assert found == {
        "ttft": bin_of(120.0),
        "speed": bin_of(1000 * 499 / 1000),
        "e2e": bin_of(1130.0),
        "request_ttft": bin_of(123.0),
        "request_e2e": bin_of(1135.0),
    }


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"usage": Usage(input_total=1, output_total=16)}, "too few tokens"),
        ({"ttft_ms": 1100.0, "last_chunk_ms": 1140.0}, "too short a time"),
        (
            {"usage": Usage(input_total=1, output_total=900, source=UsageSource.ESTIMATED)},
            "tokens that nobody counted",
        ),
        ({"outcome": Outcome.CLIENT_CANCELLED}, "an answer that was cut"),
        ({"last_chunk_ms": None}, "no end of the answer"),
    ],
)
def test_a_speed_that_would_be_noise_is_none(
    log: Log, changes: dict[str, object], why: str
) -> None:
    told = Told()
    log([told.intent(), told.finish(**changes), told.done()])
    fill.roll_up(LATER)
    assert not LatencyCell.objects.filter(metric="speed").exists(), why


def test_a_time_to_first_token_is_of_streams_alone(log: Log) -> None:
    told = Told(stream=False)
    log(whole(told))
    fill.roll_up(LATER)
    assert set(LatencyCell.objects.values_list("metric", flat=True)) == {
        "speed",
        "e2e",
        "request_e2e",
    }


@pytest.mark.parametrize("surface", ["images", "speech"])
def test_pieces_of_pictures_and_sound_are_no_tokens(log: Log, surface: str) -> None:
    log(whole(Told(surface=surface)))
    fill.roll_up(LATER)
    assert set(LatencyCell.objects.values_list("metric", flat=True)) == {"e2e", "request_e2e"}


def test_running_again_changes_nothing(log: Log) -> None:
    log(whole(*(Told(NOON + n * 7 * MINUTE) for n in range(10))))
    fill.roll_up(LATER)
    before = cells()
    fill.roll_up(LATER + MINUTE)
    assert cells() == before
    assert FillState.objects.get().state == "done"


def test_the_open_quarter_is_seen_at_once_and_kept_up(log: Log) -> None:
    log(whole(Told(NOON + MINUTE)))
    fill.roll_up(NOON + 2 * MINUTE)
    assert RequestCell.objects.get().requests == 1
    log(whole(Told(NOON + 3 * MINUTE)))
    fill.roll_up(NOON + 4 * MINUTE)
    assert RequestCell.objects.get().requests == 2
    assert FillState.objects.get().end == NOON


def test_a_quarter_closes_only_after_the_grace(log: Log) -> None:
    log(whole(Told(NOON + MINUTE)))
    fill.roll_up(NOON + CELL + MINUTE)
    assert FillState.objects.get().end == NOON
    fill.roll_up(NOON + CELL + fill.GRACE)
    assert FillState.objects.get().end == NOON + CELL


def test_a_late_row_is_rolled_up_again_and_its_mark_goes(log: Log) -> None:
    log(whole(Told()))
    fill.roll_up(LATER)
    log(whole(Told(NOON + MINUTE), Told(NOON - dt.timedelta(hours=2))))
    assert DirtyBucket.objects.exists()
    report = fill.roll_up(LATER)
    assert report.dirty == 2
    assert RequestCell.objects.aggregate(n=Sum("requests"))["n"] == 3
    assert not DirtyBucket.objects.exists()


def test_a_run_that_died_is_repeated_by_the_next_one(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(whole(*(Told(NOON + n * dt.timedelta(hours=1)) for n in range(6))))
    now = NOON + dt.timedelta(hours=7)
    honest, calls = fill.fill, []

    def dies_at_the_second(*args: object, **named: object) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError("killed")
        honest(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(fill, "fill", dies_at_the_second)
    with pytest.raises(RuntimeError):
        fill.roll_up(now)
    assert FillState.objects.get().state == "started"
    monkeypatch.setattr(fill, "fill", honest)
    fill.roll_up(now)
    assert RequestCell.objects.aggregate(n=Sum("requests"))["n"] == 6
    assert FillState.objects.get().state == "done"


def test_a_correction_counts_in_the_quarter_of_its_attempt(log: Log) -> None:
    told = Told()
    log(whole(told))
    fill.roll_up(LATER)
    ChargeCorrection.objects.create(
        day=NOON.date(),
        request_id=told.id,
        attempt_no=1,
        source="settlement",
        delta_usd=Decimal("-0.00002"),
        cost_status="provider_reported",
        output_delta=-30,
    )
    fill.mark_dirty([NOON])
    fill.roll_up(LATER)
    cell = AttemptCell.objects.get()
    assert cell.cost_usd == Decimal("0.0004")
    assert cell.correction_usd == Decimal("-0.00002")
    assert (cell.cost_status, cell.output_tokens) == ("provider_reported", 470)


def test_an_attempt_counts_under_the_outcome_of_its_request(log: Log) -> None:
    told = Told()
    log(
        [
            told.intent(),
            told.failed(),
            told.intent(2, endpoint_id=2),
            told.finish(2),
            told.done(attempts=2, endpoint_id=2),
        ]
    )
    fill.roll_up(LATER)
    assert set(AttemptCell.objects.values_list("outcome", "attempt_outcome")) == {
        ("ok", "provider_error"),
        ("ok", "ok"),
    }
    assert RequestCell.objects.get().rescued == 1


LOST = {"outcome": Outcome.HEDGE_LOST, "error_code": "hedge_lost", "failure": "cancelled"}


@pytest.mark.parametrize("loser", [1, 2], ids=["the first", "the second"])
def test_a_hedge_rescues_nothing_whichever_attempt_was_quicker(log: Log, loser: int) -> None:
    told = Told()
    ends = {loser: told.failed(loser, **LOST), 3 - loser: told.finish(3 - loser)}
    log([told.intent(), told.intent(2, endpoint_id=2), *ends.values(), told.done(attempts=2)])
    fill.roll_up(LATER)
    assert (RequestCell.objects.get().requests, RequestCell.objects.get().rescued) == (1, 0)


def test_a_request_whose_hedge_won_because_the_first_attempt_failed_was_rescued(log: Log) -> None:
    told = Told()
    attempts = [told.intent(), told.intent(2, endpoint_id=2), told.failed(), told.finish(2)]
    log([*attempts, told.done(attempts=2, endpoint_id=2)])
    fill.roll_up(LATER)
    assert RequestCell.objects.get().rescued == 1


def test_a_day_that_was_dropped_keeps_its_sums(log: Log) -> None:
    log(whole(Told()))
    fill.roll_up(LATER)
    FillState.objects.update(kept_from=NOON.date() + dt.timedelta(days=1))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM attempt")
        cursor.execute("DELETE FROM request_log")
    fill.mark_dirty([NOON])
    fill.roll_up(LATER)
    assert RequestCell.objects.get().requests == 1
    assert not DirtyBucket.objects.exists()


moments = st.lists(st.integers(0, 8 * 60), min_size=1, max_size=12)


@given(minutes=moments, cuts=st.lists(st.integers(0, 32), max_size=4))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_filled_in_pieces_is_the_same_as_filled_at_once(
    log: Log, minutes: list[int], cuts: list[int]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM attempt; DELETE FROM request_log; DELETE FROM dirty_bucket")
    log(whole(*(Told(NOON + n * MINUTE) for n in minutes)))
    start, end = NOON, NOON + 36 * CELL
    fill.fill(start, end)
    at_once = cells()
    edges = sorted({start, end, *(NOON + n * CELL for n in cuts)})
    for first, last in itertools.pairwise(edges):
        fill.fill(first, last)
    assert cells() == at_once
    assert sum(Counter(minutes).values()) == RequestCell.objects.aggregate(n=Sum("requests"))["n"]
