"""Requests that ended with their attempt, in one frame and one row: the log must not tell them from
those that came in pieces."""

from __future__ import annotations

import datetime as dt
import logging
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics.models import Attempt, RequestLog
from analytics.recorder.open_requests import OpenRequests, Rows
from analytics.recorder.rows import ATTEMPT, REQUEST, apart, has_answer, request_row
from analytics.recorder.shipper import Shipper
from analytics.recorder.store import Store
from routing.core import spool as spool_format
from routing.core.record import Outcome, encode, encode_end
from routing.core.usage import Usage
from tests.analytics.conftest import Clock
from tests.analytics.records import Told
from tests.analytics.spooling import Writer

pytestmark = pytest.mark.usefixtures("clean_log")


def drain(shipper: Shipper, clock: Clock) -> None:
    for _ in range(3):
        clock.now += 2
        shipper.step()


def told_of(request: Told) -> list[dict[str, Any]]:
    """Its rows, without what makes two requests two."""
    rows = [
        *Attempt.objects.filter(request_id=request.id).order_by("attempt_no").values(),
        *RequestLog.objects.filter(request_id=request.id).values(),
    ]
    own = {"request_id", "pk"}
    return [{name: row[name] for name in row.keys() - own} for row in rows]


def write_whole(writer: Writer, told: Told, story: str, *, in_one: bool) -> None:
    attempt_no, finish, done = 1, told.finish(), told.done()
    writer.write(told.intent())
    if story == "streamed":
        writer.write(told.progress(40), told.progress(80))
    elif story == "second try":
        attempt_no = 2
        writer.write(told.failed(), told.intent(2), told.progress(40, 2))
        finish, done = told.finish(2), told.done(attempts=2)
    elif story == "failed":
        finish = told.failed(dropped_params=("seed",), failure="transient")
        done = told.done(
            outcome=Outcome.PROVIDER_ERROR,
            http_status=502,
            error_code="upstream_failed",
            endpoint_id=None,
            ttft_ms=None,
            decision=b"",
        )
    assert finish.attempt_no == attempt_no
    if in_one:
        writer.write_end(finish, done)
    else:
        writer.write(finish, done)


@pytest.mark.parametrize("story", ["plain", "streamed", "second try", "failed"])
def test_one_frame_and_two_leave_the_same_log(
    story: str, spool: Path, shipper: Shipper, clock: Clock
) -> None:
    writer, one, two = Writer(spool), Told(), Told()
    write_whole(writer, one, story, in_one=True)
    write_whole(writer, two, story, in_one=False)
    drain(shipper, clock)
    assert told_of(one) == told_of(two)
    assert len(told_of(one)) == (3 if story == "second try" else 2)
    assert not (spool / "quarantine").exists()
    writer.die()


def test_nothing_is_left_to_settle(spool: Path, shipper: Shipper, clock: Clock) -> None:
    writer = Writer(spool)
    for story in ("plain", "streamed", "second try"):
        write_whole(writer, Told(), story, in_one=True)
    drain(shipper, clock)
    writer.die()
    drain(shipper, clock)
    assert not Attempt.objects.filter(outcome="crashed").exists()
    assert (Attempt.objects.count(), RequestLog.objects.count()) == (4, 3)
    assert not writer.path.exists()


def test_what_comes_twice_is_one_row(spool: Path, store: Store, clock: Clock) -> None:
    """Repeated in the next segment, shipped in pieces as well, and read again by a new recorder."""
    told = Told()
    writer = Writer(spool)
    write_whole(writer, told, "plain", in_one=True)
    following = writer.rotate(told.intent())
    following.write_end(told.finish(), told.done())
    following.write(told.intent(), told.finish(), told.done())
    for _ in range(2):
        drain(Shipper(spool, store, clock), clock)
        following.path.with_suffix(".spool.ckpt").unlink(missing_ok=True)
    assert (Attempt.objects.count(), RequestLog.objects.count()) == (1, 1)
    following.die()


@pytest.mark.parametrize("part", ["attempt", "request_log"])
def test_a_part_that_can_never_be_stored_does_not_take_the_other_along(
    part: str, spool: Path, shipper: Shipper, clock: Clock
) -> None:
    writer, bad, good = Writer(spool), Told(), Told()
    finish = bad.finish(usage=Usage(input_total=2**63)) if part == "attempt" else bad.finish()
    done = bad.done(decision=b"{") if part == "request_log" else bad.done()
    write_whole(writer, good, "plain", in_one=True)
    writer.write(bad.intent())
    writer.write_end(finish, done)
    drain(shipper, clock)
    counts = (Attempt.objects.count(), RequestLog.objects.count())
    assert counts == ((1, 2) if part == "attempt" else (2, 1))
    (kept,) = (spool / "quarantine").iterdir()
    assert kept.name.startswith(f"{part}-{bad.id}")
    values = msgspec.json.decode(kept.read_bytes())
    assert (values["request_id"], values["key_id"]) == (str(bad.id), 1)
    writer.die()


def test_without_its_intent_the_end_is_set_aside_and_the_request_kept(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    told = Told()
    writer = Writer(spool)
    place = writer.offset
    writer.write_end(told.finish(), told.done())
    drain(shipper, clock)
    (kept,) = (spool / "quarantine").iterdir()
    assert kept.name == f"{writer.path.name}.{place}.frame"
    assert kept.read_bytes() == encode_end(told.finish(), told.done())
    assert (Attempt.objects.count(), RequestLog.objects.count()) == (0, 1)
    writer.die()


def test_a_bad_frame_among_many_is_set_aside_alone(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    """More than are read at once, one of them damaged on disk and one that is no record."""
    writer = Writer(spool)
    every = [Told() for _ in range(500)]
    for number, told in enumerate(every):
        writer.write(told.intent())
        if number == 200:
            damaged = writer.offset
        if number == 300:
            odd = writer.offset
            writer.put(writer.frame(b"\x93\x01\x02\x03"))
        writer.write_end(told.finish(), told.done())
    with writer.path.open("r+b") as file:
        file.seek(damaged + 100)
        file.write(b"\xff" * 8)
    assert writer.offset > 2**18
    drain(shipper, clock)
    assert (Attempt.objects.count(), RequestLog.objects.count()) == (499, 499)
    names = {path.name for path in (spool / "quarantine").iterdir()}
    assert names == {f"{writer.path.name}.{place}.frame" for place in (damaged, odd)}
    writer.die()
    drain(shipper, clock)
    assert Attempt.objects.get(outcome="crashed").request_id == every[200].id


def test_what_is_already_shipped_is_only_remembered(
    spool: Path, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, before, after = Writer(spool), Told(), Told()
    left_open = Told()
    writer.write(left_open.intent())
    write_whole(writer, before, "plain", in_one=True)
    drain(Shipper(spool, store, clock), clock)
    write_whole(writer, after, "plain", in_one=True)
    writer.write_end(left_open.finish(), left_open.done())
    shipped: list[Rows] = []
    monkeypatch.setattr(store, "ship", shipped.append)
    drain(Shipper(spool, store, clock), clock)
    ids = [row[1] for rows in shipped for row in rows.attempts]
    assert ids == [after.id.bytes, left_open.id.bytes]
    writer.die()


def test_a_row_comes_apart_into_the_rows_of_both() -> None:
    told, rows = Told(), Rows()
    bodies = [encode(told.intent()), encode_end(told.finish(), told.done())]
    OpenRequests().take_frames(bodies, rows, lambda body, reason: pytest.fail(reason))
    (row,) = rows.attempts
    assert (len(row), has_answer(row), rows.requests) == (len(ATTEMPT.columns), True, [])
    attempt, request = apart(row)
    assert not has_answer(attempt)
    assert request == request_row(told.done())
    assert len(request) == len(REQUEST.columns)


def test_a_segment_of_another_version_is_set_aside_with_what_to_do(
    spool: Path, shipper: Shipper, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    told, writer = Told(), Writer(spool)
    write_whole(writer, told, "plain", in_one=True)
    data = bytearray(writer.path.read_bytes())
    size = spool_format.HEADER_BYTES
    data[8:10] = (1).to_bytes(2, "little")
    data[size - 4 : size] = zlib.crc32(data[: size - 4]).to_bytes(4, "little")
    writer.path.write_bytes(data)
    with caplog.at_level(logging.ERROR):
        drain(shipper, clock)
    assert "version 1, and this release reads version 2" in caplog.text
    assert (spool / "quarantine" / writer.path.name).read_bytes() == bytes(data)
    assert not Attempt.objects.exists()
    writer.die()


def test_a_new_row_is_seen_within_a_second(spool: Path, shipper: Shipper, clock: Clock) -> None:
    writer = Writer(spool)
    write_whole(writer, Told(), "plain", in_one=True)
    began = clock.now
    while not RequestLog.objects.exists():
        assert clock.now - began < dt.timedelta(seconds=1).total_seconds()
        clock.now += shipper.step()
    writer.die()
