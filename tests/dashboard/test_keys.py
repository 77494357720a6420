from __future__ import annotations

import re

import msgspec
import pytest
from django.test import Client
from django.urls import reverse

from routing.core.limit_pool import Pool, Slot
from routing.models import ApiKey, LimitPool
from routing.services import keys, limits
from tests.dashboard.conftest import NOW, Enter
from tests.dashboard.test_pages import CountQueries
from tests.dashboard.world import World

TOKEN = re.compile(r"pb_live_[0-9A-Za-z]{46}")


def make(client: Client, world: World, **fields: str) -> str:
    data = {"name": "new service", "project": str(world.project.pk), **fields}
    return client.post("/keys/", data).content.decode()


def test_a_key_is_shown_once(empty_hub: World, enter: Enter) -> None:
    client = enter(empty_hub.owner)
    answer = client.post("/keys/", {"name": "new service", "project": empty_hub.project.pk})
    assert TOKEN.search(answer.content.decode())
    assert "no-store" in answer["Cache-Control"]
    again = client.get("/keys/").content.decode()
    assert not TOKEN.search(again)
    assert "new service" in again


def test_a_key_without_a_name_is_not_made(empty_hub: World, enter: Enter) -> None:
    page = make(enter(empty_hub.owner), empty_hub, name=" ")
    assert "This field is required" in page
    assert ApiKey.objects.filter(project=empty_hub.project).count() == 1


def test_a_key_cannot_expire_in_the_past(empty_hub: World, enter: Enter) -> None:
    page = make(enter(empty_hub.owner), empty_hub, expires_on="2026-01-01")
    assert "the expiry date lies in the past" in page


def test_a_key_cannot_be_made_for_a_foreign_project(empty_hub: World, enter: Enter) -> None:
    make(enter(empty_hub.owner), empty_hub, project=str(empty_hub.other_project.pk))
    assert ApiKey.objects.filter(project=empty_hub.other_project).count() == 1


@pytest.mark.parametrize(
    ("person", "status"),
    [("owner", 302), ("member", 404), ("stranger", 404), ("biller", 403)],
)
def test_who_may_revoke_a_key_of_the_project(
    empty_hub: World, enter: Enter, person: str, status: int
) -> None:
    address = reverse("revoke-key", args=[empty_hub.key.pk])
    assert enter(getattr(empty_hub, person)).post(address).status_code == status
    empty_hub.key.refresh_from_db()
    assert (empty_hub.key.revoked_at is not None) == (status == 302)


def test_a_member_revokes_their_own(empty_hub: World, enter: Enter) -> None:
    client = enter(empty_hub.member)
    make(client, empty_hub)
    key = ApiKey.objects.get(name="new service")
    assert client.post(reverse("revoke-key", args=[key.pk])).status_code == 302
    assert "“new service” is revoked" in client.get("/keys/").content.decode()


def test_a_key_is_not_revoked_by_opening_an_address(empty_hub: World, enter: Enter) -> None:
    address = reverse("revoke-key", args=[empty_hub.key.pk])
    assert enter(empty_hub.owner).get(address).status_code == 405


def test_keys_tell_their_limits_and_what_is_in_use(empty_hub: World, enter: Enter) -> None:
    limits.set_limit(key=empty_hub.key, requests_per_minute=60, concurrent_requests=4)
    limits.set_limit(project=empty_hub.project, tokens_per_minute=100_000)
    pool = Pool(slots=[Slot(int(NOW.timestamp()), 12, 900)])
    LimitPool.objects.create(
        name=f"key:{empty_hub.key.pk}", version=1, state=msgspec.to_builtins(pool)
    )
    page = enter(empty_hub.owner).get("/keys/").content.decode()
    assert "At most 60 requests per minute, 4 at a time." in page
    assert "12 of 60 requests in the last minute; 0 of 4 at work" in page
    assert "Its project: at most 100,000 tokens per minute." in page
    assert "0 of 100,000 tokens in the last minute" in page


def test_a_key_without_limits_says_so(empty_hub: World, enter: Enter) -> None:
    limits.set_limit(key=empty_hub.key, requests_per_minute=60)
    limits.set_limit(key=empty_hub.key)  # lifted
    page = enter(empty_hub.owner).get("/keys/").content.decode()
    assert page.count(">unlimited<") == 2
    assert "At most" not in page


def test_only_those_who_may_set_limits_are_led_to_them(empty_hub: World, enter: Enter) -> None:
    address = reverse("admin:routing_limit_changelist")
    assert address not in enter(empty_hub.owner).get("/keys/").content.decode()
    assert address in enter(empty_hub.admin).get("/keys/").content.decode()


def test_limits_of_many_keys_cost_no_more_queries(
    empty_hub: World, enter: Enter, django_assert_num_queries: CountQueries
) -> None:
    for number in range(10):
        made, _ = keys.create_key(project=empty_hub.project, name=f"key {number}")
        limits.set_limit(key=made, requests_per_minute=number + 1)
    client = enter(empty_hub.owner)
    with django_assert_num_queries(6):
        assert client.get("/keys/").content.decode().count("At most") == 10
