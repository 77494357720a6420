"""What the writer promises of room: who is admitted, and who may still end."""

from __future__ import annotations

from pathlib import Path

import pytest

from routing.core.record import Outcome
from routing.core.spool import CHECKPOINT_SUFFIX, segment_name
from routing.gateway import spool as spool_module
from routing.gateway.spool import CLOSING_BYTES, SpoolFull
from tests.routing.spool.disks import SMALL, Make
from tests.routing.spool.records import (
    done,
    finish,
    intent,
    new_id,
    progress,
    read_folder,
    records_in,
    segments,
    unsettled,
)
from tests.routing.spool.writing import eventually, fill, open_more


def test_it_refuses_new_requests_at_the_cap_and_settles_the_old(make: Make, folder: Path) -> None:
    writer = make(max_bytes=3 * SMALL)
    opened = []
    while writer.has_room():
        opened.append(new_id())
        writer.append(intent(opened[-1]))
        writer.append(progress(opened[-1], 4))
        if len(opened) > 4:  # some end, so that it comes to a rotation
            writer.append(finish(opened[-1]))
            writer.append(done(opened.pop()))
    with pytest.raises(SpoolFull):
        open_more(writer, 5, opened)
    assert not writer.has_room()
    for request_id in opened:
        writer.append(finish(request_id, message="x" * 1500))
        writer.append(done(request_id))
    assert len(segments(folder)) <= 3
    assert unsettled(records_in(folder)) == set()
    assert writer.stats().open_requests == 0


def test_progress_gives_way_to_closing_records(make: Make, folder: Path) -> None:
    writer = make(max_bytes=SMALL)
    opened = [new_id() for _ in range(8)]
    for request_id in opened:
        writer.append(intent(request_id))
    for number in range(5000):
        writer.append(progress(opened[number % 8], number))
    assert writer.stats().dropped_records > 0
    for request_id in opened:
        writer.append(finish(request_id, message="x" * 1500))
        writer.append(done(request_id))
    assert unsettled(records_in(folder)) == set()
    assert len(segments(folder)) == 2


def test_every_process_may_have_two_segments(make: Make, folder: Path) -> None:
    """Else the first could never end, and so never be deleted."""
    writer = make(max_bytes=SMALL)
    while writer.has_room():
        fill(writer, 1)
    assert [read.ended for read in read_folder(folder)] == ["rotated", ""]


def test_there_is_room_again_once_the_reader_has_deleted(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "LOOK_S", 0.02)
    writer = make(max_bytes=2 * SMALL)
    while writer.has_room():
        fill(writer, 1)
    for path in segments(folder)[:-1]:
        path.unlink()
    eventually(writer.has_room)


def test_segments_of_others_count_against_the_cap(make: Make, folder: Path) -> None:
    folder.mkdir()
    for number in range(5):
        (folder / segment_name("other", 1, number)).write_bytes(bytes(SMALL))
    (folder / (segment_name("other", 1, 0) + CHECKPOINT_SUFFIX)).write_bytes(b"64\n")
    writer = make(max_bytes=4 * SMALL)
    assert writer.has_room()  # in the segment it has
    while writer.has_room():
        fill(writer, 1)
    own = [path for path in segments(folder) if path.name.startswith("gateway")]
    assert len(own) <= 2
    assert writer.stats().segments == 5 + len(own)


def test_a_request_that_is_open_keeps_its_room(make: Make) -> None:
    writer = make()
    count = 0
    while writer.has_room():
        writer.append(intent(new_id()))
        count += 1
    assert count == pytest.approx(SMALL / CLOSING_BYTES, abs=4)


def test_a_refused_request_is_not_recorded_when_there_is_no_room(make: Make) -> None:
    writer = make(max_bytes=SMALL)
    while writer.has_room():
        writer.append(intent(new_id()))
    before = writer.stats().dropped_records
    for _ in range(2000):
        writer.append(done(new_id(), Outcome.BLOCKED))
    assert writer.stats().dropped_records > before
    assert writer.stats().held_records == 0


def test_a_record_beyond_all_measure_is_a_mistake(make: Make) -> None:
    writer = make()
    with pytest.raises(ValueError, match="at most"):
        writer.append(intent(new_id(), model="x" * 2**21))
