"""Whoever dies at whatever moment: a line is answered once, and never asked again once answered."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from routing.batches import lines
from routing.batches.desk import LineDesk
from routing.batches.lines import Keep, Take, Work
from routing.core.record import Finish, RequestDone
from routing.services.database_work import DatabaseTransactions, DatabaseUnavailable
from routing.snapshots.connection import Database
from tests.routing.batches.world import PATIENCE_S, World, in_transaction, line, run_sql, until
from tests.routing.edge.plainly import DATABASE

LEASES_OVER = "UPDATE routing_batchline SET lease_until = now() - interval '1 second'"


async def claimed(world: World, holder: UUID, most: int = 10) -> Work:
    """After the batch was begun, by a worker that does not hand over."""
    work = await world.in_database(lambda cursor: lines.claim(cursor, holder, most))
    assert work is not None
    return work


async def begun(world: World, *names: str) -> str:
    batch_id = await world.begin(*map(line, names), batch="off")
    worker = await world.worker()
    assert await world.in_database(worker._begin_one)
    await worker._threads.close()
    return batch_id


async def test_a_line_that_a_killed_worker_had_handed_over_is_ended_by_the_gateway(
    world: World,
) -> None:
    batch_id = await world.begin(*map(line, "abcd"))
    world.provider.open.clear()
    killed = asyncio.create_task(world.work())
    await until(lambda: len(world.provider.asked) == 4)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    world.provider.open.set()
    await world.work()
    batch = await world.batch(batch_id)
    assert batch["request_counts"] == {"total": 4, "completed": 4, "failed": 0}
    assert sorted(world.provider.asked) == list("abcd")
    assert len(world.charged) == 4


async def test_lines_that_a_killed_worker_had_only_claimed_wait_again(world: World) -> None:
    batch_id = await begun(world, "a", "b")
    await claimed(world, uuid4())
    await run_sql(LEASES_OVER)
    await world.work()
    batch = await world.batch(batch_id)
    assert batch["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    assert sorted(world.provider.asked) == ["a", "b"]


async def test_nobody_can_take_a_line_over_while_its_lease_lasts(world: World) -> None:
    await begun(world, "a")
    await claimed(world, uuid4())
    assert await world.in_database(lines.reap) == 0
    assert await world.in_database(lambda cursor: lines.claim(cursor, uuid4(), 10)) is None


async def test_a_worker_that_wakes_up_late_hands_nothing_over(world: World) -> None:
    await begun(world, "a")
    late, next_one, process = uuid4(), uuid4(), uuid4()
    (first,) = (await claimed(world, late)).lines
    await run_sql(LEASES_OVER)
    await world.in_database(lines.reap)
    (second,) = (await claimed(world, next_one)).lines

    def take(cursor: Any) -> set[int]:
        stale = Take(first.id, first.try_no, late, uuid4())
        fresh = Take(second.id, second.try_no, next_one, uuid4())
        assert lines.take(cursor, process, [stale]) == set()
        return lines.take(cursor, process, [fresh])

    assert await world.in_database(take) == {second.id}


async def test_an_answer_of_an_earlier_try_does_not_replace_the_later_ones(world: World) -> None:
    await begun(world, "a")
    holder, process = uuid4(), uuid4()
    ids = []
    for _ in range(2):
        (one,) = (await claimed(world, holder)).lines
        request_id = uuid4()
        take = Take(one.id, one.try_no, holder, request_id)
        assert await world.in_database(
            lambda cursor, take=take: lines.take(cursor, process, [take])
        )
        ids.append(Keep(one.id, one.try_no, request_id, 200, "k", b"x"))
        await run_sql(LEASES_OVER)
        await world.in_database(lines.reap)
    early, late = ids
    assert await world.in_database(lambda cursor: lines.keep(cursor, [early])) == set()
    assert await world.in_database(lambda cursor: lines.keep(cursor, [late])) == {late.line_id}
    assert await world.in_database(lambda cursor: lines.keep(cursor, [late])) == set()


async def test_an_answer_is_kept_before_it_is_charged(world: World) -> None:
    """So that a gateway that dies between the two leaves no line that is asked a second time."""
    states: list[Any] = []
    append_end = world.spool.append_end

    def look_first(finish: Finish, done: RequestDone) -> None:
        def work(cursor: Any) -> Any:
            cursor.execute("SELECT state, status_code, request_id FROM routing_batchline")
            return cursor.fetchall()

        states.append((in_transaction(work), UUID(bytes=finish.request_id)))
        append_end(finish, done)

    world.spool.append_end = look_first  # type: ignore[method-assign]
    await world.begin(line("a"))
    await world.work()
    ((rows, request_id),) = states
    assert rows == [("done", 200, request_id)]


async def test_a_gateway_that_stops_gives_its_lines_back_untried(world: World) -> None:
    async with world.serving():
        await world.begin(line("a"))
        world.provider.open.clear()
        worker = asyncio.create_task(world.work(turn_s=1))
        await until(lambda: world.provider.asked)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    rows = await run_sql("SELECT state, try_no FROM routing_batchline")
    assert rows == [("waiting", 0)]


async def test_an_answer_waits_at_the_desk_until_postgres_is_back(world: World) -> None:
    await begun(world, "a")
    holder = uuid4()
    (one,) = (await claimed(world, holder)).lines
    parameters = dict(DATABASE.parameters)
    threads = DatabaseTransactions(Database(parameters), "batches")
    desk = LineDesk(threads)
    await desk.start()
    request_id = uuid4()
    assert await desk.take(Take(one.id, one.try_no, holder, request_id))
    while threads._idle:
        threads._idle.pop()[0].close()
    right, parameters["port"] = parameters.get("port"), "1"
    keeping = asyncio.create_task(desk.keep(Keep(one.id, one.try_no, request_id, 200, "k", b"x")))
    await asyncio.sleep(0.3)
    assert not keeping.done()
    with pytest.raises(DatabaseUnavailable):
        await desk.take(Take(one.id, one.try_no, holder, request_id))
    parameters["port"] = right
    async with asyncio.timeout(PATIENCE_S):
        assert await keeping is True
    await desk.stop()
    await threads.close()
