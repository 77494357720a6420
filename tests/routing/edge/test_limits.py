"""Limits are set by admins, kept for ever, and carried to the gateways by the snapshot."""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from routing.core.limits import Limits
from routing.models import ApiKey, Limit, SnapshotVersion
from routing.services import keys, limits
from routing.services.limits import InUse, LimitInvalid, current_limit, set_limit
from routing.services.snapshots import load_snapshot
from tests.routing.edge import documents

pytestmark = pytest.mark.django_db


@pytest.fixture
def key() -> ApiKey:
    return keys.create_key(project=documents.project(), name="app")[0]


def carried(key: ApiKey) -> Limits | None:
    return load_snapshot().callers[bytes(key.digest)].limits


# --- setting --------------------------------------------------------------------------------------


def test_a_key_without_limits_carries_none(key: ApiKey) -> None:
    assert carried(key) is None


def test_a_limit_of_the_key_and_one_of_its_project_are_both_carried(key: ApiKey) -> None:
    set_limit(key=key, requests_per_minute=60, tokens_per_minute=9000)
    set_limit(project=key.project, tokens_per_minute=5000, concurrent_requests=4)
    found = carried(key)
    assert found is not None
    own, project = found.parts
    assert (own.scope, own.name, own.pool) == ("key", "app", f"key:{key.pk}")
    assert (own.requests_per_minute, own.concurrent_requests) == (60, None)
    assert (project.scope, project.name, project.concurrent_requests) == ("project", "Shop", 4)
    assert found.most_tokens == 5000


def test_a_change_is_a_new_row_and_the_newest_holds(key: ApiKey) -> None:
    ada = User.objects.create(username="ada")
    set_limit(key=key, requests_per_minute=60)
    set_limit(key=key, requests_per_minute=600, user=ada, note="for the launch")
    newest, oldest = limits.history(key=key)
    assert (newest.requests_per_minute, newest.created_by, newest.note) == (
        600,
        ada,
        "for the launch",
    )
    assert oldest.requests_per_minute == 60
    found = carried(key)
    assert found is not None
    assert found.parts[0].requests_per_minute == 600


def test_the_same_limit_again_adds_no_row(key: ApiKey) -> None:
    first = set_limit(key=key, requests_per_minute=60)
    assert set_limit(key=key, requests_per_minute=60) == first
    assert Limit.objects.count() == 1


def test_an_empty_limit_lifts_the_one_before(key: ApiKey) -> None:
    set_limit(key=key, requests_per_minute=60)
    set_limit(key=key)
    assert carried(key) is None
    assert limits.explain(limits.history(key=key)[0]) == "Unlimited."


def test_limits_of_different_keys_do_not_mix(key: ApiKey) -> None:
    other, _ = keys.create_key(project=key.project, name="other")
    set_limit(key=key, requests_per_minute=1)
    set_limit(key=other, requests_per_minute=2)
    set_limit(key=key, requests_per_minute=3)
    assert [carried(one).parts[0].requests_per_minute for one in (key, other)] == [3, 2]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("caps", "field", "words"),
    [
        ({"requests_per_minute": 0}, "requests_per_minute", "revoke the key"),
        ({"tokens_per_minute": -5}, "tokens_per_minute", "at least 1"),
        ({"concurrent_requests": 10**13}, "concurrent_requests", "empty for unlimited"),
    ],
)
def test_a_limit_that_makes_no_sense_is_explained(
    key: ApiKey, caps: dict[str, int], field: str, words: str
) -> None:
    with pytest.raises(LimitInvalid) as refused:
        set_limit(key=key, **caps)
    [(named, message)] = refused.value.problems
    assert named == field
    assert words in message
    assert current_limit(key=key) is None


def test_a_limit_is_of_a_key_or_a_project_and_not_of_both(key: ApiKey) -> None:
    for subject in ({}, {"key": key, "project": key.project}):
        with pytest.raises(LimitInvalid, match="either a key or a project"):
            set_limit(**subject, requests_per_minute=5)  # type: ignore[arg-type]


def test_what_is_gone_gets_no_limit(key: ApiKey) -> None:
    keys.revoke_key(key)
    with pytest.raises(LimitInvalid, match="revoked"):
        set_limit(key=key, requests_per_minute=5)
    project = key.project
    project.archived_at = timezone.now()
    with pytest.raises(LimitInvalid, match="archived"):
        set_limit(project=project, requests_per_minute=5)


def test_a_limit_is_said_in_one_sentence(key: ApiKey) -> None:
    row = set_limit(
        key=key, requests_per_minute=60, tokens_per_minute=100_000, concurrent_requests=4
    )
    assert limits.explain(row) == "At most 60 requests and 100,000 tokens per minute, 4 at a time."
    assert limits.explain(set_limit(key=key, concurrent_requests=2)) == "At most 2 at a time."


def test_a_limit_above_its_projects_is_warned_of(key: ApiKey) -> None:
    set_limit(project=key.project, requests_per_minute=10)
    [warning] = limits.warnings(key=key, caps={"requests_per_minute": 50})
    assert "allows 10 requests per minute" in warning
    assert limits.warnings(key=key, caps={"requests_per_minute": 10}) == []


def test_nothing_is_in_use_before_the_first_request(key: ApiKey) -> None:
    assert limits.in_use(key=key) == InUse()


# --- the database's own rules ---------------------------------------------------------------------


def test_a_limit_can_be_neither_changed_nor_deleted(key: ApiKey) -> None:
    row = set_limit(key=key, requests_per_minute=60)
    with pytest.raises(IntegrityError, match="never"), transaction.atomic():
        Limit.objects.update(requests_per_minute=70)
    with pytest.raises(IntegrityError, match="never"), transaction.atomic():
        row.delete()


def test_who_set_a_limit_may_be_deleted_and_the_limit_stays(key: ApiKey) -> None:
    ada = User.objects.create(username="ada")
    row = set_limit(key=key, requests_per_minute=60, user=ada)
    ada.delete()
    row.refresh_from_db()
    assert (row.requests_per_minute, row.created_by) == (60, None)


def test_a_new_limit_raises_the_snapshots_version(key: ApiKey) -> None:
    before = SnapshotVersion.objects.get().version
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('panelboard.announced_in', '', true)")
    set_limit(key=key, requests_per_minute=60)
    assert SnapshotVersion.objects.get().version == before + 1


# --- the admin ------------------------------------------------------------------------------------


@pytest.fixture
def boss(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


def save(client: Client, **data: Any) -> str:
    response = client.post(reverse("admin:routing_limit_add"), data, follow=True)
    return html.unescape(response.content.decode())


def test_an_admin_sets_a_limit_and_reads_what_it_means(boss: Client, key: ApiKey) -> None:
    set_limit(project=key.project, requests_per_minute=10)
    page = save(boss, key=key.pk, requests_per_minute="60", note="agreed by phone")
    assert "At most 60 requests per minute." in page
    assert "cannot be reached" in page
    row = current_limit(key=key)
    assert row is not None
    assert (row.requests_per_minute, row.note) == (60, "agreed by phone")
    assert row.created_by is not None
    assert row.created_by.username == "boss"


def test_an_admin_is_told_what_is_wrong(boss: Client, key: ApiKey) -> None:
    assert "either a key or a project" in save(boss, requests_per_minute="60")
    assert "empty for unlimited" in save(boss, key=key.pk, requests_per_minute="0")
    assert not Limit.objects.exists()


def test_the_list_is_the_history_and_says_which_row_holds(boss: Client, key: ApiKey) -> None:
    set_limit(key=key, requests_per_minute=60)
    set_limit(key=key, requests_per_minute=90)
    page = boss.get(reverse("admin:routing_limit_changelist")).content.decode()
    assert "At most 60 requests" in page
    assert "At most 90 requests" in page
    rows = {row.requests_per_minute: row for row in Limit.objects.all()}
    for row in rows.values():
        opened = boss.post(reverse("admin:routing_limit_change", args=[row.pk]), {"note": "x"})
        assert opened.status_code == 403
        assert boss.get(reverse("admin:routing_limit_delete", args=[row.pk])).status_code == 403
