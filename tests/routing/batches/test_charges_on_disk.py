"""No answer is kept that nothing on the disk would charge, and a full spool loses no answer."""

from __future__ import annotations

import asyncio

import pytest

from routing.core.record import Finish, Intent, Record, decode
from routing.gateway.spool import SpoolFull
from routing.simulator.server import ThreadedSimulator
from tests.routing.batches.native_world import CHAT, billed, booked, finished
from tests.routing.batches.world import World, line, run_sql, until

KEPT = "SELECT count(*) FROM routing_batchline WHERE status_code IS NOT NULL"
DUE_NOW = "UPDATE routing_batchline SET not_before = now()"


class SlowDisk:
    """Stands between a spool and its disk: nobody is told that a record is there before `lets`."""

    def __init__(self, world: World) -> None:
        self.waits_for: list[type[Record]] = []  # the last record that each one waits for
        self._lets = asyncio.Semaphore(0)
        self._spool = world.spool
        world.spool.durable = self._durable  # type: ignore[method-assign]

    async def _durable(self) -> None:
        self.waits_for.append(type(decode(self._spool.frames[-1])))
        await self._lets.acquire()

    def lets(self, so_many: int) -> None:
        for _ in range(so_many):
            self._lets.release()


async def kept() -> int:
    ((count,),) = await run_sql(KEPT)
    return int(count)


async def test_a_line_is_kept_when_its_attempt_is_on_the_disk_and_ended_when_its_charge_is(
    world: World,
) -> None:
    """A host that dies between the two has the attempt to charge by, and the answer."""
    async with world.serving(durability="host"):
        disk = SlowDisk(world)
        batch_id = await world.begin(line("a"))
        working = asyncio.create_task(world.work())
        await until(lambda: disk.waits_for)
        await asyncio.sleep(0.1)
        assert (disk.waits_for, await kept()) == ([Intent], 0)
        disk.lets(1)
        await until(lambda: len(disk.waits_for) == 2)
        assert (await world.batch(batch_id))["request_counts"]["completed"] == 1
        assert len(world.charged) == 1
        await asyncio.sleep(0.1)
        assert not working.done()
        disk.lets(1)
        await working
        assert (await world.batch(batch_id))["request_counts"]["completed"] == 1


async def test_answers_of_a_provider_are_kept_when_their_charges_are_on_the_disk(
    native: World, simulator: ThreadedSimulator
) -> None:
    disk = SlowDisk(native)
    batch_id = await native.begin(*native_lines("a", "b"))
    finishing = asyncio.create_task(finished(native, batch_id))
    await until(lambda: disk.waits_for)
    await asyncio.sleep(0.1)
    assert await kept() == 0
    assert booked(native) == billed(simulator) > 0
    disk.lets(1)
    assert (await finishing)["request_counts"]["completed"] == 2
    assert len(disk.waits_for) == 1


async def test_without_room_in_the_spool_no_line_is_asked_and_each_waits_untried(
    world: World,
) -> None:
    world.spool.room = False
    batch_id = await world.begin(*map(line, "ab"))
    await world.work(turn_s=0.5)
    assert world.provider.asked == []
    assert await run_sql("SELECT DISTINCT state, try_no FROM routing_batchline") == [("waiting", 0)]
    world.spool.room = True
    await run_sql(DUE_NOW)
    await world.work()
    assert (await world.batch(batch_id))["request_counts"]["completed"] == 2


async def test_a_line_whose_attempt_finds_no_room_any_more_is_tried_again(world: World) -> None:
    append, refused = world.spool.append, []

    def full_at_first(record: Record) -> None:
        if isinstance(record, Intent) and not refused:
            refused.append(record)
            raise SpoolFull
        append(record)

    world.spool.append = full_at_first  # type: ignore[method-assign]
    batch_id = await world.begin(line("a"))
    await world.work(turn_s=0.5)
    assert (len(refused), world.provider.asked) == (1, [])
    await run_sql(DUE_NOW)
    await world.work()
    assert (await world.batch(batch_id))["request_counts"]["completed"] == 1
    assert len(world.charged) == 1


async def test_an_answer_on_its_way_as_the_spool_fills_up_is_kept_and_charged(
    world: World,
) -> None:
    batch_id = await world.begin(line("a"))
    world.provider.open.clear()
    working = asyncio.create_task(world.work())
    await until(lambda: world.provider.asked)
    world.spool.room = False
    world.provider.open.set()
    await working
    assert (await world.batch(batch_id))["request_counts"]["completed"] == 1
    assert len(world.charged) == 1


@pytest.mark.parametrize("rooms", [[False], [True, False]], ids=["none", "for one line"])
async def test_answers_wait_at_the_provider_while_the_spool_has_no_room(
    native: World, simulator: ThreadedSimulator, rooms: list[bool]
) -> None:
    looks = list(rooms)
    native.spool.has_room = lambda: looks.pop(0) if looks else True  # type: ignore[method-assign]
    batch_id = await native.begin(*native_lines("a", "b"))
    while looks:
        await native.work(turn_s=0.1)
        await run_sql("UPDATE routing_nativebatch SET next_at = now()")
        assert await kept() == 0 or not looks
    written = native.spool.of(Finish)
    assert len(written) == rooms.count(True)
    batch = await finished(native, batch_id)
    assert batch["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    charges = {(one.request_id, one.attempt_no): one.cost_usd for one in native.spool.finishes}
    assert len(charges) == 2
    assert sum(charges.values()) == billed(simulator) > 0


def native_lines(*names: str) -> list[str]:
    return [line(name, model=f"{CHAT}:openai", max_tokens=5) for name in names]
