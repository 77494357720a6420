from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from routing.models import ApiKey
from tests.dashboard.conftest import Enter
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
