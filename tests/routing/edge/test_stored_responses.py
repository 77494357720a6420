from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone
from pytest_django import Settings

from routing import tasks
from routing.core.errors import HubError
from routing.models import Organization, Project, StoredResponse
from routing.services import stored_responses
from routing.services.credentials import keyring
from routing.services.database_work import MOST_IDLE_S, MOST_WAITING, PAUSE_S
from routing.services.response_store import PostgresResponseStore
from routing.services.stored_responses import MAX_BYTES
from routing.surfaces.base import Asker
from routing.surfaces.responses import (
    KeptResponse,
    ResponsesSurface,
    ResponseTooLarge,
    Shelf,
    StoreUnavailable,
)
from tests.routing.edge.plainly import DATABASE
from tests.routing.edge.postgres_proxy import PostgresProxy

NOW_S = int(dt.datetime.now(dt.UTC).timestamp())
HEX = "01945a3e00007000800000000000abcd"
ID = f"resp_{HEX}"
KEPT = KeptResponse(
    ID,
    NOW_S,
    [
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "hi\x00 \ud83d"}],
        }
    ],
    {"id": ID, "output": [{"type": "message", "content": []}], "temperature": 0.5},
)


@pytest.fixture
def project(db: None) -> Project:
    return make_project("a")


def make_project(slug: str) -> Project:
    organization = Organization.objects.create(slug=f"org-{slug}", name=slug)
    return Project.objects.create(organization=organization, slug=slug, name=slug)


def keep(kept: KeptResponse, project_id: int) -> None:
    with connection.cursor() as cursor:
        stored_responses.keep(cursor, keyring(), kept, project_id)


def find(response_id: str, project_id: int) -> KeptResponse | None:
    with connection.cursor() as cursor:
        return stored_responses.find(cursor, keyring(), response_id, project_id)


def forget(response_id: str, project_id: int) -> bool:
    with connection.cursor() as cursor:
        return stored_responses.forget(cursor, response_id, project_id)


def forget_expired(now: dt.datetime) -> int:
    with connection.cursor() as cursor:
        return stored_responses.forget_expired(cursor, now)


def row() -> StoredResponse:
    return StoredResponse.objects.get(id=HEX)


def test_what_was_kept_is_found_as_it_was(project: Project) -> None:
    keep(KEPT, project.pk)
    assert find(ID, project.pk) == KEPT


def test_another_project_neither_finds_nor_deletes_it(project: Project) -> None:
    other = make_project("b")
    keep(KEPT, project.pk)
    assert find(ID, other.pk) is None
    assert forget(ID, other.pk) is False
    assert find(ID, project.pk) is not None


def test_a_row_that_was_moved_to_another_project_cannot_be_opened(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    other = make_project("b")
    keep(KEPT, project.pk)
    StoredResponse.objects.update(project=other)
    assert find(ID, other.pk) is None
    assert "sealed for another row" in caplog.text


def test_nothing_of_it_can_be_read_in_the_database(project: Project) -> None:
    plain = KeptResponse(ID, NOW_S, [{"text": "a very secret prompt"}], {"id": ID})
    keep(plain, project.pk)
    assert b"secret" not in bytes(row().sealed)
    assert b"resp_" not in bytes(row().sealed)


def test_without_its_key_it_is_gone(
    project: Project, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    keep(KEPT, project.pk)
    settings.PANELBOARD_KEYRING = {"k2": bytes(32)}
    assert find(ID, project.pk) is None
    assert "not in the key ring" in caplog.text


def test_an_older_key_still_opens_it(project: Project, settings: Settings) -> None:
    keep(KEPT, project.pk)
    settings.PANELBOARD_KEYRING = {**settings.PANELBOARD_KEYRING, "k2": bytes(32)}
    settings.PANELBOARD_ACTIVE_KEY_ID = "k2"
    assert find(ID, project.pk) == KEPT


def test_keeping_it_twice_changes_nothing(project: Project) -> None:
    keep(KEPT, project.pk)
    keep(KeptResponse(ID, NOW_S, [], {"id": ID}), project.pk)
    assert find(ID, project.pk) == KEPT


def test_more_than_the_cap_is_refused(project: Project) -> None:
    with pytest.raises(ResponseTooLarge):
        keep(KeptResponse(ID, NOW_S, [{"text": "x" * MAX_BYTES}], {}), project.pk)
    assert not StoredResponse.objects.exists()


def test_what_has_expired_is_not_found(project: Project) -> None:
    keep(KEPT, project.pk)
    StoredResponse.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    assert find(ID, project.pk) is None
    assert forget(ID, project.pk) is False


def test_only_what_has_expired_is_dropped(project: Project) -> None:
    keep(KEPT, project.pk)
    kept_until = row().expires_at
    assert kept_until - row().created_at == stored_responses.KEPT_FOR
    assert forget_expired(kept_until - dt.timedelta(seconds=1)) == 0
    assert forget_expired(kept_until) == 1
    assert forget_expired(kept_until) == 0


def test_dropping_goes_on_until_all_is_dropped(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_responses, "DELETED_AT_ONCE", 2)
    for no in range(5):
        kept = KeptResponse(f"resp_{no:032x}", NOW_S, [], {})
        keep(kept, project.pk)
    assert forget_expired(timezone.now() + dt.timedelta(days=31)) == 5


def test_the_hourly_task_drops_what_has_expired(project: Project, settings: Settings) -> None:
    keep(KEPT, project.pk)
    assert tasks.forget_expired_responses() == 0
    StoredResponse.objects.update(expires_at=timezone.now())
    assert tasks.forget_expired_responses() == 1
    planned = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert tasks.forget_expired_responses.name in planned


class Untouched:
    def execute(self, *_: Any) -> None:
        raise AssertionError("the database was asked")

    def fetchall(self) -> list[tuple[Any, ...]]:
        raise AssertionError("the database was asked")


@pytest.mark.parametrize("response_id", ["", "resp_1", "msg_" + "0" * 32, "resp_" + "G" * 32])
def test_an_id_of_others_is_not_looked_for(response_id: str) -> None:
    cursor = Untouched()
    assert stored_responses.find(cursor, keyring(), response_id, 1) is None
    assert stored_responses.forget(cursor, response_id, 1) is False


def test_deleting_a_project_deletes_what_it_kept(project: Project) -> None:
    keep(KEPT, project.pk)
    project.delete()
    assert not StoredResponse.objects.exists()


# --- from an event loop ----------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[PostgresResponseStore]:
    made = PostgresResponseStore(DATABASE, keyring(), read_s=1.0, keep_s=1.0, monotonic=clock)
    yield made
    await made.close()


@pytest.fixture
def other_project(transactional_db: None) -> Project:
    return make_project("t")


async def test_it_keeps_finds_and_deletes(
    other_project: Project, store: PostgresResponseStore
) -> None:
    await store.put(KEPT, other_project.pk)
    assert await store.get(ID, other_project.pk) == KEPT
    assert await store.get(ID, other_project.pk + 1) is None
    assert await store.delete(ID, other_project.pk)
    assert not await store.delete(ID, other_project.pk)


async def test_a_conversation_runs_over_it(
    other_project: Project, store: PostgresResponseStore
) -> None:
    surface = ResponsesSurface(store)
    body: dict[str, Any] = {"model": "m", "input": "q1"}
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": "a1"}}
    chat = json.dumps({"model": "m", "choices": [choice]}).encode()
    voice = await surface.open(body, Asker(HEX, NOW_S, other_project.pk, []))
    first = json.loads(await voice.deliver(chat))
    assert first["store"] is True
    body = {"model": "m", "input": "q2", "previous_response_id": first["id"]}
    voice = await surface.open(body, Asker(HEX[::-1], NOW_S, other_project.pk, []))
    assert [m["content"] for m in voice.chat["messages"]] == ["q1", "a1", "q2"]


async def test_a_project_that_is_gone_does_not_stop_the_others(
    other_project: Project, store: PostgresResponseStore
) -> None:
    with pytest.raises(StoreUnavailable):
        await store.put(KEPT, other_project.pk + 1000)
    await store.put(KEPT, other_project.pk)


@pytest.fixture
async def proxy(other_project: Project) -> AsyncIterator[PostgresProxy]:
    """Connections that are opened from here on go through it."""
    proxy = PostgresProxy(connections["default"].settings_dict)
    await proxy.start()
    with proxy.in_between():
        yield proxy
    await proxy.stop()


@pytest.mark.parametrize("fault", ["freeze", "refuse"])
async def test_a_database_that_is_away_holds_up_one_answer_and_no_more(
    proxy: PostgresProxy,
    other_project: Project,
    store: PostgresResponseStore,
    fault: str,
) -> None:
    await store.put(KEPT, other_project.pk)
    getattr(proxy, fault)()
    with pytest.raises(StoreUnavailable):
        await store.put(KEPT, other_project.pk)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for _ in range(20):
        with pytest.raises(StoreUnavailable, match="a moment ago"):
            await store.put(KEPT, other_project.pk)
    assert loop.time() - begun < 0.5
    with pytest.raises(HubError) as raised:  # what needs it is still tried
        await Shelf(store, other_project.pk).find(ID)
    assert raised.value.status == 503
    proxy.heal()
    assert await found_again(store, other_project.pk) == KEPT


async def found_again(store: PostgresResponseStore, project_id: int) -> KeptResponse | None:
    """A connection that is being made meanwhile still waits for the silent server."""
    for _ in range(50):
        try:
            return await store.get(ID, project_id)
        except StoreUnavailable:
            await asyncio.sleep(0.1)
    return None


async def test_a_server_that_was_started_anew_costs_no_answer(
    proxy: PostgresProxy, other_project: Project, store: PostgresResponseStore
) -> None:
    await store.put(KEPT, other_project.pk)
    proxy.refuse()
    proxy.heal()
    assert await store.get(ID, other_project.pk) == KEPT


async def test_a_connection_that_was_idle_for_long_is_not_used_again(
    proxy: PostgresProxy, other_project: Project, store: PostgresResponseStore, clock: Clock
) -> None:
    await store.put(KEPT, other_project.pk)
    proxy.freeze()
    clock.now += MOST_IDLE_S
    asking = asyncio.create_task(store.get(ID, other_project.pk))
    await asyncio.sleep(0.1)
    with proxy.out_of_the_way():
        assert [idle for idle, _ in store._database._idle] == []
    proxy.heal()
    assert await asking == KEPT


async def test_it_is_tried_again_after_a_pause(
    other_project: Project,
    store: PostgresResponseStore,
    clock: Clock,
) -> None:
    store._database._pause()
    with pytest.raises(StoreUnavailable, match="a moment ago"):
        await store.put(KEPT, other_project.pk)
    clock.now += PAUSE_S
    await store.put(KEPT, other_project.pk)


async def test_no_more_wait_than_there_are_places(
    other_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(stored_responses, "find", lambda *_: go_on.wait(5) and None)
    store = PostgresResponseStore(DATABASE, keyring())
    waiting = [asyncio.create_task(store.get(ID, 1)) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="too many"):
        await store.get(ID, 1)
    go_on.set()
    assert await asyncio.gather(*waiting) == [None] * MOST_WAITING
    assert await store.get(ID, 1) is None  # the places are free again
    await store.close()
