"""The admin as a superuser and as others see it."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from routing.core.tokens import API_KEY_PREFIX, REST_PREFIX, is_well_formed
from routing.models import (
    AccessToken,
    ApiKey,
    Credential,
    Endpoint,
    Model,
    Policy,
    Price,
    Project,
    Provider,
)
from routing.services import credentials, keys, policies, prices
from routing.services.prices import Outcome
from tests.routing.edge import documents
from tests.routing.edge.documents import quote

pytestmark = pytest.mark.django_db

SECRET = "sk-canary-000111222333"
LISTS = sorted(
    f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry
)


@pytest.fixture(autouse=True)
def _catalog() -> None:
    documents.load_with_keys()
    policies.ensure_default()


@pytest.fixture
def boss(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


@pytest.fixture
def member(client: Client) -> Client:
    client.force_login(User.objects.create_user("member"))
    return client


def address(model: type, page: str, *args: object) -> str:
    meta: Any = model._meta  # type: ignore[attr-defined]
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=args)


def text(response: HttpResponse) -> str:
    return html.unescape(response.content.decode())


def act(client: Client, model: type, action: str, *rows: Any) -> str:
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return text(client.post(address(model, "changelist"), data, follow=True))


@pytest.mark.parametrize("name", LISTS)
def test_every_list_opens_for_a_superuser(boss: Client, name: str) -> None:
    assert boss.get(reverse(f"admin:{name}_changelist")).status_code == 200


@pytest.mark.parametrize("name", LISTS)
def test_every_list_refuses_a_member(member: Client, name: str) -> None:
    response = member.get(reverse(f"admin:{name}_changelist"))
    assert response.status_code == 302
    assert "login" in response["Location"]


@pytest.mark.parametrize(
    "model", [Provider, Model, Endpoint, Price, Policy, Credential, Project, ApiKey]
)
def test_every_page_of_a_row_opens(boss: Client, model: Any) -> None:
    keys.create_key(project=documents.project(), name="app")
    row = model.objects.first()
    assert boss.get(address(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", [Provider, Endpoint, Price, Policy, Credential, ApiKey])
def test_every_form_for_a_new_row_opens(boss: Client, model: Any) -> None:
    assert boss.get(address(model, "add")).status_code == 200


@pytest.mark.parametrize("model", [Provider, Model, Endpoint, Price, Policy, Project, ApiKey])
def test_what_bills_refer_to_cannot_be_deleted(boss: Client, model: Any) -> None:
    keys.create_key(project=documents.project(), name="app")
    row = model.objects.first()
    assert boss.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert model.objects.filter(pk=row.pk).exists()


# --- keys -----------------------------------------------------------------------------------------


def test_a_new_key_is_shown_once(boss: Client) -> None:
    data = {"project": documents.project().pk, "name": "app"}
    response = boss.post(address(ApiKey, "add"), data)
    shown = re.findall(rf"{API_KEY_PREFIX}\w+", text(response))
    assert [is_well_formed(token, API_KEY_PREFIX) for token in shown] == [True]
    assert "no-store" in response["Cache-Control"]
    key = ApiKey.objects.get(name="app")
    assert key.created_by.username == "boss"
    for page in (address(ApiKey, "changelist"), address(ApiKey, "change", key.pk)):
        assert shown[0] not in text(boss.get(page))


def test_a_new_access_token_is_shown_once(boss: Client) -> None:
    organization = documents.project().organization
    data = {"organization": organization.pk, "name": "finance", "scopes": ["billing:read"]}
    response = boss.post(address(AccessToken, "add"), data)
    [shown] = re.findall(rf"{REST_PREFIX}\w+", text(response))
    assert is_well_formed(shown, REST_PREFIX)
    assert AccessToken.objects.get().scopes == ["billing:read"]


def test_a_key_is_revoked_by_an_action(boss: Client) -> None:
    key, _ = keys.create_key(project=documents.project(), name="app")
    assert "revoked: app" in act(boss, ApiKey, "revoke", key)
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_an_archived_project_gets_no_key(boss: Client) -> None:
    project = documents.project()
    project.archived_at = timezone.now()
    project.save()
    response = boss.post(address(ApiKey, "add"), {"project": project.pk, "name": "app"})
    assert "is archived" in text(response)
    assert not ApiKey.objects.filter(name="app").exists()


def test_the_policy_of_a_key_can_be_changed_and_its_project_cannot(boss: Client) -> None:
    key, _ = keys.create_key(project=documents.project(), name="app")
    other = documents.project("other")
    policy = Policy.objects.get()
    data = {"project": other.pk, "name": "app", "policy": policy.pk}
    boss.post(address(ApiKey, "change", key.pk), data)
    key.refresh_from_db()
    assert (key.policy, key.project.slug) == (policy, "shop")


# --- credentials ----------------------------------------------------------------------------------


def test_a_credential_is_written_and_never_shown(boss: Client) -> None:
    alpha = Provider.objects.get(slug="alpha")
    data = {"provider": alpha.pk, "name": "spare", "secret": SECRET}
    boss.post(address(Credential, "add"), data)
    row = Credential.objects.get(name="spare")
    assert credentials.reveal(row) == SECRET
    for page in (address(Credential, "changelist"), address(Credential, "change", row.pk)):
        shown = text(boss.get(page))
        assert f"…{SECRET[-4:]}" in shown
        assert SECRET not in shown
        assert row.sealed not in shown


def test_a_refused_secret_is_not_repeated_by_the_form(boss: Client) -> None:
    alpha = Provider.objects.get(slug="alpha")
    data = {"provider": alpha.pk, "name": "spare", "secret": "two words"}
    shown = text(boss.post(address(Credential, "add"), data))
    assert "one line of visible ASCII" in shown
    assert "two words" not in shown


def test_a_credential_is_replaced_and_keeps_its_row(boss: Client) -> None:
    row = Credential.objects.get(provider__slug="alpha")
    beta = Provider.objects.get(slug="beta")
    data = {"provider": beta.pk, "name": "moved", "secret": SECRET}
    boss.post(address(Credential, "change", row.pk), data)
    row.refresh_from_db()
    assert (row.provider.slug, row.name, credentials.reveal(row)) == ("alpha", "main", SECRET)


def test_a_credential_is_disabled_and_enabled_by_actions(boss: Client) -> None:
    row = Credential.objects.get(provider__slug="alpha")
    act(boss, Credential, "disable", row)
    row.refresh_from_db()
    assert row.disabled_reason == "by boss"
    act(boss, Credential, "enable", row)
    row.refresh_from_db()
    assert row.disabled_at is None


# --- policies ---------------------------------------------------------------------------------------


def policy_form(**more: Any) -> dict[str, Any]:
    return {
        "name": "mine",
        "description": "for tests",
        "objective": "cheapest",
        "allow_fallbacks": "on",
        "max_attempts": "2",
        "versions-TOTAL_FORMS": "0",
        "versions-INITIAL_FORMS": "0",
        **more,
    }


def test_a_policy_is_saved_and_told_in_words_and_as_json(boss: Client) -> None:
    data = policy_form(ignore="beta", max_price_output="1.50")
    shown = text(boss.post(address(Policy, "add"), data, follow=True))
    assert "Version 1 is live: Take the endpoint where this request is cheapest" in shown
    policy = Policy.objects.get(name="mine")
    assert policy.current.document["ignore"] == ["beta"]
    assert policy.current.created_by.username == "boss"
    page = text(boss.get(address(Policy, "change", policy.pk)))
    assert '"max_price_output": "1.50"' in page
    assert "never at beta" in page
    assert 'value="beta"' in page


RULES = [{"when": {"tags": ["night"]}, "then": {"objective": "fastest"}, "name": "night"}]


def test_settings_without_a_field_survive_an_edit_of_the_others(boss: Client) -> None:
    more = {"rules": RULES, "stable_by": "key", "objective": "balanced"}
    refused = text(boss.post(address(Policy, "add"), policy_form(more=json.dumps(more))))
    assert "objective: use the field of that name" in refused
    del more["objective"]
    boss.post(address(Policy, "add"), policy_form(more=json.dumps(more)))
    policy = Policy.objects.get(name="mine")
    page = address(Policy, "change", policy.pk)
    form = boss.get(page).context["adminform"].form
    assert form.initial["more"]["stable_by"] == "key"
    boss.post(page, policy_form(max_attempts="1", more=json.dumps(form.initial["more"])))
    policy.refresh_from_db()
    document = policy.current.document
    assert (document["max_attempts"], document["stable_by"]) == (1, "key")
    assert document["rules"][0]["name"] == "night"


def test_a_mistake_among_the_other_settings_is_shown_beside_them(boss: Client) -> None:
    wrong = [{"when": {"weekdays": ["monday"]}, "then": {"zdr": False}}]
    shown = text(boss.post(address(Policy, "add"), policy_form(more=json.dumps({"rules": wrong}))))
    assert "did you mean mon" in shown
    assert not Policy.objects.filter(name="mine").exists()


def test_saving_a_policy_again_writes_a_new_version(boss: Client) -> None:
    boss.post(address(Policy, "add"), policy_form())
    policy = Policy.objects.get(name="mine")
    page = address(Policy, "change", policy.pk)
    boss.post(page, policy_form(objective="ordered", order="beta, alpha", make_default="on"))
    policy.refresh_from_db()
    assert (policy.current.version, policy.is_default) == (2, True)
    assert policy.current.document["order"] == ["beta", "alpha"]
    assert not Policy.objects.get(name="balanced").is_default
    shown = text(
        boss.post(page, policy_form(objective="ordered", order="beta, alpha"), follow=True)
    )
    assert "The rules are unchanged" in shown
    assert policy.versions.count() == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ignore": "beto"}, "did you mean beta?"),
        ({"only": "alpha", "ignore": "alpha"}, "both in only and in ignore"),
        ({"weights": "alpha=1"}, 'only with the objective "weighted"'),
        ({"weights": "alpha"}, "write shares as groq=3"),
        ({"max_price_input": "cheap"}, "is not a price"),
        ({"max_price_input": "0.01"}, "leaves no endpoint for any model"),
        ({"max_attempts": "9"}, "less than or equal to 5"),
        ({"name": "fastest"}, "is a suffix of the hub's own"),
    ],
)
def test_a_wrong_policy_is_explained_beside_its_field(
    boss: Client, change: dict[str, str], message: str
) -> None:
    shown = text(boss.post(address(Policy, "add"), policy_form(**change)))
    assert message in shown
    assert not Policy.objects.filter(name="mine").exists()


def test_the_default_policy_cannot_be_archived(boss: Client) -> None:
    policy = Policy.objects.get(name="balanced")
    assert "still used by the hub as its default" in act(boss, Policy, "archive", policy)
    policy.refresh_from_db()
    assert policy.archived_at is None


# --- prices -----------------------------------------------------------------------------------------


def price_form(**more: Any) -> dict[str, Any]:
    return {
        "endpoint": documents.alpha_endpoint().pk,
        "meter": "input",
        "unit_price_usd": "0.22",
        "effective_from_0": "2026-06-01",
        "effective_from_1": "00:00:00",
        "min_input_tokens": "0",
        **more,
    }


def test_a_price_by_hand_is_a_new_dated_row(boss: Client) -> None:
    response = boss.post(address(Price, "add"), price_form())
    assert response.status_code == 302
    row = Price.objects.latest("pk")
    assert (row.source, row.state, str(row.unit_price_usd.normalize())) == (
        "admin",
        Price.State.APPROVED,
        "0.22",
    )


def test_a_price_by_hand_keeps_its_conditions(boss: Client) -> None:
    window = {"utc_from": "16:30", "utc_until": "00:30", "days": ["sat", "sun"]}
    boss.post(address(Price, "add"), price_form(service_tier="flex", **window))
    row = Price.objects.latest("pk")
    assert (row.utc_from_minute, row.utc_until_minute, row.weekdays) == (990, 30, 0b1100000)
    assert row.service_tier == "flex"


def test_a_jump_by_hand_waits_for_approval(boss: Client) -> None:
    shown = text(boss.post(address(Price, "add"), price_form(unit_price_usd="5"), follow=True))
    assert "It waits for approval: 0.2 -> 5" in shown
    row = Price.objects.latest("pk")
    assert row.state == Price.State.PENDING
    assert "1 prices approved" in act(boss, Price, "approve", row)
    row.refresh_from_db()
    assert (row.state, row.decided_by) == (Price.State.APPROVED, "boss")
    assert "already approved by boss" in act(boss, Price, "reject", row)


def test_an_unchanged_price_by_hand_adds_nothing(boss: Client) -> None:
    before = Price.objects.count()
    shown = text(boss.post(address(Price, "add"), price_form(unit_price_usd="0.2"), follow=True))
    assert "nothing was added" in shown
    assert Price.objects.count() == before


def test_a_wrong_price_is_explained(boss: Client) -> None:
    shown = text(boss.post(address(Price, "add"), price_form(utc_from="01:00")))
    assert "both its beginning and its end" in shown


def test_a_price_row_is_read_only(boss: Client) -> None:
    row = Price.objects.first()
    response = boss.post(address(Price, "change", row.pk), price_form(unit_price_usd="9"))
    assert response.status_code == 403


def test_staff_without_the_right_cannot_approve(client: Client) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_price"))
    client.force_login(viewer)
    proposal = prices.propose_price(endpoint=documents.alpha_endpoint(), quote=quote("5"))
    assert proposal.outcome is Outcome.HELD
    act(client, Price, "approve", proposal.row)
    proposal.row.refresh_from_db()
    assert proposal.row.state == Price.State.PENDING


# --- catalog ------------------------------------------------------------------------------------------


def provider_form(**more: Any) -> dict[str, Any]:
    return {
        "name": "Alpha",
        "slug": "alpha",
        "dialect": "openai_compat",
        "base_url": "https://api.alpha.example/v2",
        "lifecycle": "active",
        "key_env": '["ALPHA_API_KEY"]',
        "quirks": "{}",
        "listing": "{}",
        **more,
    }


def test_an_edited_provider_is_left_alone_by_the_next_load(boss: Client) -> None:
    alpha = Provider.objects.get(slug="alpha")
    response = boss.post(address(Provider, "change", alpha.pk), provider_form())
    assert response.status_code == 302
    documents.load()
    alpha.refresh_from_db()
    assert (alpha.source, alpha.base_url) == ("admin", "https://api.alpha.example/v2")
    act(boss, Provider, "follow_catalog", alpha)
    documents.load()
    alpha.refresh_from_db()
    assert alpha.base_url == "https://api.alpha.example/v1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_url": "http://127.0.0.1:8000/v1"}, "PANELBOARD_PRIVATE_UPSTREAMS"),
        ({"quirks": '{"stop_mx": 1}'}, "stop_mx"),
        ({"listing": '{"path": "/models", "kind": "togethr"}'}, "did you mean together?"),
        ({"dialect": "soap"}, "Select a valid choice"),
    ],
)
def test_a_wrong_provider_is_explained(boss: Client, change: dict[str, str], message: str) -> None:
    alpha = Provider.objects.get(slug="alpha")
    page = address(Provider, "change", alpha.pk)
    assert message in text(boss.post(page, provider_form(**change)))


def test_pausing_is_an_action_and_does_not_mark_the_row(boss: Client) -> None:
    alpha = Provider.objects.get(slug="alpha")
    act(boss, Provider, "pause", alpha)
    alpha.refresh_from_db()
    assert (alpha.lifecycle, alpha.source) == ("paused", "")
    endpoint = documents.alpha_endpoint()
    act(boss, Endpoint, "pause", endpoint)
    endpoint.refresh_from_db()
    assert (endpoint.status, endpoint.source) == ("paused", "")


def test_an_archived_project_is_restored(boss: Client) -> None:
    project = documents.project()
    act(boss, Project, "archive", project)
    project.refresh_from_db()
    assert project.archived_at is not None
    act(boss, Project, "restore", project)
    project.refresh_from_db()
    assert project.archived_at is None
