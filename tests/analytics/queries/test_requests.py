from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from uuid import UUID, uuid4

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analytics.models import ChargeCorrection, RequestLog
from analytics.queries import BadCursor, breakdown, headline, receipt, request_page
from analytics.queries.cursors import pack
from analytics.queries.requests import least_certain
from analytics.queries.types import EVERYTHING, Filters, Scope
from analytics.rollups import fill
from routing.core.charges import CostStatus
from routing.core.decision import Candidate, Decision, to_json
from routing.core.record import Outcome, encode_lines
from routing.core.replay import replay_json
from tests.analytics.conftest import Log
from tests.analytics.records import LINES, NOON, Told, decision
from tests.analytics.stories import EVENING, everything
from tests.analytics.world import World

pytestmark = pytest.mark.django_db


def walk(filters: Filters, size: int) -> list[UUID]:
    found: list[UUID] = []
    cursor = ""
    while True:
        page = request_page(filters, cursor, size)
        found += [row.request_id for row in page.rows]
        cursor = page.next_cursor
        if not cursor:
            return found


def test_a_walk_shows_every_row_once_though_all_share_one_instant(world: World, log: Log) -> None:
    for _ in range(25):
        told = Told(NOON)
        log([told.done(attempts=0)])
    found = walk(everything(), size=4)
    assert len(found) == len(set(found)) == 25


def test_the_newest_come_first(busy: World) -> None:
    rows = request_page(everything(kind="all"), size=500).rows
    assert [row.received_at for row in rows] == sorted(
        (row.received_at for row in rows), reverse=True
    )


def test_rows_that_arrive_during_a_walk_do_not_shift_it(busy: World, log: Log) -> None:
    before = walk(everything(kind="all"), 500)
    first = request_page(everything(kind="all"), size=10)
    log([Told(NOON + dt.timedelta(hours=11, minutes=59)).done()])
    second = request_page(everything(kind="all"), first.next_cursor, 10)
    assert [row.request_id for row in [*first.rows, *second.rows]] == before[:20]


def test_each_filter_narrows_the_list(busy: World) -> None:
    every = request_page(everything(kind="all"), size=500).rows
    for row_field, wanted in (
        ("provider", {"provider": "swift"}),
        ("model", {"model": "acme/two"}),
        ("project_id", {"project_id": busy.project.pk}),
        ("key_id", {"key_id": busy.key.pk}),
        ("endpoint_id", {"endpoint_id": busy.at_steady.pk}),
        ("outcome", {"outcome": "timeout"}),
        ("kind", {"kind": "probe"}),
    ):
        rows = request_page(everything(**{"kind": "all", **wanted}), size=500).rows
        value = next(iter(wanted.values()))
        assert rows, wanted
        assert {getattr(row, row_field) for row in rows} == {value}
        assert len(rows) == sum(getattr(row, row_field) == value for row in every)


def test_a_page_costs_the_same_queries_however_long(busy: World) -> None:
    counts = []
    for size in (1, 50):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            request_page(everything(kind="all"), size=size)
        counts.append(len(captured))
    assert counts[0] <= counts[1] <= 6


def test_a_row_tells_what_its_attempts_cost_together(world: World, log: Log) -> None:
    told = Told(NOON)
    log(
        [
            told.intent(),
            told.failed(cost_usd=Decimal("0.000001"), cost_status=CostStatus.ESTIMATED),
            told.intent(2),
            told.finish(2),
            told.done(attempts=2),
        ]
    )
    (row,) = request_page(everything()).rows
    assert row.cost_usd == Decimal("0.000421")
    assert row.cost_status == "estimated"
    assert (row.input_tokens, row.output_tokens) == (1000, 500)


@pytest.mark.parametrize(
    "cursor",
    ["nonsense", "a:b:c", pack("another list", ["x", "y"])],
    ids=["noise", "parts", "of another list"],
)
def test_a_cursor_that_is_not_ours_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(BadCursor, match="start again"):
        request_page(everything(), cursor)


def test_a_scope_lists_its_own_requests_alone(busy: World) -> None:
    theirs = replace(everything(kind="all"), scope=Scope(frozenset({busy.rival_project.pk})))
    rows = request_page(theirs, size=500).rows
    assert rows
    assert {row.project_id for row in rows} == {busy.rival_project.pk}


# --- receipts --------------------------------------------------------------------------------------


def test_a_receipt_explains_every_cent(world: World, log: Log) -> None:
    told = Told(NOON, project_id=world.project.pk, model_id=world.model.pk)
    price_in, price_out = world.at_swift.prices.order_by("meter")
    lines = encode_lines(
        tuple(
            msgspec.structs.replace(line, price_id=price.pk)
            for line, price in zip(LINES, (price_in, price_out), strict=True)
        )
    )
    log(
        [
            told.intent(endpoint_id=world.at_steady.pk),
            told.failed(),
            told.intent(2, endpoint_id=world.at_swift.pk),
            told.finish(2, lines=lines, dropped_params=("seed", "logit_bias")),
            told.done(
                attempts=2, endpoint_id=world.at_swift.pk, decision=decision(world.at_swift.pk)
            ),
        ]
    )
    found = receipt(EVERYTHING, told.id)
    assert found is not None
    failed, answered = found.attempts
    assert (failed.outcome, failed.provider, failed.cost_usd) == ("provider_error", "steady", 0)
    assert sum(line.amount_usd for line in answered.lines) == answered.cost_usd
    assert answered.lines[0].unit_price_usd == Decimal("0.15")
    assert answered.lines[0].per == 1_000_000
    assert answered.offset_ms == pytest.approx(1, abs=0.01)
    assert answered.speed_tps == 499
    assert answered.dropped_params == ["seed", "logit_bias"]
    first, second = found.candidates
    assert (first.provider, first.place, first.expected_cost_usd) == (
        "swift",
        1,
        Decimal("0.000005"),
    )
    assert (second.excluded, second.detail, second.place) == ("max_price", "0.10", None)
    assert found.objective == "balanced"
    assert found.cost_by_status == {"metered": Decimal("0.00042")}


def test_a_receipt_counts_corrections(world: World, log: Log) -> None:
    told = Told(NOON)
    log([told.intent(), told.finish(cost_status=CostStatus.ESTIMATED), told.done()])
    ChargeCorrection.objects.create(
        day=NOON.date(),
        request_id=told.id,
        attempt_no=1,
        source="settlement",
        delta_usd=Decimal("0.00008"),
        cost_status="metered",
        output_delta=20,
    )
    found = receipt(EVERYTHING, told.id)
    assert found is not None
    (attempt,) = found.attempts
    assert (attempt.recorded_cost_usd, attempt.cost_usd) == (Decimal("0.00042"), Decimal("0.0005"))
    assert (attempt.output_tokens, attempt.cost_status) == (520, "metered")
    assert found.request.cost_usd == Decimal("0.0005")
    assert found.corrections[0].delta_usd == Decimal("0.00008")


def test_a_request_without_attempts_has_a_receipt(world: World, log: Log) -> None:
    told = Told(NOON)
    log([told.done(outcome=Outcome.BLOCKED, attempts=0, decision=b"", model_id=None)])
    found = receipt(EVERYTHING, told.id)
    assert found is not None
    assert (found.attempts, found.candidates, found.request.cost_status) == ([], [], "")


def test_a_stranger_cannot_tell_a_foreign_request_from_none(busy: World) -> None:
    foreign = RequestLog.objects.filter(project_id=busy.rival_project.pk).first()
    assert foreign is not None
    mine = Scope(frozenset({busy.project.pk}))
    assert receipt(mine, foreign.request_id) is None
    assert receipt(mine, uuid4()) is None
    assert receipt(EVERYTHING, foreign.request_id) is not None


@pytest.mark.parametrize("number", [0, 2**128 - 1, 1])
def test_an_id_of_no_day_of_ours_has_no_receipt(world: World, number: int) -> None:
    assert receipt(EVERYTHING, UUID(int=number)) is None


def test_a_request_is_as_certain_as_its_least_certain_attempt() -> None:
    assert least_certain(["metered", "estimated", "provider_reported"]) == "estimated"
    assert least_certain([]) == ""


def test_outcomes_are_in_words(busy: World) -> None:
    assert "provider error" not in {row.slug for row in breakdown(everything(), "outcome")}
    assert {row.label for row in breakdown(everything(), "outcome")} >= {"ok", "timeout"}


def test_a_receipt_says_what_the_next_choice_would_have_cost(world: World, log: Log) -> None:
    told = Told(NOON, project_id=world.project.pk, model_id=world.model.pk)
    ids = (world.at_swift.pk, world.at_steady.pk)
    candidates = (
        Candidate(ids[0], 5_000_000, 120.0, 80.0, 0.99, 40, 1.0, 0.7),
        Candidate(ids[1], 9_000_000, 90.0, 95.0, 0.98, 30, 1.4, 0.3),
    )
    made = Decision("mine", 3, "balanced", "m", candidates, ids, 17, 1200, 300, rule="at night")
    log([told.intent(), told.finish(), told.done(decision=to_json(made))])
    found = receipt(EVERYTHING, told.id)
    assert found is not None
    assert found.runner_up_cost_usd == Decimal("0.000009")
    assert (found.estimated_input_tokens, found.estimated_output_tokens) == (1200, 300)
    assert found.rule == "at night"
    assert [one.share for one in found.candidates] == [0.7, 0.3]


def test_a_replayed_answer_is_listed_and_points_at_the_first_and_counts_for_nothing(
    world: World, log: Log
) -> None:
    first = Told(NOON, model_id=world.model.pk)
    log([first.intent(endpoint_id=world.at_swift.pk), first.finish(), first.done()])
    fill.roll_up(EVENING)
    before = headline(everything())
    again = Told(NOON, model_id=world.model.pk, kind="replay")
    log([again.done(attempts=0, endpoint_id=None, decision=replay_json(str(first.id)))])
    fill.roll_up(EVENING)
    assert headline(everything()) == before
    listed = {row.request_id: row for row in request_page(everything()).rows}
    assert set(listed) == {first.id, again.id}
    assert (listed[again.id].kind, listed[again.id].cost_usd) == ("replay", 0)
    found, original = receipt(EVERYTHING, again.id), receipt(EVERYTHING, first.id)
    assert found is not None
    assert original is not None
    assert (found.replay_of, found.attempts, found.candidates) == (str(first.id), [], [])
    assert original.replay_of == ""
    assert [row.request_id for row in request_page(everything(kind="replay")).rows] == [again.id]
