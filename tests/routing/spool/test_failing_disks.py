"""The writer on a disk that fails, is full, or cannot be synced."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from pathlib import Path

import pytest

from routing.core.record import Finish, Intent, RequestDone
from routing.gateway import spool as spool_module
from routing.gateway.spool import SpoolFull, SpoolWriter
from tests.routing.spool.disks import PLENTY, SMALL, FaultyFiles, Make
from tests.routing.spool.records import (
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
from tests.routing.spool.writing import eventually, fill


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
