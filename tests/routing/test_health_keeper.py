"""Keepers of several processes over a real Postgres, that is there, gone, and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from django.db import connections

from routing import health_keeper
from routing.core.errors import FailureClass
from routing.core.health import HealthBook
from routing.core.learning import Learning
from routing.health_keeper import (
    KEPT_S,
    LEAST_REST_S,
    MOST_BYTES,
    MOST_PROCESSES,
    HealthKeeper,
)
from routing.services import form_counts
from routing.services.form_counts import FormTeller
from routing.snapshots.connection import cut
from tests.routing.edge.plainly import DATABASE
from tests.routing.edge.postgres_proxy import PostgresProxy
from tests.routing.factories import endpoint

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_S = 10.0
ENDPOINT = endpoint("new", 1)


class Process:
    def __init__(self, number: int) -> None:
        self.now = 1000.0 * number
        self.learning = Learning(HealthBook(Random(number)))
        self.keeper = HealthKeeper(
            DATABASE,
            self.learning,
            also=[FormTeller(self.learning.health.forms).tell],
            process=f"process-{number}",
            round_s=0.02,
            monotonic=lambda: self.now,
        )

    def see(self, times: int, ttft_ms: float) -> None:
        for _ in range(times):
            self.learning.health.on_success(1, self.now, ttft_ms, 60.0)

    def knows(self) -> tuple[int, float | None]:
        self.now += 1.0  # figures are worked out once a second
        numbers = self.learning.health.numbers(ENDPOINT, self.now)
        return numbers.samples, numbers.ttft_ms


@asynccontextmanager
async def started(*processes: Process) -> AsyncIterator[None]:
    try:
        for one in processes:
            await one.keeper.start()
        yield
    finally:
        for one in processes:
            await one.keeper.stop()


async def rows() -> int:
    async with await DATABASE.connect() as connection:
        cursor = await connection.execute("SELECT count(*) FROM routing_sighting")
        found = await cursor.fetchone()
    assert found is not None
    return int(found[0])


async def rows_become(count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await rows() != count:  # noqa: ASYNC110  # another task has to bring it about
            await asyncio.sleep(0.01)


async def written(process: str, seconds_ago: float, text: str) -> None:
    async with await DATABASE.connect() as connection:
        await connection.execute(
            "INSERT INTO routing_sighting (process, told_at, sightings)"
            " VALUES (%s, now() - make_interval(secs => %s), %s)",
            [process, seconds_ago, text],
        )


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # another task has to bring it about
            await asyncio.sleep(0.01)


async def test_every_process_soon_knows_what_one_saw() -> None:
    one, two, three = (Process(number) for number in (1, 2, 3))
    async with started(one, two, three):
        one.see(30, ttft_ms=500.0)
        await until(lambda: two.knows()[0] >= 29 and three.knows()[0] >= 29)
    assert [two.knows()[1], three.knows()[1]] == pytest.approx([500.0, 500.0])
    assert one.knows()[0] == 30  # its own news does not come back to it


async def test_a_process_that_starts_begins_with_what_the_others_saw_before() -> None:
    one, two = Process(1), Process(2)
    async with started(one):
        one.see(30, ttft_ms=500.0)
        await rows_become(1)
    async with started(two):
        await until(lambda: two.knows()[0] >= 29)


async def forms() -> list[tuple[int, int, int]]:
    """Over all quarters of an hour: a test may run across the end of one."""
    async with await DATABASE.connect() as connection:
        cursor = await connection.execute(
            "SELECT endpoint_id, sum(answers)::int, sum(sound)::int FROM routing_formcell"
            " GROUP BY 1 ORDER BY 1"
        )
        return await cursor.fetchall()


async def forms_become(*wanted: tuple[int, int, int]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await forms() != list(wanted):  # noqa: ASYNC110  # another task has to bring it about
            await asyncio.sleep(0.01)


async def test_what_processes_saw_of_form_adds_up_in_one_table() -> None:
    one, two = Process(1), Process(2)
    async with started(one, two):
        for process, endpoint_id, is_sound in (
            (one, 8, True), (two, 8, False), (two, 9, True), (one, 8, False),
        ):  # fmt: skip
            process.learning.health.on_form(endpoint_id, process.now, is_sound)
        await forms_become((8, 3, 1), (9, 1, 1))
        one.learning.health.on_form(9, one.now, True)
        await forms_become((8, 3, 1), (9, 2, 2))


async def test_counts_of_form_that_could_not_be_written_are_written_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = Process(1)
    one.learning.health.on_form(8, one.now, True)
    with monkeypatch.context() as away:
        away.setattr(form_counts, "ADD", "SELECT no_such_column, %s, %s, %s")
        async with started(one):
            await until(lambda: "no_such_column" in one.keeper.trouble)
    async with started(one):
        await forms_become((8, 1, 1))


async def test_lengths_of_answers_are_shared_too() -> None:
    one, two = Process(1), Process(2)
    async with started(one, two):
        for _ in range(50):
            one.learning.lengths.note(7, "m", 2000)
        await until(lambda: two.learning.lengths.expected(7, "m") > 0)
    assert two.learning.lengths.expected(7, "m") > 1500


async def test_nothing_is_written_where_nothing_is_new_and_old_rows_go() -> None:
    one = Process(1)
    await written("old", 2 * KEPT_S, "{}")
    async with started(one):
        await rows_become(0)
        await asyncio.sleep(0.1)
        assert await rows() == 0


async def test_what_cannot_be_read_is_left_out_and_the_rest_is_heard() -> None:
    one, two = Process(1), Process(2)
    await written("odd", 1.0, "{{")
    async with started(one, two):
        one.see(30, ttft_ms=500.0)
        await until(lambda: two.knows()[0] >= 29)


async def test_without_postgres_it_goes_on_and_tells_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health_keeper, "STATEMENT_S", 0.3)
    monkeypatch.setattr(health_keeper, "MOST_BACK_OFF_S", 0.1)
    monkeypatch.setattr(health_keeper, "LEAST_BACK_OFF_S", 0.05)
    proxy = PostgresProxy(connections["default"].settings_dict)
    await proxy.start()
    one, two = Process(1), Process(2)
    with proxy.in_between():
        async with started(one, two):
            await until(lambda: not one.keeper.trouble)
            proxy.freeze()
            one.see(30, ttft_ms=500.0)
            await until(lambda: one.keeper.trouble)
            proxy.heal()
            await until(lambda: two.knows()[0] >= 25)
    await proxy.stop()


def slow(one: Process) -> Process:
    """Rounds are so far apart that only what is urgent is told in time."""
    one.keeper._round_s = 60.0
    return one


def fails(one: Process) -> None:
    for _ in range(5):
        one.learning.health.on_failure(1, one.now, FailureClass.TRANSIENT, None)


def is_out(one: Process) -> bool:
    return not one.learning.health.of(1).breaker.allows(one.now)


def recovers(one: Process) -> None:
    health = one.learning.health
    one.now = health.of(1).breaker.open_until
    for _ in range(2):
        assert health.on_start(1, one.now)
        health.on_success(1, one.now, 100.0, 50.0)
        one.now += 1.0


async def test_a_breaker_that_opens_is_out_in_every_process_before_the_next_round() -> None:
    one, two, three = (slow(Process(number)) for number in (1, 2, 3))
    async with started(one, two, three):
        fails(one)
        await until(lambda: is_out(two) and is_out(three))
        assert two.learning.health.changes == 1


async def test_a_recovery_is_told_as_fast_and_tried_by_the_others() -> None:
    one, two = slow(Process(1)), slow(Process(2))
    async with started(one, two):
        fails(one)
        await until(lambda: is_out(two))
        began = one.now
        recovers(one)
        two.now += one.now - began
        await until(lambda: not is_out(two))
        two.learning.health.on_start(1, two.now)
        two.see(1, ttft_ms=100.0)
        assert two.learning.health.is_quiet(1, two.now)


async def test_a_process_that_starts_knows_which_endpoints_are_out() -> None:
    one, two = Process(1), Process(2)
    async with started(one):
        fails(one)
        await rows_become(1)
    async with started(two):
        assert is_out(two)


async def test_a_rest_that_a_provider_asks_for_and_a_learned_cap_reach_the_other_processes() -> (
    None
):
    one, two = Process(1), Process(2)
    async with started(one, two):
        for _ in range(100):
            one.now += 0.1
            one.see(1, ttft_ms=500.0)
            one.learning.health.of(1).mark_seen(one.now)
        one.learning.health.on_failure(1, one.now, FailureClass.CAPACITY, 30.0)
        brakes = two.learning.health.of(1)
        await until(lambda: brakes.breaker.is_cooling(two.now))
        assert brakes.breaker.is_cooling(two.now + 29.0)
        assert not brakes.breaker.is_cooling(two.now + 36.1)
        own = one.learning.health.of(1).capacity
        assert own is not None
        assert own.learned is not None
        assert brakes.capacity is not None
        assert brakes.capacity.learned is not None
        assert brakes.capacity.learned.per_s == pytest.approx(own.learned.per_s)


async def test_processes_know_how_many_of_them_serve_requests() -> None:
    one, two, three = (Process(number) for number in (1, 2, 3))
    await written("quiet for a minute", 61.0, "{}")
    async with started(one, two, three):
        one.see(1, ttft_ms=500.0)
        two.see(1, ttft_ms=500.0)
        await until(lambda: three.learning.processes == 3)
        await until(lambda: one.learning.processes == 2)
        one.now += 61.0
        await until(lambda: one.learning.processes == 1)


async def test_news_that_could_not_be_told_in_time_is_as_old_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health_keeper, "MOST_BACK_OFF_S", 0.1)
    monkeypatch.setattr(health_keeper, "LEAST_BACK_OFF_S", 0.05)
    works = health_keeper.TELL
    one, two = Process(1), Process(2)
    async with started(one, two):
        monkeypatch.setattr(health_keeper, "TELL", "SELECT 1 / 0")
        fails(one)
        await until(lambda: one.keeper.trouble)
        one.now += 600.0
        two.see(1, ttft_ms=100.0)
        monkeypatch.setattr(health_keeper, "TELL", works)
        await until(lambda: not one.keeper.trouble and len(one.keeper._heard) == 1)
        await until(lambda: len(two.keeper._heard) == 1)
        assert two.learning.processes == 1
        assert not is_out(two)


# --- bad days ------------------------------------------------------------------------------------


async def test_a_server_that_crashed_counts_its_rows_from_one_and_is_heard_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unlogged table comes back empty, and so do its numbers."""
    monkeypatch.setattr(health_keeper, "LEAST_BACK_OFF_S", 0.05)
    one, two = Process(1), Process(2)

    async def two_hears_more() -> None:
        known = two.knows()[0]
        await until(lambda: two.knows()[0] > known)

    async with started(one, two):
        for _ in range(5):
            one.see(1, ttft_ms=500.0)
            await two_hears_more()
        async with await DATABASE.connect() as connection:
            await connection.execute("TRUNCATE routing_sighting RESTART IDENTITY")
        for process in (one, two):
            assert process.keeper._connection is not None
            cut(process.keeper._connection)
        await until(lambda: one.keeper.trouble or two.keeper.trouble)
        known = two.knows()[0]
        one.see(30, ttft_ms=500.0)
        await until(lambda: two.knows()[0] >= known + 29)


async def test_rows_from_a_future_that_was_taken_back_are_new_for_a_moment_and_then_forgotten() -> (
    None
):
    one = Process(1)
    await written("ahead", -86_400.0, '{"turns":[[2,true,0.0,60.0,1]]}')
    async with started(one):
        await rows_become(0)
        await written("ahead", -86_400.0, '{"turns":[[1,true,0.0,60.0,1]]}')
        await until(lambda: is_out(one))
        assert one.learning.processes == 2
        one.now += 61.0
        await rows_become(0)
        await until(lambda: one.learning.processes == 1)


async def test_many_made_up_processes_do_not_keep_an_endpoint_from_being_tried() -> None:
    one = Process(1)
    async with await DATABASE.connect() as connection:
        await connection.execute(
            "INSERT INTO routing_sighting (process, told_at, sightings)"
            " SELECT 'made-up-' || n, now(), '{}' FROM generate_series(1, 2000) n"
        )
    async with started(one):
        assert one.learning.processes == MOST_PROCESSES


async def test_a_row_that_is_too_large_or_too_deep_is_left_out_and_the_rest_is_heard() -> None:
    one, two = Process(1), Process(2)
    await written("large", 1.0, '{"x":"' + "x" * MOST_BYTES + '"}')
    await written("deep", 1.0, '{"x":' + "[" * 100_000 + "]" * 100_000 + "}")
    async with started(one, two):
        one.see(30, ttft_ms=500.0)
        await until(lambda: two.knows()[0] >= 29)
        assert not two.keeper.trouble


async def test_more_than_can_be_read_in_time_is_read_in_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or a process would try the same again for as long as the rows are kept."""
    monkeypatch.setattr(health_keeper, "STATEMENT_S", 0.3)
    monkeypatch.setattr(health_keeper, "MOST_BACK_OFF_S", 0.05)
    monkeypatch.setattr(health_keeper, "LEAST_BACK_OFF_S", 0.05)
    slowly = health_keeper.READ.replace("sightings\nFROM", "sightings, pg_sleep(0.002)::text\nFROM")
    columns = "id, process, age_s, sightings"
    slowly = f"SELECT {columns} FROM ({slowly}) AS slow ({columns}, slept)"
    monkeypatch.setattr(health_keeper, "READ", slowly)
    async with await DATABASE.connect() as connection:
        await connection.execute(
            "INSERT INTO routing_sighting (process, told_at, sightings)"
            " SELECT 'busy', now(), '{}' FROM generate_series(1, 1000)"
        )
    one = Process(1)
    async with started(one):
        await until(lambda: one.learning.processes == 2)


async def test_a_storm_of_notifications_makes_no_storm_of_rounds() -> None:
    one, two = slow(Process(1)), slow(Process(2))
    rounds = 0
    works = one.keeper._hear

    async def counted(connection: Any) -> None:
        nonlocal rounds
        rounds += 1
        await works(connection)

    one.keeper._hear = counted  # type: ignore[method-assign]
    async with started(one, two), await DATABASE.connect() as connection:
        before, loop = rounds, asyncio.get_running_loop()
        began = loop.time()
        for _ in range(300):
            await connection.execute("SELECT pg_notify('panelboard_sighting', 'somebody')")
        took_s = loop.time() - began
        fails(two)
        await until(lambda: is_out(one))
        assert 1 <= rounds - before <= took_s / LEAST_REST_S + 5
