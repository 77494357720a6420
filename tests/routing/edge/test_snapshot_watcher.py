"""Changes reach a running process, and no state of Postgres holds it up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest
from django.db import connections
from django.utils import timezone

from routing.core.catalog import Snapshot
from routing.core.cursor import Cursor
from routing.models import ApiKey, Endpoint
from routing.services import keys, policies
from routing.services.snapshots import load_snapshot
from routing.snapshots import SnapshotWatcher, watching
from tests.routing.edge import documents
from tests.routing.edge.plainly import DATABASE, snapshot_watcher
from tests.routing.edge.postgres_proxy import PostgresProxy

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_S = 10.0
T = TypeVar("T")


async def in_thread(write: Callable[[], T]) -> T:
    def run() -> T:
        try:
            return write()
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # states of threads and servers have no event
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _catalog(transactional_db: None) -> None:
    documents.load_with_keys()


@pytest.fixture
async def watcher() -> AsyncIterator[SnapshotWatcher]:
    watcher = snapshot_watcher()
    await watcher.start()
    yield watcher
    await watcher.stop()


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresProxy]:
    """Connections that are opened from here on go through it."""
    monkeypatch.setattr(watching, "STATEMENT_S", 0.3)
    proxy = PostgresProxy(connections["default"].settings_dict)
    await proxy.start()
    with proxy.in_between():
        yield proxy
    await proxy.stop()


async def test_it_is_loaded_after_the_start(watcher: SnapshotWatcher) -> None:
    assert watcher.is_loaded
    assert len(watcher.current.endpoints) == 3


async def test_a_changed_policy_is_live_at_once(watcher: SnapshotWatcher) -> None:
    await in_thread(lambda: policies.save_policy(name="mine", document={"objective": "cheapest"}))
    await until(lambda: "mine" in watcher.current.policies)


async def test_a_new_key_arrives_and_a_revoked_one_goes(watcher: SnapshotWatcher) -> None:
    key = await in_thread(lambda: keys.create_key(project=documents.project(), name="app")[0])
    await until(lambda: bytes(key.digest) in watcher.current.callers)
    await in_thread(lambda: keys.revoke_key(ApiKey.objects.get(pk=key.pk)))
    await until(lambda: bytes(key.digest) not in watcher.current.callers)


async def test_whoever_asked_is_told_of_each_new_snapshot(watcher: SnapshotWatcher) -> None:
    seen: list[Snapshot] = []
    watcher.on_change(seen.append)
    await in_thread(lambda: Endpoint.objects.update(is_free=True))
    await until(lambda: seen)
    assert all(endpoint.is_free for endpoint in seen[-1].endpoints.values())


async def test_a_missed_notification_is_made_up_by_the_poll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "CHANNEL", "nobody_speaks_here")
    watcher = snapshot_watcher(poll_s=0.1)
    await watcher.start()
    try:
        await in_thread(lambda: Endpoint.objects.update(is_free=True))
        await until(lambda: all(e.is_free for e in watcher.current.endpoints.values()))
    finally:
        await watcher.stop()


async def test_it_starts_without_postgres_and_recovers(proxy: PostgresProxy) -> None:
    proxy.refuse()
    watcher = snapshot_watcher()
    starting = asyncio.create_task(watcher.start())
    await until(lambda: watcher.trouble)
    assert not watcher.is_loaded
    assert watcher.current.version == 0
    proxy.heal()
    await starting
    try:
        await until(lambda: watcher.is_loaded)
        assert watcher.trouble == ""
    finally:
        await watcher.stop()


async def test_the_last_snapshot_outlives_postgres(proxy: PostgresProxy) -> None:
    watcher = snapshot_watcher(poll_s=0.1)
    await watcher.start()
    try:
        before = watcher.current
        proxy.refuse()
        await until(lambda: watcher.trouble)
        assert watcher.current is before
        assert watcher.is_loaded
        proxy.heal()
        await in_thread(lambda: Endpoint.objects.update(is_free=True))
        await until(lambda: watcher.current.version > before.version)
        await until(lambda: not watcher.trouble)
    finally:
        await watcher.stop()


async def test_a_hung_postgres_holds_up_neither_the_event_loop_nor_the_stop(
    proxy: PostgresProxy,
) -> None:
    watcher = snapshot_watcher(poll_s=0.1, load_s=0.3)
    await watcher.start()
    before = watcher.current
    proxy.freeze()
    longest_s = 0.0
    async with asyncio.timeout(PATIENCE_S):
        while not watcher.trouble:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            longest_s = max(longest_s, time.monotonic() - began)
    assert longest_s < 2.0  # a connection that blocked it would hold it up for 3 s
    assert watcher.current is before
    async with asyncio.timeout(PATIENCE_S):
        await watcher.stop()


async def test_it_goes_on_when_a_hung_postgres_answers_again(proxy: PostgresProxy) -> None:
    watcher = snapshot_watcher(poll_s=0.1, load_s=0.3)
    await watcher.start()
    try:
        before = watcher.current
        proxy.freeze()
        await until(lambda: watcher.trouble)
        proxy.heal()
        await until(lambda: not watcher.trouble)
        with proxy.out_of_the_way():
            await in_thread(lambda: Endpoint.objects.update(is_free=True))
        await until(lambda: watcher.current.version > before.version)
    finally:
        await watcher.stop()


async def test_a_load_that_fails_keeps_the_last_snapshot() -> None:
    answers: list[Snapshot | Exception] = [load_snapshot_now := await in_thread(load_snapshot)]

    def load(_cursor: Cursor) -> Snapshot:
        answer = answers[-1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    watcher = SnapshotWatcher(DATABASE, load)
    await watcher.start()
    try:
        answers.append(RuntimeError("a row of another age"))
        await in_thread(lambda: Endpoint.objects.update(checked_on=timezone.now().date()))
        await until(lambda: watcher.trouble == "a row of another age")
        assert watcher.current is load_snapshot_now
    finally:
        await watcher.stop()
