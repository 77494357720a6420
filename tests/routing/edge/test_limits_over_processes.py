"""Limits over several keepers and real processes, with Postgres there, gone and hung."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.db import connections

from routing import lease_keeper
from routing.core.limit_pool import LEASE_S, Pool
from routing.core.limits import Grant, Limits, RateLimited
from routing.lease_keeper import LeaseKeeper
from routing.models import LimitPool
from routing.services import keys, limits
from tests.routing.core.limit_world import key_limit, only
from tests.routing.edge import documents
from tests.routing.edge.plainly import DATABASE, snapshot_watcher
from tests.routing.edge.postgres_proxy import PostgresProxy
from tests.support.database import database_url

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 10.0


@asynccontextmanager
async def keepers(count: int) -> AsyncIterator[list[LeaseKeeper]]:
    async with AsyncExitStack() as stack:
        found = [LeaseKeeper(DATABASE, process=f"keeper-{number}") for number in range(count)]
        for keeper in found:
            await keeper.start()
            stack.push_async_callback(keeper.stop)
        yield found


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresProxy]:
    """Connections that are opened from here on go through it."""
    monkeypatch.setattr(lease_keeper, "STATEMENT_S", 0.3)
    proxy = PostgresProxy(connections["default"].settings_dict)
    await proxy.start()
    with proxy.in_between():
        yield proxy
    await proxy.stop()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # states of threads and servers have no event
            await asyncio.sleep(0.01)


async def ask(keeper: LeaseKeeper, limits: Limits, tokens: int = 0) -> Grant | RateLimited:
    try:
        return keeper.take(limits, tokens, 0) or await keeper.wait(limits, tokens, 0)
    except RateLimited as refusal:
        return refusal


async def passes(keeper: LeaseKeeper, limits: Limits, tokens: int = 0) -> None:
    """Tries until it does."""
    async with asyncio.timeout(PATIENCE_S):
        while isinstance(await ask(keeper, limits, tokens), RateLimited):  # noqa: ASYNC110  # units come free elsewhere
            await asyncio.sleep(0.05)


def passed(verdicts: list[Grant | RateLimited]) -> int:
    return sum(isinstance(verdict, Grant) for verdict in verdicts)


async def in_thread(call: Callable[[], Any]) -> Any:
    def run() -> Any:
        try:
            return call()
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)


def state_of(name: str) -> Pool:
    return msgspec.convert(LimitPool.objects.get(name=name).state, Pool)


# --- several keepers ------------------------------------------------------------------------------


async def test_requests_over_several_processes_never_pass_the_limit() -> None:
    caller = only(key_limit(requests_per_minute=100))
    async with keepers(4) as all_of_them:
        for keeper in all_of_them:
            assert keeper.trouble == ""
        verdicts: list[Grant | RateLimited] = []
        for _ in range(12):
            verdicts += await asyncio.gather(
                *(ask(keeper, caller) for keeper in all_of_them for _ in range(5))
            )
    assert 97 <= passed(verdicts) <= 100


async def test_a_caller_that_only_meets_one_process_gets_the_whole_limit() -> None:
    caller = only(key_limit(requests_per_minute=50))
    async with keepers(3) as (busy, *_):
        verdicts = [await ask(busy, caller) for _ in range(60)]
    assert passed(verdicts) == 50


async def test_a_burst_far_below_the_limit_is_let_through_whole() -> None:
    caller = only(
        key_limit(
            requests_per_minute=100_000_000,
            tokens_per_minute=1_000_000_000_000,
            concurrent_requests=100_000,
        )
    )
    refused: list[RateLimited] = []

    async def client(keeper: LeaseKeeper) -> None:
        for _ in range(200):
            verdict = await ask(keeper, caller, 500)
            if isinstance(verdict, RateLimited):
                refused.append(verdict)
                continue
            await asyncio.sleep(0)
            keeper.settle(verdict, 700)

    async with keepers(1) as (keeper,):
        await asyncio.gather(*(client(keeper) for _ in range(64)))
    assert refused == []


async def test_tokens_are_reserved_settled_and_shared() -> None:
    caller = only(key_limit(tokens_per_minute=1000))
    async with keepers(2) as (one, two):
        grant = await ask(one, caller, 900)
        assert isinstance(grant, Grant)
        assert isinstance(await ask(two, caller, 200), RateLimited)
        one.settle(grant, 100)
        await until(
            lambda: one.book.standings(grant.shares, time.monotonic()).tokens.remaining > 800
        )  # type: ignore[union-attr]
        await passes(two, caller, 200)


async def test_concurrent_requests_are_counted_over_all_processes() -> None:
    caller = only(key_limit(concurrent_requests=3))
    async with keepers(2) as (one, two):
        first = [await ask(one, caller), await ask(two, caller), await ask(one, caller)]
        assert passed(first) == 3
        assert isinstance(await ask(two, caller), RateLimited)
        assert isinstance(first[0], Grant)
        one.settle(first[0], 0)
        await passes(two, caller)  # the place comes back to the other process
        assert isinstance(await ask(one, caller), RateLimited)


async def test_a_request_larger_than_the_limit_is_refused_for_good() -> None:
    caller = only(key_limit(tokens_per_minute=1000))
    async with keepers(1) as (keeper,):
        refusal = await ask(keeper, caller, 1001)
        assert isinstance(refusal, RateLimited)
        assert refusal.should_retry is False
        # What is only expected of the output makes no request too large.
        assert keeper.take(caller, 900, 5000) or await keeper.wait(caller, 900, 5000)


async def test_the_told_time_is_when_a_retry_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the real database, with a use that was 58 s ago."""
    caller = only(key_limit(requests_per_minute=1))
    async with keepers(2) as (one, two):
        grant = await ask(one, caller)
        assert isinstance(grant, Grant)
        one.settle(grant, 0)
        await until(lambda: not one.book._shares["key:7"]._holds())
        await asyncio.sleep(1.2)
        await in_thread(lambda: age("key:7", 58))
        refusal = await ask(two, caller)
        assert isinstance(refusal, RateLimited)
        assert refusal.retry_after_s is not None
        assert 0 < refusal.retry_after_s < 3
        with pytest.raises(RateLimited):
            two.refuse_early(caller)
        await asyncio.sleep(refusal.retry_after_s)
        two.refuse_early(caller)
        assert isinstance(await ask(two, caller), Grant)


def age(name: str, seconds: int) -> None:
    """As if all of it had happened earlier."""
    row = LimitPool.objects.get(name=name)
    pool = msgspec.convert(row.state, Pool)
    for slot in pool.slots:
        slot.second -= seconds
    for lease in pool.leases.values():
        lease.expires_at -= seconds
    row.state = json.loads(msgspec.json.encode(pool))
    row.version += 1
    row.save()


async def test_a_stopped_process_leaves_nothing_behind() -> None:
    caller = only(key_limit(requests_per_minute=100, concurrent_requests=5))
    async with keepers(1) as (keeper,):
        for _ in range(3):
            grant = await ask(keeper, caller)
            assert isinstance(grant, Grant)
            keeper.settle(grant, 0)
        assert keeper.processes == 1
    pool = await in_thread(lambda: state_of("key:7"))
    assert pool.leases == {}
    assert sum(slot.requests for slot in pool.slots) == 3
    assert (await in_thread(lambda: state_of("hub:processes"))).leases == {}


async def test_every_process_knows_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_keeper, "HEARTBEAT_S", 0.2)
    async with keepers(3) as all_of_them:
        await until(lambda: [keeper.processes for keeper in all_of_them] == [3, 3, 3])


async def test_the_use_of_a_limit_can_be_looked_up() -> None:
    key = await in_thread(lambda: keys.create_key(project=documents.project(), name="app")[0])
    await in_thread(
        lambda: limits.set_limit(key=key, requests_per_minute=60, concurrent_requests=9)
    )
    watcher = snapshot_watcher()
    await watcher.start()
    try:
        caller = watcher.current.callers[bytes(key.digest)].limits
        assert caller is not None
        async with keepers(1) as (keeper,):
            for _ in range(4):
                assert isinstance(await ask(keeper, caller), Grant)
            await asyncio.sleep(1.2)
            used = await in_thread(lambda: limits.in_use(key=key))
        assert (used.requests >= 4, used.running >= 4) == (True, True)
    finally:
        await watcher.stop()


async def test_a_changed_limit_is_live_in_a_running_process() -> None:
    key = await in_thread(lambda: keys.create_key(project=documents.project(), name="app")[0])
    digest = bytes(key.digest)
    await in_thread(lambda: limits.set_limit(key=key, requests_per_minute=1))
    watcher = snapshot_watcher()
    await watcher.start()
    try:
        async with keepers(1) as (keeper,):

            def now() -> Limits | None:
                return watcher.current.callers[digest].limits

            before = now()
            assert before is not None
            assert [isinstance(await ask(keeper, before), Grant) for _ in range(2)] == [True, False]
            await in_thread(lambda: limits.set_limit(key=key, requests_per_minute=5))
            async with asyncio.timeout(2):
                await until(lambda: now() != before)
            after = now()
            assert after is not None
            assert passed([await ask(keeper, after) for _ in range(6)]) == 4
            await in_thread(lambda: limits.set_limit(key=key))
            async with asyncio.timeout(2):
                await until(lambda: now() is None)
    finally:
        await watcher.stop()


# --- Postgres gone or hung ------------------------------------------------------------------------


async def test_leases_serve_on_while_postgres_is_gone(proxy: PostgresProxy) -> None:
    caller = only(key_limit(requests_per_minute=1000))
    async with keepers(1) as (keeper,):
        for _ in range(40):
            assert isinstance(await ask(keeper, caller), Grant)
        await until(lambda: keeper.book._shares["key:7"].requests_left >= 10)
        proxy.refuse()
        began = time.monotonic()
        assert all(keeper.take(caller, 0, 0) is not None for _ in range(5))
        assert time.monotonic() - began < 0.1
        await until(lambda: keeper.trouble)
        assert keeper.book._shares["key:7"].valid_until - time.monotonic() <= LEASE_S
        proxy.heal()
        await until(lambda: not keeper.trouble)


@pytest.mark.parametrize("state", ["gone", "hung"])
async def test_without_leases_a_part_of_the_limit_goes_on_and_no_request_hangs(
    proxy: PostgresProxy, state: str
) -> None:
    caller = only(key_limit(requests_per_minute=6000))
    async with keepers(1) as (keeper,):
        {"gone": proxy.refuse, "hung": proxy.freeze}[state]()
        longest_s, verdicts = 0.0, []
        until_s = time.monotonic() + 2.0
        while time.monotonic() < until_s:
            began = time.monotonic()
            verdicts.append(await ask(keeper, caller))
            longest_s = max(longest_s, time.monotonic() - began)
            await asyncio.sleep(0.002)
        assert longest_s < 1.5
        assert 50 < passed(verdicts) <= 220  # 100 a second, and none before the loss was noticed
        assert keeper.trouble
        refused = [verdict for verdict in verdicts if isinstance(verdict, RateLimited)]
        assert all(refusal.retry_after_s is not None for refusal in refused)
        proxy.heal()
        await until(lambda: not keeper.trouble)
        with proxy.out_of_the_way():
            told = await in_thread(lambda: state_of_uses(passed(verdicts)))
        assert told == passed(verdicts)


def state_of_uses(expected: int) -> int:
    """What was used meanwhile is told to the pool with the next reports."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        row = LimitPool.objects.filter(name="key:7").first()
        pool = msgspec.convert(row.state, Pool) if row else Pool()
        found = sum(slot.requests for slot in pool.slots)
        if found >= expected or time.monotonic() > until_s:
            return found
        time.sleep(0.05)


async def test_it_starts_without_postgres_and_joins_the_others_later(proxy: PostgresProxy) -> None:
    proxy.refuse()
    keeper = LeaseKeeper(DATABASE)
    starting = asyncio.create_task(keeper.start())
    caller = only(key_limit(requests_per_minute=10))
    assert isinstance(await ask(keeper, caller), RateLimited)  # no burst on its own account
    proxy.heal()
    await starting
    try:
        await until(lambda: not keeper.trouble)
        assert isinstance(await ask(keeper, caller), Grant)
    finally:
        await keeper.stop()


async def test_a_hung_postgres_holds_up_neither_the_event_loop_nor_the_stop(
    proxy: PostgresProxy,
) -> None:
    keeper = LeaseKeeper(DATABASE)
    await keeper.start()
    proxy.freeze()
    longest_s = 0.0
    async with asyncio.timeout(PATIENCE_S):
        while not keeper.trouble:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            longest_s = max(longest_s, time.monotonic() - began)
    assert longest_s < 1.0
    began = time.monotonic()
    await keeper.stop()
    assert time.monotonic() - began < 3.0


async def test_a_damaged_pool_begins_anew_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await in_thread(
        lambda: LimitPool.objects.create(name="key:7", version=3, state={"slots": "gone"})
    )
    async with keepers(1) as (keeper,):
        assert isinstance(await ask(keeper, only(key_limit(requests_per_minute=5))), Grant)
    assert "key:7 is not readable" in caplog.text


# --- real processes -------------------------------------------------------------------------------


@contextmanager
def children(caller: Limits, count: int, seconds: float) -> Iterator[list[subprocess.Popen[str]]]:
    arguments = [msgspec.json.encode(caller).decode(), str(seconds)]
    found = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.routing.edge.limit_process", *arguments],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        for child in found:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready \n"
        for child in found:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        yield found
    finally:
        for child in found:
            child.kill()
            child.communicate()


def grants_of(child: subprocess.Popen[str]) -> list[float]:
    """To its end, or to its death: a line that was not finished is still a grant."""
    output, _ = child.communicate(timeout=30)
    return [float(line) for line in output.split()]


def test_real_processes_keep_to_the_limit_though_one_is_killed() -> None:
    caller = only(key_limit(requests_per_minute=150))
    with children(caller, 3, 2.5) as (killed, *others):
        time.sleep(0.15)
        killed.send_signal(signal.SIGKILL)
        before = grants_of(killed)
        after = [grants_of(child) for child in others]
    total = len(before) + sum(map(len, after))
    assert before
    assert all(after)
    held = sum(lease.requests for lease in state_of("key:7").leases.values())
    assert total <= 150
    assert total + held >= 140  # what the killed one held may have been used or not


def test_the_places_of_a_killed_process_come_back_when_its_lease_ends() -> None:
    caller = only(key_limit(concurrent_requests=4))
    with children(caller, 1, 30) as (killed,):
        assert killed.stdout is not None
        for _ in range(4):
            killed.stdout.readline()
        time.sleep(0.1)
        killed.send_signal(signal.SIGKILL)
        killed.wait()

        async def places() -> list[int]:
            async with keepers(1) as (keeper,):
                found = [passed([await ask(keeper, caller) for _ in range(5)])]
                await in_thread(lambda: age("key:7", int(LEASE_S) + 1))
                await asyncio.sleep(0.3)
                return [*found, passed([await ask(keeper, caller) for _ in range(5)])]

        assert asyncio.run(places()) == [0, 4]
