"""When what the writer appended is on the disk, and who waits for it."""

from __future__ import annotations

import asyncio
import errno

from tests.routing.spool.disks import FaultyFiles, Make
from tests.routing.spool.records import whole
from tests.routing.spool.writing import eventually, fill


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
