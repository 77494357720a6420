from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from routing.core import tokens as token_format
from routing.core.catalog import Caller, Snapshot
from routing.core.usage import Meter
from routing.models import Credential, Endpoint, Model, Policy, Price, Provider
from routing.services import credentials, keys, policies, prices, stats
from routing.services.snapshots import load_snapshot
from tests.routing.edge import documents
from tests.routing.edge.documents import BIG, SMALL, quote

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _catalog() -> None:
    documents.load_with_keys()


def caller_of(plaintext: str, snapshot: Snapshot) -> Caller | None:
    digest = token_format.digest(settings.PANELBOARD_PEPPER, plaintext)
    return snapshot.callers.get(digest)


def slugs(snapshot: Snapshot, model: str = BIG) -> list[str]:
    return [endpoint.provider.slug for endpoint in snapshot.endpoints_of[model]]


def new_key(**more: Any) -> str:
    return keys.create_key(project=documents.project(), name="app", **more)[1]


def policy(name: str) -> Policy:
    return policies.save_policy(name=name, document={"objective": "cheapest"}).policy


def test_it_holds_endpoints_with_prices_credentials_and_quirks() -> None:
    snapshot = load_snapshot()
    assert slugs(snapshot) == ["alpha", "beta"]
    alpha = snapshot.endpoints_of[BIG][0]
    assert alpha.credentials[0].secret == "key-alpha"
    assert alpha.provider.quirks.max_tokens_field == "max_completion_tokens"
    assert alpha.prices.at(timezone.now())[Meter.INPUT].unit_price_usd == prices.Decimal("0.2")
    assert alpha.capabilities == {"tools"}
    assert snapshot.version > 0


def test_it_costs_the_same_number_of_queries_whatever_its_size(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_max_num_queries(12):
        load_snapshot()


def test_secrets_do_not_show_in_its_text() -> None:
    assert "key-alpha" not in repr(load_snapshot())


def test_names_and_aliases_are_found_in_any_case() -> None:
    aliases = load_snapshot().aliases
    assert aliases["openai/gpt-oss-120b"] == BIG
    assert aliases["oss-big"] == BIG
    assert aliases["gpt-oss-120b"] == BIG
    assert aliases["qwen3-32b"] == SMALL


def test_an_ambiguous_short_name_is_no_alias() -> None:
    Model.objects.create(name="other/Qwen3-32B", slug="other", title="x", maker="y")
    aliases = load_snapshot().aliases
    assert "qwen3-32b" not in aliases
    assert aliases["other/qwen3-32b"] == "other/Qwen3-32B"


def test_paused_endpoints_and_providers_are_left_out() -> None:
    Endpoint.objects.filter(region="eu").update(status="paused")
    assert slugs(load_snapshot()) == ["alpha"]
    Provider.objects.filter(slug="alpha").update(lifecycle="paused")
    snapshot = load_snapshot()
    assert slugs(snapshot) == []
    assert BIG in snapshot.models


@pytest.mark.parametrize(
    "change",
    [{"status": "retired"}, {"retires_on": dt.date(2026, 1, 1)}],
)
def test_a_retired_endpoint_is_told_as_retired(change: dict[str, Any]) -> None:
    Endpoint.objects.filter(provider__slug="alpha").update(**change)
    assert load_snapshot().endpoints_of[BIG][0].status == "retired"


def test_an_endpoint_retires_on_its_day_and_not_before() -> None:
    day = dt.date(2026, 6, 2)
    Endpoint.objects.filter(provider__slug="alpha").update(retires_on=day)
    evening = dt.datetime(2026, 6, 1, 23, 59, tzinfo=dt.UTC)
    assert load_snapshot(evening).endpoints_of[BIG][0].status == "active"
    after = evening + dt.timedelta(minutes=1)
    assert load_snapshot(after).endpoints_of[BIG][0].status == "retired"


def test_a_deprecated_endpoint_stays_in_use_although_its_day_has_passed() -> None:
    Endpoint.objects.filter(provider__slug="alpha").update(
        status="deprecated", retires_on=dt.date(2026, 1, 1)
    )
    assert load_snapshot().endpoints_of[BIG][0].status == "deprecated"


def test_only_approved_prices_count() -> None:
    held = prices.propose_price(endpoint=documents.alpha_endpoint(), quote=quote("5")).row
    assert held.state == Price.State.PENDING
    ids = {row.id for row in load_snapshot().endpoints_of[BIG][0].prices.rows}
    assert held.pk not in ids
    prices.approve_price(held, decided_by="ada")
    assert held.pk in {row.id for row in load_snapshot().endpoints_of[BIG][0].prices.rows}


def test_superseded_prices_are_dropped_and_coming_ones_kept() -> None:
    endpoint = documents.alpha_endpoint()
    now = dt.datetime(2026, 6, 2, tzinfo=dt.UTC)
    current = prices.propose_price(endpoint=endpoint, quote=quote("0.21")).row
    later = quote("0.22", effective_from=dt.datetime(2026, 7, 1, tzinfo=dt.UTC))
    coming = prices.propose_price(endpoint=endpoint, quote=later).row
    rows = load_snapshot(now).endpoints_of[BIG][0].prices.rows
    assert {row.id for row in rows if row.meter is Meter.INPUT} == {current.pk, coming.pk}


def test_a_price_replaced_moments_ago_is_kept_for_requests_on_their_way() -> None:
    endpoint = documents.alpha_endpoint()
    now = dt.datetime(2026, 6, 1, 0, 30, tzinfo=dt.UTC)
    prices.propose_price(endpoint=endpoint, quote=quote("0.21"))
    rows = load_snapshot(now).endpoints_of[BIG][0].prices.rows
    assert len([row for row in rows if row.meter is Meter.INPUT]) == 2


def test_a_key_is_a_caller_with_its_own_policy_else_its_projects() -> None:
    project = documents.project()
    project.policy = policy("of-project")
    project.save()
    plain, special = new_key(), new_key(policy=policy("of-key"))
    snapshot = load_snapshot()
    assert caller_of(plain, snapshot).policy.name == "of-project"
    assert caller_of(special, snapshot).policy.name == "of-key"
    assert caller_of(plain, snapshot).project_id == project.pk


def test_revoked_and_expired_keys_and_those_of_archived_projects_are_no_callers() -> None:
    project = documents.project()
    key, revoked = keys.create_key(project=project, name="app")
    keys.revoke_key(key)
    soon = timezone.now() + dt.timedelta(hours=1)
    expiring = new_key(expires_at=soon)
    assert caller_of(revoked, load_snapshot()) is None
    assert caller_of(expiring, load_snapshot()).expires_at == soon.timestamp()
    assert caller_of(expiring, load_snapshot(soon)) is None
    living = new_key()
    project.archived_at = timezone.now()
    project.save()
    assert caller_of(living, load_snapshot()) is None


def test_the_default_policy_is_the_marked_one_else_balanced() -> None:
    assert load_snapshot().default_policy.name == "balanced"
    policies.save_policy(name="mine", document={"objective": "cheapest"}, is_default=True)
    default = load_snapshot().default_policy
    assert (default.name, default.document.objective) == ("mine", "cheapest")


def test_an_archived_policy_routes_nothing() -> None:
    policies.archive_policy(policy("old"))
    assert "old" not in load_snapshot().policies


def test_a_simulated_provider_gets_the_simulators_key_and_a_real_one_its_own() -> None:
    alpha = Provider.objects.get(slug="alpha")
    credentials.store_credential(
        provider=alpha, name="sim", secret="sim-alpha-key", origin=Credential.Origin.SIMULATOR
    )
    assert [c.secret for c in load_snapshot().endpoints_of[BIG][0].credentials] == ["key-alpha"]
    alpha.simulated_base_url = "http://127.0.0.1:9470/alpha/v1"
    alpha.save()
    simulated = load_snapshot().endpoints_of[BIG][0]
    assert [c.secret for c in simulated.credentials] == ["sim-alpha-key"]
    assert simulated.provider.simulated
    assert simulated.provider.base_url == "http://127.0.0.1:9470/alpha/v1"


def test_a_disabled_credential_is_not_used() -> None:
    credentials.disable_credential(Credential.objects.get(provider__slug="alpha"), reason="leak")
    assert load_snapshot().endpoints_of[BIG][0].credentials == ()


def test_one_damaged_row_does_not_cost_the_whole(caplog: pytest.LogCaptureFixture) -> None:
    Credential.objects.filter(provider__slug="alpha").update(sealed="v1.gone.AAAA.AAAA")
    Provider.objects.filter(slug="beta").update(quirks={"no_such_quirk": 1})
    snapshot = load_snapshot()
    assert slugs(snapshot) == ["alpha"]
    assert snapshot.endpoints_of[BIG][0].credentials == ()
    assert "a credential of alpha is left out" in caplog.text
    assert "provider beta is left out" in caplog.text


def test_measurements_are_carried_along() -> None:
    endpoint = documents.alpha_endpoint()
    rows = [
        stats.StatsRow(endpoint.pk, n=40, ttft_p50_ms=210.0, success_rate=0.99),
        stats.StatsRow(endpoint_id=10**9, n=1),
    ]
    assert stats.write_endpoint_stats(rows, updated_at=timezone.now()) == 1
    stats.write_endpoint_stats([stats.StatsRow(endpoint.pk, n=41)], updated_at=timezone.now())
    measured = load_snapshot().endpoints[endpoint.pk].stats
    assert (measured.n, measured.ttft_p50_ms) == (41, None)


def test_a_provider_that_is_paused_is_not_routed_to_and_yet_known_by_name() -> None:
    assert load_snapshot().resting_providers == frozenset()
    Provider.objects.filter(slug="beta").update(lifecycle=Provider.Lifecycle.PAUSED)
    snapshot = load_snapshot()
    assert slugs(snapshot) == ["alpha"]
    assert "beta" not in snapshot.providers
    assert snapshot.resting_providers == {"beta"}
