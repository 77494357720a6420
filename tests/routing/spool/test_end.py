"""The end of an attempt and of its request in one write: as two calls of `append`, but one frame."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from routing.core.record import Finish, Record, RequestDone, encode_end
from routing.core.spool import MAX_BODY_BYTES
from routing.gateway.spool import SpoolWriter
from tests.routing.spool.disks import FaultyFiles, Make
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


def end(writer: SpoolWriter, request_id: bytes, attempt_no: int = 1) -> list[Record]:
    finished, answered = finish(request_id, attempt_no), done(request_id)
    writer.append_end(finished, answered)
    return [finished, answered]


def test_it_is_one_frame_that_reads_as_both(make: Make, folder: Path) -> None:
    writer = make()
    begun = intent(request_id := new_id())
    writer.append(begun)
    ended = end(writer, request_id)
    [read] = read_folder(folder)
    assert (len(read.items), read.records) == (2, [begun, *ended])
    assert writer.stats().open_requests == 0


def test_what_has_ended_is_not_repeated_in_the_next_segment(make: Make, folder: Path) -> None:
    writer = make()
    plain, streamed, retried, still_open = (new_id() for _ in range(4))
    for request_id in (plain, streamed, retried, still_open):
        writer.append(intent(request_id))
    writer.append(progress(streamed, 40))
    writer.append(finish(retried))
    writer.append(second := intent(retried, 2))
    for request_id, attempt_no in ((plain, 1), (streamed, 1), (retried, 2)):
        end(writer, request_id, attempt_no)
    while len(segments(folder)) < 2:
        writer.append(done(new_id()))
    last = read_folder(folder)[-1].records
    assert second not in last
    assert {record.request_id for record in last if not isinstance(record, RequestDone)} == {
        still_open
    }


def test_it_rotates_where_the_segment_is_full(make: Make, folder: Path) -> None:
    writer = make()
    running: list[bytes] = []
    ended: set[bytes] = set()
    for number in range(1500):
        writer.append(intent(request_id := new_id()))
        running.append(request_id)
        if len(running) > number % 7:
            end(writer, running[0])
            ended.add(running.pop(0))
    writer.close()
    reads = read_folder(folder)
    assert len(reads) > 5
    assert [read.ended for read in reads] == ["rotated"] * (len(reads) - 1) + ["closed"]
    assert {r.request_id for r in records_in(folder) if isinstance(r, RequestDone)} == ended
    for read in reads:
        assert unsettled(read.records) <= unsettled(reads[-1].records) | ended


@pytest.mark.parametrize("trouble", ["broken_writes", "short_writes"])
def test_a_write_that_fails_is_done_again_in_the_next_segment(
    trouble: str, make: Make, folder: Path, disk: FaultyFiles
) -> None:
    writer = make(files=disk)
    writer.append(begun := intent(request_id := new_id()))
    setattr(disk, trouble, 1)
    ended = end(writer, request_id)
    writer.close()
    last = read_folder(folder)[-1]
    assert (last.ended, last.records[0], last.records[-2:]) == ("closed", begun, ended)
    assert (writer.stats().failures, writer.stats().held_records) == (1, 0)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_it_is_held_until_the_disk_takes_it_again(
    code: int, make: Make, folder: Path, disk: FaultyFiles
) -> None:
    writer = make(files=disk)
    writer.append(intent(request_id := new_id()))
    disk.write_error = disk.allocate_error = code
    ended = end(writer, request_id)
    assert (writer.stats().held_records, writer.stats().open_requests) == (2, 1)
    assert not writer.has_room()
    disk.write_error = disk.allocate_error = 0
    writer._retry_at = 0.0
    writer.append(intent(other := new_id()))
    assert (writer.stats().held_records, writer.stats().open_requests) == (0, 1)
    closing = [r for r in records_in(folder) if isinstance(r, Finish | RequestDone)]
    assert (closing[0], closing[-1]) == tuple(ended)  # a record may come twice
    assert unsettled(records_in(folder)) == {other}


def test_two_that_are_too_large_together_are_written_one_by_one(make: Make, folder: Path) -> None:
    writer = make(2**24, segment_bytes=2**22)
    writer.append(intent(request_id := new_id()))
    ending = finish(request_id, message="x" * (MAX_BODY_BYTES - 200))
    answered = done(request_id)
    assert len(encode_end(ending, answered)) > MAX_BODY_BYTES
    writer.append_end(ending, answered)
    assert records_in(folder)[1:] == [ending, answered]


def test_a_closed_spool_says_so(make: Make) -> None:
    writer = make()
    writer.append(intent(request_id := new_id()))
    writer.close()
    with pytest.raises(RuntimeError, match="closed"):
        end(writer, request_id)
    with pytest.raises(RuntimeError, match="closed"):
        writer.append(intent(new_id()))
