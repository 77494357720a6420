"""The two sides of the spool together: what the gateway's writer leaves, the recorder ships."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from analytics.models import Attempt, RequestLog
from analytics.recorder.shipper import Shipper
from routing.gateway.spool import SpoolWriter
from tests.analytics.conftest import Clock
from tests.analytics.records import NOON, Told

pytestmark = pytest.mark.usefixtures("clean_log")
SMALL = 64 * 1024


def rounds(shipper: Shipper, clock: Clock, count: int = 4) -> None:
    for _ in range(count):
        clock.now += 2
        shipper.step()


def segments(spool: Path) -> list[str]:
    return sorted(path.name for path in spool.iterdir() if path.suffix == ".spool")


def test_many_segments_arrive_whole_and_are_deleted(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    writer = SpoolWriter(spool, "gateway", 64 * SMALL, segment_bytes=SMALL)
    told = [Told(NOON) for _ in range(150)]
    for first, second in zip(told[::2], told[1::2], strict=True):  # two open at a time
        for one in (first, second):
            writer.append(one.intent())
        for one in (first, second):
            writer.append(one.progress(400))
            writer.append(one.finish())
            writer.append(one.done())
    assert len(segments(spool)) > 2
    rounds(shipper, clock)
    assert len(segments(spool)) == 1  # the one that is being written
    writer.close()
    rounds(shipper, clock)
    assert segments(spool) == []
    assert Attempt.objects.count() == RequestLog.objects.count() == 150
    assert not (spool / "quarantine").exists()


def test_what_is_open_when_the_gateway_closes_is_settled(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    writer = SpoolWriter(spool, "gateway", 64 * SMALL, segment_bytes=SMALL)
    told = Told(NOON)
    writer.append(told.intent())
    writer.append(told.progress(400))
    rounds(shipper, clock)
    assert Attempt.objects.count() == 0
    writer.close()
    rounds(shipper, clock)
    crashed = Attempt.objects.get()
    assert (crashed.outcome, crashed.output_total) == ("crashed", 100)


def test_a_row_is_in_the_log_soon_after_it_was_written(spool: Path, shipper: Shipper) -> None:
    shipper._clock = time.monotonic
    writer = SpoolWriter(spool, "gateway", 64 * SMALL, segment_bytes=SMALL)
    told = Told(NOON)
    for record in (told.intent(), told.finish(), told.done()):
        writer.append(record)
    deadline = time.monotonic() + 5
    while not Attempt.objects.exists():
        assert time.monotonic() < deadline
        time.sleep(shipper.step())
    writer.close()
