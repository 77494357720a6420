"""The rows behind Idempotency-Key, over several connections as several gateways have them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from django.db import connection, connections
from django.utils import timezone

from routing import tasks
from routing.gateway.idempotency import (
    AnswerTooLarge,
    CallName,
    Claimed,
    KeptAnswer,
    OtherRequest,
    Running,
    StoreUnavailable,
)
from routing.models import ApiKey, IdempotentCall, Organization, Project
from routing.services import idempotent_calls, keys
from routing.services.credentials import keyring
from routing.services.idempotency_store import PostgresIdempotencyStore
from routing.services.idempotent_calls import MAX_BYTES
from tests.routing.edge.plainly import DATABASE
from tests.routing.edge.postgres_proxy import PostgresProxy

pytestmark = pytest.mark.django_db(transaction=True)
BODY, OTHER_BODY = b"b" * 32, b"o" * 32
ANSWER = KeptAnswer(200, [(b"content-type", b"application/json")], b'{"secret":"of a client"}')
LOCK_S = 60.0


@pytest.fixture
def key(transactional_db: None) -> ApiKey:
    organization = Organization.objects.create(slug="org-idem", name="o")
    project = Project.objects.create(organization=organization, slug="p", name="p")
    return keys.create_key(project=project, name="k")[0]


@pytest.fixture
def name(key: ApiKey) -> CallName:
    return CallName(key.pk, b"d" * 32)


@pytest.fixture
async def stores(name: CallName) -> AsyncIterator[list[PostgresIdempotencyStore]]:
    """As many gateway processes."""
    made = [PostgresIdempotencyStore(DATABASE, keyring(), limit_s=1.0) for _ in range(4)]
    yield made
    for store in made:
        await store.close()


Stores = list[PostgresIdempotencyStore]


async def test_of_many_processes_one_gets_the_claim(stores: Stores, name: CallName) -> None:
    found = await asyncio.gather(
        *(store.claim(name, BODY, uuid4(), LOCK_S) for store in stores for _ in range(5))
    )
    assert sum(isinstance(one, Claimed) for one in found) == 1
    assert sum(isinstance(one, Running) for one in found) == len(found) - 1


async def test_what_one_kept_another_replays(stores: Stores, name: CallName) -> None:
    holder = uuid4()
    await stores[0].claim(name, BODY, holder, LOCK_S)
    await stores[0].keep(name, holder, ANSWER)
    assert await stores[1].claim(name, BODY, uuid4(), LOCK_S) == ANSWER
    assert await stores[1].claim(name, OTHER_BODY, uuid4(), LOCK_S) == OtherRequest()


async def test_the_claim_of_a_process_that_died_lapses(stores: Stores, name: CallName) -> None:
    dead, heir = uuid4(), uuid4()
    await stores[0].claim(name, BODY, dead, 0.05)
    assert await stores[1].claim(name, BODY, heir, LOCK_S) == Running()
    await asyncio.sleep(0.1)
    assert await stores[1].claim(name, OTHER_BODY, uuid4(), LOCK_S) == OtherRequest()
    assert await stores[1].claim(name, BODY, heir, LOCK_S) == Claimed(heir)
    await stores[0].keep(name, dead, ANSWER)  # it was only slow: nobody waits for it any more
    assert await stores[2].claim(name, BODY, uuid4(), LOCK_S) == Running()


async def test_a_claim_that_is_renewed_does_not_lapse(stores: Stores, name: CallName) -> None:
    holder = uuid4()
    await stores[0].claim(name, BODY, holder, 0.05)
    await stores[0].renew(name, holder, LOCK_S)
    await asyncio.sleep(0.1)
    assert await stores[1].claim(name, BODY, uuid4(), LOCK_S) == Running()


async def test_the_same_holder_may_claim_twice(stores: Stores, name: CallName) -> None:
    holder = uuid4()
    for _ in range(2):
        assert await stores[0].claim(name, BODY, holder, LOCK_S) == Claimed(holder)


async def test_a_released_claim_is_free_and_a_kept_answer_stays(
    stores: Stores, name: CallName
) -> None:
    holder, second = uuid4(), uuid4()
    await stores[0].claim(name, BODY, holder, LOCK_S)
    await stores[0].release(name, holder)
    assert await stores[0].claim(name, OTHER_BODY, second, LOCK_S) == Claimed(second)
    await stores[0].keep(name, second, ANSWER)
    await stores[0].release(name, second)
    assert await stores[0].claim(name, OTHER_BODY, uuid4(), LOCK_S) == ANSWER


async def test_an_answer_of_more_than_the_most_is_not_kept(stores: Stores, name: CallName) -> None:
    holder = uuid4()
    await stores[0].claim(name, BODY, holder, LOCK_S)
    with pytest.raises(AnswerTooLarge):
        await stores[0].keep(name, holder, KeptAnswer(200, [], b"x" * MAX_BYTES))


async def test_a_database_that_is_away_is_told_within_its_limit(
    stores: Stores, name: CallName
) -> None:
    proxy = PostgresProxy(connections["default"].settings_dict)
    await proxy.start()
    with proxy.in_between():
        proxy.freeze()
        begun = asyncio.get_running_loop().time()
        with pytest.raises(StoreUnavailable):
            await stores[0].claim(name, BODY, uuid4(), LOCK_S)
        assert asyncio.get_running_loop().time() - begun < 3
    await proxy.stop()


def claim_and_keep(name: CallName, answer: KeptAnswer = ANSWER) -> None:
    holder = uuid4()
    with connection.cursor() as cursor:
        idempotent_calls.claim(cursor, keyring(), name, BODY, holder, LOCK_S)
        idempotent_calls.keep(cursor, keyring(), name, holder, answer)


def test_what_is_stored_is_sealed_and_bound_to_its_row(name: CallName) -> None:
    claim_and_keep(name)
    row = IdempotentCall.objects.get()
    assert b"secret" not in bytes(row.sealed or b"")
    moved = CallName(name.key_id, b"e" * 32)
    IdempotentCall.objects.update(digest=moved.digest)
    with connection.cursor() as cursor:
        found = idempotent_calls.claim(cursor, keyring(), moved, BODY, uuid4(), LOCK_S)
    assert found == OtherRequest()


def test_it_is_kept_for_a_day_and_dropped_afterwards(name: CallName) -> None:
    claim_and_keep(name)
    row = IdempotentCall.objects.get()
    kept_for = row.expires_at - timezone.now()
    assert dt.timedelta(hours=23) < kept_for <= dt.timedelta(hours=24)
    assert tasks.forget_expired_calls() == 0
    IdempotentCall.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    assert tasks.forget_expired_calls() == 1
    assert not IdempotentCall.objects.exists()


def test_an_expired_answer_is_not_given_again_though_it_is_still_there(name: CallName) -> None:
    claim_and_keep(name)
    IdempotentCall.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    holder = uuid4()
    with connection.cursor() as cursor:
        found = idempotent_calls.claim(cursor, keyring(), name, OTHER_BODY, holder, LOCK_S)
    assert found == Claimed(holder)


def test_a_row_goes_with_its_key(name: CallName, key: ApiKey) -> None:
    claim_and_keep(name)
    key.delete()
    assert not IdempotentCall.objects.exists()
