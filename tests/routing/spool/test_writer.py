"""The writer: what it appends can be read, and how its segments follow one another."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from routing.core.record import Intent, RequestDone
from routing.core.spool import segment_name
from routing.gateway.spool import SpoolWriter
from tests.routing.spool.disks import PLENTY, SMALL, Make
from tests.routing.spool.records import (
    Read,
    done,
    finish,
    intent,
    is_locked,
    new_id,
    progress,
    read_folder,
    records_in,
    segments,
    unsettled,
    whole,
)
from tests.routing.spool.writing import fill

# --- writing and reading ------------------------------------------------------------------------------


def test_a_record_can_be_read_as_soon_as_it_is_appended(make: Make, folder: Path) -> None:
    writer = make()
    records = whole()
    for number, record in enumerate(records, 1):
        writer.append(record)
        assert records_in(folder) == records[:number]


def test_folder_and_segments_are_private_and_segments_preallocated(
    make: Make, folder: Path
) -> None:
    make()
    [path] = segments(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == SMALL
    assert path.name == f"gateway-{os.getpid()}-1.spool"


def test_a_folder_that_was_open_to_others_is_closed(make: Make, folder: Path) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    make()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_writer_holds_the_lock_until_it_closes(make: Make, folder: Path) -> None:
    writer = make()
    [path] = segments(folder)
    assert is_locked(path)
    writer.close()
    assert not is_locked(path)
    assert Read(path).ended == "closed"
    assert path.stat().st_size < 1000  # the preallocated rest is given back


def test_closing_twice_and_writing_afterwards(make: Make) -> None:
    writer = make()
    writer.close()
    writer.close()
    with pytest.raises(RuntimeError, match="closed"):
        writer.append(whole()[0])


def test_segments_of_an_earlier_process_with_the_same_pid_stay(make: Make, folder: Path) -> None:
    folder.mkdir()
    old = folder / segment_name("gateway", os.getpid(), 4)
    old.write_bytes(b"something of the past")
    make()
    assert old.read_bytes() == b"something of the past"
    assert segments(folder)[-1].name == segment_name("gateway", os.getpid(), 5)


def test_it_clears_away_what_an_interrupted_start_left(make: Make, folder: Path) -> None:
    folder.mkdir()
    (folder / "abc-1.new").write_bytes(b"half")
    make()
    assert not list(folder.glob("*.new"))


@pytest.mark.parametrize("name", ["", "a-b", "a/b", "..\0", "ä"])
def test_a_name_that_would_not_come_back_is_refused(name: str, folder: Path) -> None:
    with pytest.raises(ValueError, match="process name"):
        SpoolWriter(folder, name, PLENTY)


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        SpoolWriter(tmp_path / "file" / "spool", "gateway", PLENTY)


def test_many_threads_may_append(make: Make, folder: Path) -> None:
    writer = make(max_bytes=10**9)
    threads = [threading.Thread(target=fill, args=(writer, 100)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert len({r.request_id for r in records_in(folder) if isinstance(r, RequestDone)}) == 400


# --- rotation -----------------------------------------------------------------------------------------


def test_a_full_segment_ends_rotated_and_the_next_goes_on(make: Make, folder: Path) -> None:
    writer = make()
    ids = fill(writer, 500)
    writer.close()
    reads = read_folder(folder)
    assert len(reads) > 2
    assert [read.ended for read in reads] == ["rotated"] * (len(reads) - 1) + ["closed"]
    assert [read.header.segment_no for read in reads] == list(range(1, len(reads) + 1))
    assert len({read.header.process_id for read in reads}) == 1
    finished = [r.request_id for read in reads for r in read.records if isinstance(r, RequestDone)]
    assert finished == ids


def test_what_is_open_is_repeated_at_the_head_of_the_next_segment(make: Make, folder: Path) -> None:
    writer = make()
    open_id = new_id()
    opening = [intent(open_id, 1), finish(open_id, 1, "timeout"), intent(open_id, 2)]
    for record in [opening[0], progress(open_id, 5), *opening[1:]]:
        writer.append(record)
    for chars in (10, 20, 30):
        writer.append(progress(open_id, chars, attempt_no=2))
    while len(segments(folder)) < 2:
        fill(writer, 1)
    second = read_folder(folder)[1]
    assert second.records[:4] == [*opening, progress(open_id, 30, attempt_no=2)]
    writer.append(finish(open_id, 2))
    writer.append(done(open_id))
    while len(segments(folder)) < 3:
        fill(writer, 1)
    third = read_folder(folder)[2]
    assert open_id not in {record.request_id for record in third.records}


def test_a_closing_record_never_stands_in_a_segment_without_its_intent(
    make: Make, folder: Path
) -> None:
    writer = make()
    running: list[bytes] = []
    for number in range(1500):
        running.append(new_id())
        writer.append(intent(running[-1]))
        if len(running) > number % 7:
            writer.append(finish(running[0]))
            writer.append(done(running.pop(0)))
    writer.close()
    reads = read_folder(folder)
    assert len(reads) > 5
    for read in reads:
        asked: set[bytes] = set()
        for record in read.records:
            asked |= {record.request_id} if isinstance(record, Intent) else set()
            assert record.request_id in asked


def test_each_segment_alone_tells_what_is_still_open(make: Make, folder: Path) -> None:
    """So that a reader may delete one after the other."""
    writer = make()
    left_open = [new_id() for _ in range(3)]
    for request_id in left_open:
        writer.append(intent(request_id))
    fill(writer, 400)
    writer.close()
    assert len(segments(folder)) > 2
    assert unsettled(read_folder(folder)[-1].records) == set(left_open)
