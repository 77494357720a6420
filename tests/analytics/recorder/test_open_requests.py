from __future__ import annotations

from decimal import Decimal

import pytest

from analytics.recorder.crashed import crashed_finish, estimated_usage
from analytics.recorder.open_requests import MissingIntent, OpenRequests, Rows
from analytics.recorder.rows import ATTEMPT, REQUEST
from routing.core.charges import CostStatus, Price
from routing.core.pricing import PriceSheet
from routing.core.record import Finish, Intent, Outcome, Progress, Record
from routing.core.usage import Meter
from tests.analytics.records import NOON, Told

A = {name: place for place, name in enumerate(ATTEMPT.columns)}
R = {name: place for place, name in enumerate(REQUEST.columns)}
SHEET = PriceSheet(
    [
        Price(7, Meter.INPUT, Decimal("0.15"), NOON.replace(month=1)),
        Price(8, Meter.OUTPUT, Decimal("0.60"), NOON.replace(month=1)),
    ]
)


def settle(intent: Intent, progress: Progress | None) -> Finish:
    return crashed_finish(intent, progress, {1: SHEET})


def taken(*records: Record) -> tuple[OpenRequests, Rows]:
    requests, rows = OpenRequests(), Rows()
    for record in records:
        requests.take(record, rows)
    return requests, rows


def test_a_finished_request_is_one_row_per_attempt_and_one_of_its_own() -> None:
    told = Told()
    requests, rows = taken(
        told.intent(), told.failed(), told.intent(2), told.finish(2), told.done(attempts=2)
    )
    assert [row[A["attempt_no"]] for row in rows.attempts] == [1, 2]
    assert len(rows.requests) == 1
    assert len(requests) == 0


def test_records_that_come_twice_make_rows_once() -> None:
    told = Told()
    _, rows = taken(told.intent(), told.finish(), told.intent(), told.finish(), told.done())
    assert len(rows.attempts) == 1


def test_an_end_without_a_beginning_is_refused_and_forgotten() -> None:
    told = Told()
    requests, rows = OpenRequests(), Rows()
    with pytest.raises(MissingIntent):
        requests.take(told.finish(), rows)
    assert len(requests) == 0
    assert len(rows) == 0


def test_a_crash_is_charged_for_what_had_been_seen() -> None:
    told = Told()
    requests, _ = taken(told.intent(), told.progress(400), told.progress(801))
    rows = requests.settle(settle)
    (attempt,) = rows.attempts
    assert attempt[A["outcome"]] == Outcome.CRASHED
    assert attempt[A["input_total"]] == 100
    assert attempt[A["output_total"]] == 201  # of 801 characters
    wanted_usd = Decimal("0.15") * 100 / 10**6 + Decimal("0.60") * 201 / 10**6
    assert Decimal(attempt[A["cost_usd"]]) == wanted_usd
    assert attempt[A["cost_status"]] == CostStatus.ESTIMATED
    assert attempt[A["e2e_ms"]] is None
    assert b'"price_id":7' in attempt[A["lines"]]
    (request,) = rows.requests
    assert request[R["outcome"]] == Outcome.CRASHED
    assert request[R["http_status"]] is None
    assert request[R["endpoint_id"]] is None


def test_a_crash_is_settled_once() -> None:
    told = Told()
    requests, _ = taken(told.intent())
    assert len(requests.settle(settle)) == 2
    assert len(requests.settle(settle)) == 0


def test_an_attempt_that_had_ended_keeps_its_own_end_in_a_crash() -> None:
    told = Told()
    requests, before = taken(told.intent(), told.failed(), told.intent(2))
    rows = requests.settle(settle)
    assert [row[A["attempt_no"]] for row in before.attempts + rows.attempts] == [1, 2]
    assert rows.requests[0][R["attempts"]] == 2


def test_a_request_that_was_answered_before_the_crash_is_ok() -> None:
    told = Told()
    requests, _ = taken(told.intent(), told.finish())
    (request,) = requests.settle(settle).requests
    assert request[R["outcome"]] == Outcome.OK
    assert request[R["endpoint_id"]] == 1


def test_a_request_that_died_between_two_attempts_has_crashed() -> None:
    told = Told()
    requests, _ = taken(told.intent(), told.failed())
    (request,) = requests.settle(settle).requests
    assert request[R["outcome"]] == Outcome.CRASHED
    assert request[R["error_code"]] == "hub_crashed"


def test_without_progress_only_the_input_is_estimated() -> None:
    usage = estimated_usage(Told().intent(), None)
    assert (usage.input_total, usage.output_total) == (100, 0)


def test_a_free_endpoint_costs_nothing_in_a_crash_and_is_not_called_unpriced() -> None:
    finish = crashed_finish(Told().intent(), None, {})
    assert (finish.cost_usd, finish.cost_status) == (0, CostStatus.ESTIMATED)


def test_a_sheet_that_lacks_a_meter_is_called_unpriced() -> None:
    only_input = PriceSheet(SHEET.rows[:1])
    finish = crashed_finish(Told().intent(), Told().progress(400), {1: only_input})
    assert finish.cost_status is CostStatus.UNPRICED


def test_text_from_outside_may_hold_what_postgres_cannot() -> None:
    told = Told(requested_model="a\0b")
    _, rows = taken(told.intent(), told.finish(error_message="x\0y"), told.done())
    assert "\0" not in rows.attempts[0][A["error_message"]]
    assert "\0" not in rows.requests[0][R["requested_model"]]
