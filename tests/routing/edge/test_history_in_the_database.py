"""Rules that triggers hold, whoever writes."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from routing.models import PolicyVersion, Price, SnapshotVersion
from routing.services import keys, policies
from tests.routing.edge import documents

pytestmark = pytest.mark.django_db


def refused() -> pytest.RaisesExc[IntegrityError]:
    return pytest.raises(IntegrityError, match="never")


def version() -> int:
    return SnapshotVersion.objects.get().version


def end_of_transaction() -> None:
    """A test is one transaction, and a transaction announces itself once."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('panelboard.announced_in', '', true)")


@pytest.mark.parametrize("change", [{"unit_price_usd": 1}, {"state": "rejected"}, {"note": "x"}])
def test_an_approved_price_cannot_be_edited(change: dict[str, object]) -> None:
    documents.load()
    with refused(), transaction.atomic():
        Price.objects.update(**change)


def test_a_price_cannot_be_deleted() -> None:
    documents.load()
    with refused(), transaction.atomic():
        Price.objects.first().delete()


def test_a_pending_price_is_decided_once() -> None:
    documents.load()
    row = Price(**_facts(), state=Price.State.PENDING)
    row.save()
    Price.objects.filter(pk=row.pk).update(state=Price.State.APPROVED, decided_by="ada")
    with refused(), transaction.atomic():
        Price.objects.filter(pk=row.pk).update(state=Price.State.REJECTED)


def test_deciding_a_price_cannot_change_its_amount() -> None:
    documents.load()
    row = Price(**_facts(), state=Price.State.PENDING)
    row.save()
    with refused(), transaction.atomic():
        Price.objects.filter(pk=row.pk).update(state=Price.State.APPROVED, unit_price_usd=9)


def _facts() -> dict[str, object]:
    asked = documents.quote("5")
    return {
        "endpoint": documents.alpha_endpoint(),
        "meter": asked.meter,
        "unit_price_usd": asked.usd,
        "effective_from": asked.effective_from,
        "checked_on": asked.checked_on,
        "source": asked.source,
    }


def test_a_policy_version_can_be_neither_changed_nor_deleted() -> None:
    policies.save_policy(name="cheap", document={"objective": "cheapest"})
    with refused(), transaction.atomic():
        PolicyVersion.objects.update(document={})
    with refused(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM routing_policyversion")


def test_who_wrote_a_policy_version_may_be_deleted_and_the_version_stays() -> None:
    author = User.objects.create(username="ada")
    saved = policies.save_policy(name="cheap", document={}, user=author)
    author.delete()
    saved.refresh_from_db()
    assert (saved.version, saved.created_by) == (1, None)


def test_every_table_of_the_snapshot_raises_its_version() -> None:
    documents.load_with_keys()
    project = documents.project()
    changes = [
        "UPDATE routing_provider SET name = name",
        "UPDATE routing_model SET title = title",
        "UPDATE routing_endpoint SET region = region",
        "UPDATE routing_credential SET last4 = last4",
        "DELETE FROM routing_endpointstats",
        "DELETE FROM routing_policy",
        "DELETE FROM routing_policyversion",
        "UPDATE routing_price SET note = note WHERE false",
        "UPDATE routing_project SET name = name",
        "UPDATE routing_apikey SET name = name",
    ]
    keys.create_key(project=project, name="app")
    for change in changes:
        end_of_transaction()
        before = version()
        with connection.cursor() as cursor:
            cursor.execute(change)
        assert version() == before + 1, change


def test_one_transaction_raises_the_version_once() -> None:
    end_of_transaction()
    before = version()
    documents.load_with_keys()
    assert version() == before + 1


def test_what_no_snapshot_is_made_from_does_not_raise_the_version() -> None:
    project = documents.project()
    end_of_transaction()
    before = version()
    ada = User.objects.create(username="ada")
    project.organization.memberships.create(user=ada)
    assert version() == before
