from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from analytics.invariants import CHECKS, check_all, window_of
from analytics.models import Attempt, ChargeCorrection, RequestCell
from analytics.recorder.segments import segment_paths
from analytics.rollups.fill import roll_up
from routing.core.charges import ChargeLine
from routing.core.record import encode_lines
from routing.core.usage import Meter
from tests.analytics.conftest import Log
from tests.analytics.records import NOON, Told
from tests.analytics.spooling import Writer
from tests.analytics.stories import EVENING
from tests.analytics.world import World

pytestmark = pytest.mark.django_db


def broken() -> set[str]:
    return {breach.invariant for breach in check_all(window_of(7, EVENING))}


@pytest.fixture
def honest(world: World, log: Log, settings: object, tmp_path: Path) -> Told:
    """A request whose every figure is right."""
    settings.PANELBOARD_SPOOL_DIR = tmp_path  # type: ignore[attr-defined]
    told = Told(NOON)
    prices = {row.meter: row for row in world.at_swift.prices.all()}
    lines = (
        ChargeLine(Meter.INPUT, 800, prices["input"].pk, Decimal("0.00012")),
        ChargeLine(Meter.OUTPUT, 500, prices["output"].pk, Decimal("0.0003")),
    )
    log(
        [
            told.intent(endpoint_id=world.at_swift.pk),
            told.finish(lines=encode_lines(lines)),
            told.done(),
        ]
    )
    roll_up(EVENING)
    return told


def test_an_honest_log_has_no_breach(honest: Told) -> None:
    assert broken() == set()


def execute(statement: str) -> Callable[[Told], None]:
    def run(told: Told) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    return run


def _correct(told: Told, usd: str, number: int = 1) -> None:
    ChargeCorrection.objects.create(
        day=NOON.date(),
        request_id=told.id,
        attempt_no=number,
        source="settlement",
        delta_usd=Decimal(usd),
        cost_status="metered",
    )


BREAKS: dict[str, tuple[Callable[[Told], object], str]] = {
    "a lost request": (execute("DELETE FROM request_log"), "every attempt has its request"),
    "a lost attempt": (execute("DELETE FROM attempt"), "one row per attempt"),
    "a cent too much": (
        execute("UPDATE attempt SET cost_usd = cost_usd + 0.01"),
        "a charge is the sum of its lines",
    ),
    "a wrong quantity": (
        execute("UPDATE attempt SET lines = jsonb_set(lines, '{0,quantity}', '801')"),
        "a line is quantity times its price",
    ),
    "a foreign price": (
        execute("UPDATE attempt SET endpoint_id = endpoint_id + 1"),
        "a price holds for its endpoint and time",
    ),
    "a correction of nothing": (
        lambda told: _correct(told, "0.1", number=9),
        "a correction has its attempt",
    ),
    "too much given back": (
        lambda told: _correct(told, "-1"),
        "corrected charges are not negative",
    ),
    "a rollup that forgot": (
        lambda told: RequestCell.objects.all().delete(),
        "rollups are what the log says",
    ),
}


@pytest.mark.parametrize("case", BREAKS)
def test_each_breach_is_found(honest: Told, case: str) -> None:
    harm, invariant = BREAKS[case]
    harm(honest)
    assert invariant in broken()


def test_a_request_that_still_runs_is_no_breach(world: World, log: Log) -> None:
    told = Told(EVENING - dt.timedelta(minutes=2))
    log(
        [
            told.intent(endpoint_id=world.at_swift.pk),
            told.finish(cost_usd=Decimal(0), lines=encode_lines(())),
        ]
    )
    assert "every attempt has its request" not in broken()


def test_a_dead_process_that_nobody_settles_is_found(
    db: None, tmp_path: Path, settings: object
) -> None:
    settings.PANELBOARD_SPOOL_DIR = tmp_path  # type: ignore[attr-defined]
    writer = Writer(tmp_path)
    long_ago = EVENING.timestamp() - 300
    os.utime(writer.path, (long_ago, long_ago))
    assert broken() == set()  # alive
    writer.die()
    assert broken() == {"no dead process waits to be settled"}
    assert len(segment_paths(tmp_path)) == 1


def test_the_command_fails_when_something_is_broken(
    honest: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    days = str(int((time.time() - NOON.timestamp()) // 86400) + 2)
    call_command("check_invariants", "--days", days)
    told = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in told] == [["holds", name] for name in CHECKS]
    Attempt.objects.update(cost_usd=Decimal(7))
    with pytest.raises(CommandError, match="do not hold"):
        call_command("check_invariants", "--days", days)
