"""The writer: rotation, promises of room, failing disks, crashes."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from routing.core.record import Finish, Intent, Outcome, Progress, RequestDone
from routing.core.spool import CHECKPOINT_SUFFIX, pack_frame, pack_header, segment_name
from routing.gateway import spool as spool_module
from routing.gateway.spool import CLOSING_BYTES, SpoolFull, SpoolWriter
from tests.routing.spool.disks import PLENTY, SMALL, FaultyFiles, Make
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


def eventually(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.005)


def fill(writer: SpoolWriter, requests: int) -> list[bytes]:
    ids = [new_id() for _ in range(requests)]
    for request_id in ids:
        for record in whole(request_id):
            writer.append(record)
    return ids


def open_more(writer: SpoolWriter, requests: int, opened: list[bytes]) -> None:
    for request_id in [new_id() for _ in range(requests)]:
        writer.append(intent(request_id))
        opened.append(request_id)


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


# --- room ---------------------------------------------------------------------------------------------


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


# --- failing disks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_admits_nobody_and_loses_nothing(
    code: int, make: Make, folder: Path, disk: FaultyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "LOOK_S", 0.02)
    writer = make(files=disk)
    opened = [new_id() for _ in range(3)]
    for request_id in opened:
        writer.append(intent(request_id))
    disk.write_error = disk.allocate_error = code
    for request_id in opened:
        writer.append(progress(request_id, 40))
        writer.append(finish(request_id))
        writer.append(done(request_id))
    with pytest.raises(SpoolFull):
        writer.append(intent(new_id()))
    assert not writer.has_room()
    assert writer.stats().held_records == 6
    disk.write_error = disk.allocate_error = 0
    eventually(lambda: writer.stats().held_records == 0)
    assert writer.has_room()
    assert writer.stats().open_requests == 0
    last = read_folder(folder)[-1].records
    assert unsettled(last) == set()
    assert {record.request_id for record in last if isinstance(record, Intent)} == set(opened)


def test_what_was_held_comes_before_what_follows(
    make: Make, folder: Path, disk: FaultyFiles
) -> None:
    writer = make(files=disk)
    writer.append(intent(request_id := new_id()))
    disk.write_error = disk.allocate_error = errno.ENOSPC
    writer.append(finish(request_id))
    disk.write_error = disk.allocate_error = 0
    writer._retry_at = 0.0  # the disk is well again, and nothing was tried yet
    writer.append(done(request_id))
    eventually(lambda: writer.stats().held_records == 0)
    kinds = [type(record) for record in records_in(folder)]
    assert kinds.index(Finish) < kinds.index(RequestDone)


def test_half_a_write_is_a_failed_write(make: Make, folder: Path, disk: FaultyFiles) -> None:
    writer = make(files=disk)
    first, second = new_id(), new_id()
    writer.append(intent(first))
    disk.short_writes = 1
    writer.append(finish(first))
    writer.append(done(first))
    for record in whole(second):
        writer.append(record)
    writer.close()
    old, new = read_folder(folder)
    assert (old.ended, new.ended) == ("", "closed")
    assert unsettled(new.records) == set()
    kept = {type(record) for record in new.records if record.request_id == first}
    assert kept == {Intent, Finish, RequestDone}


def test_a_failed_sync_moves_all_that_was_unsynced_to_a_new_segment(
    make: Make, folder: Path, disk: FaultyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "LOOK_S", 0.02)
    writer = make(files=disk)
    open_id, closed_id = new_id(), new_id()
    disk.sync_error = errno.EIO
    writer.append(intent(open_id))
    for record in whole(closed_id):
        writer.append(record)
    eventually(lambda: disk.failed_syncs)
    disk.sync_error = 0
    eventually(lambda: len(segments(folder)) > 1 and writer.has_room())
    writer.append(finish(open_id))
    writer.append(done(open_id))
    writer.close()
    last = read_folder(folder)[-1]
    assert unsettled(last.records) == set()
    assert {r.request_id for r in last.records if isinstance(r, RequestDone)} == {
        open_id,
        closed_id,
    }
    assert not any(is_locked(path) for path in segments(folder))


def test_a_failed_sync_after_a_rotation_rescues_both_segments(
    make: Make, folder: Path, disk: FaultyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "LOOK_S", 0.02)
    monkeypatch.setattr(spool_module, "SYNC_DELAY_S", 0.5)
    writer = make(files=disk)
    time.sleep(0.05)
    disk.sync_error = errno.EIO
    ids = []
    while len(segments(folder)) < 3:
        ids += fill(writer, 1)
    broken = {path.stat().st_ino for path in segments(folder)}
    disk.sound = lambda inode: inode not in broken
    monkeypatch.setattr(spool_module, "SYNC_DELAY_S", 0.01)
    eventually(lambda: len(segments(folder)) > 3 and writer.has_room())
    rescued_in = len(segments(folder))
    ids += fill(writer, 1)
    assert len(segments(folder)) == rescued_in  # it is as large as the rescue needed, and more
    writer.close()
    last = read_folder(folder)[-1]
    assert {r.request_id for r in last.records if isinstance(r, RequestDone)} == set(ids)


def test_a_segment_that_cannot_be_made_is_tried_again(
    make: Make, folder: Path, disk: FaultyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "LOOK_S", 0.02)
    writer = make(files=disk)
    disk.allocate_error = errno.ENOSPC
    while True:
        try:
            fill(writer, 1)
        except SpoolFull:
            break
    assert not writer.has_room()
    assert len(segments(folder)) == 1
    assert not list(folder.glob("*.new"))
    disk.allocate_error = 0
    eventually(writer.has_room)
    fill(writer, 1)
    assert len(segments(folder)) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_file_system_that_is_really_full(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=192k,mode=700", "tmpfs", str(mount)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    try:
        writer = SpoolWriter(mount / "spool", "gateway", PLENTY, segment_bytes=SMALL)
        opened = []
        while writer.has_room():
            try:
                writer.append(intent(request_id := new_id()))
            except SpoolFull:
                break
            opened.append(request_id)
            if len(opened) > 8:
                oldest = opened.pop(0)
                writer.append(finish(oldest))
                writer.append(done(oldest))
        for request_id in opened:
            writer.append(finish(request_id))
            writer.append(done(request_id))
        assert writer.stats().failures > 0
        assert writer.stats().held_records == 0
        assert unsettled(records_in(mount / "spool")) == set()
        writer.close()
    finally:
        subprocess.run(["umount", str(mount)], check=True)


# --- durability ---------------------------------------------------------------------------------------


async def test_durable_waits_for_the_sync(make: Make, disk: FaultyFiles) -> None:
    writer = make(durability="host", files=disk)
    writer.append(whole()[0])
    before = len(disk.syncs)
    await writer.durable()
    assert len(disk.syncs) > before


async def test_many_who_wait_share_a_sync(make: Make, disk: FaultyFiles) -> None:
    writer = make(durability="host", files=disk)

    async def one() -> None:
        for record in whole():
            writer.append(record)
        await writer.durable()

    await asyncio.gather(*(one() for _ in range(100)))
    assert len(disk.syncs) < 50


async def test_with_durability_process_nobody_waits(make: Make, disk: FaultyFiles) -> None:
    disk.sync_error = errno.EIO
    writer = make(files=disk)
    writer.append(whole()[0])
    await asyncio.wait_for(writer.durable(), 1)


async def test_a_dead_disk_does_not_hold_the_answer_hostage(make: Make, disk: FaultyFiles) -> None:
    writer = make(durability="host", files=disk)
    writer.append(whole()[0])
    disk.sync_error = disk.write_error = disk.allocate_error = errno.EIO
    await asyncio.wait_for(writer.durable(), 3)
    assert not writer.has_room()


def test_everything_is_synced_within_a_moment(make: Make, disk: FaultyFiles) -> None:
    writer = make(files=disk)
    fill(writer, 3)
    eventually(lambda: disk.syncs and not writer._unsynced)


# --- crashes ------------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from routing.gateway.spool import SpoolWriter
from tests.routing.spool.records import done, finish, intent, new_id, progress

writer = SpoolWriter(Path(sys.argv[1]), "gateway", 2**30, segment_bytes=65536)
journal = open(sys.argv[2], "a", buffering=1)
waiting = []
while True:
    request_id = new_id()
    writer.append(intent(request_id))
    journal.write(f"intent {request_id.hex()}\\n")
    writer.append(progress(request_id, 40))
    waiting.append(request_id)
    if len(waiting) > 5:
        oldest = waiting.pop(0)
        writer.append(finish(oldest))
        writer.append(done(oldest))
        journal.write(f"done {oldest.hex()}\\n")
"""


@pytest.mark.parametrize("run", range(3))
def test_a_killed_process_leaves_all_it_had_appended(
    run: int, tmp_path: Path, folder: Path
) -> None:
    journal = tmp_path / "journal"
    root = Path(__file__).parents[3]
    child = subprocess.Popen([sys.executable, "-c", CHILD, folder, journal], cwd=root)
    try:
        eventually(lambda: journal.exists() and journal.stat().st_size > 40_000 * (run + 1))
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    reads = read_folder(folder)
    assert not any(read.damaged for read in reads)
    assert [read.ended for read in reads[:-1]] == ["rotated"] * (len(reads) - 1)
    assert not is_locked(reads[-1].path)
    records = [record for read in reads for record in read.records]
    told = [line.split() for line in journal.read_text().splitlines() if len(line.split()) == 2]
    asked = {bytes.fromhex(value) for word, value in told if word == "intent" and len(value) == 32}
    answered = {bytes.fromhex(value) for word, value in told if word == "done" and len(value) == 32}
    assert asked <= {r.request_id for r in records if isinstance(r, Intent)}
    assert answered <= {r.request_id for r in records if isinstance(r, RequestDone)}
    assert unsettled(reads[-1].records) == unsettled(records)


def test_a_torn_last_record_costs_only_itself(make: Make, folder: Path) -> None:
    writer = make()
    ids = fill(writer, 5)
    writer.append(intent(torn := new_id()))
    [path] = segments(folder)
    data = bytearray(path.read_bytes())
    last = Read(path).items[-1]
    data[last.end - 10 : last.end] = bytes(10)
    path.write_bytes(data)
    seen = {record.request_id for record in Read(path).records}
    assert seen == set(ids)
    assert torn not in seen


def test_progress_is_kept_for_the_settlement(make: Make, folder: Path) -> None:
    writer = make()
    request_id = new_id()
    writer.append(intent(request_id))
    for chars in range(0, 4000, 40):
        writer.append(progress(request_id, chars))
    kept = [r for r in records_in(folder) if isinstance(r, Progress)]
    assert kept[-1].output_chars == 3960


def test_the_format_does_not_change_unseen() -> None:
    head = pack_header(UUID(int=1), 2, 3, 4.0)
    assert head.hex() == (
        "504e4c53504f4f4c"
        "0200"
        "4000"
        "02000000"
        "03000000"
        "00000000000000000000000000000001"
        "0000000000001040" + "00" * 16 + "34f01395"
    )
    assert pack_frame(b"\x93\x01\x02\x03", 5).hex() == "040000006b38921393010203"
