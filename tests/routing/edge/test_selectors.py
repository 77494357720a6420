from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from routing.core.usage import Meter
from routing.models import Endpoint, Membership, Provider
from routing.selectors import catalog, team
from routing.selectors.team import Action
from routing.services import prices
from tests.routing.edge import documents
from tests.routing.edge.documents import BIG, quote

pytestmark = pytest.mark.django_db
Role = Membership.Role


def test_providers_come_with_their_counts_and_whether_they_can_be_used(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    documents.load_with_keys()
    Endpoint.objects.filter(region="eu").update(status="retired")
    Provider.objects.filter(slug="alpha").update(simulated_base_url="http://127.0.0.1:9470/alpha")
    with django_assert_num_queries(2):
        alpha, beta = catalog.providers()
    assert (alpha.endpoints, alpha.models, alpha.has_credential) == (1, 1, False)
    assert (beta.endpoints, beta.models, beta.has_credential) == (1, 1, True)


def test_models_come_with_their_cheapest_endpoint_first(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    documents.load()
    with django_assert_num_queries(2):
        found = {summary.model.name: summary for summary in catalog.models(timezone.now())}
    big = found[BIG]
    assert [endpoint.provider.slug for endpoint in big.endpoints] == ["alpha", "beta"]
    assert big.cheapest is big.endpoints[0]
    assert big.cheapest_usd(Meter.INPUT) == Decimal("0.2")
    assert (big.providers, big.context_window) == (2, 131072)


def test_a_model_tells_its_history_and_what_waits_for_approval() -> None:
    documents.load()
    prices.propose_price(endpoint=documents.alpha_endpoint(), quote=quote("9"))
    Endpoint.objects.filter(region="eu").update(status="retired")
    detail = catalog.model_detail("openai-gpt-oss-120b", timezone.now())
    assert detail is not None
    assert (len(detail.summary.endpoints), len(detail.retired)) == (1, 1)
    assert (len(detail.history), detail.pending) == (4, 1)
    assert catalog.model_detail("no-such-model", timezone.now()) is None


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.OWNER, set(Action)),
        (Role.ADMIN, set(Action) - {Action.MANAGE_OWNERS}),
        (Role.MEMBER, {Action.SEE_SPEND, Action.SEE_REQUESTS, Action.SEND_REQUESTS}),
        (Role.BILLING_VIEWER, {Action.SEE_SPEND}),
    ],
)
def test_what_a_role_may_do_in_its_own_organization_and_nowhere_else(
    role: Role, allowed: set[Action]
) -> None:
    ours = documents.project().organization
    theirs = documents.project("shop", "other").organization
    user = User.objects.create_user("ada")
    Membership.objects.create(organization=ours, user=user, role=role)
    assert {action for action in Action if team.can(user, action, ours)} == allowed
    assert not any(team.can(user, action, theirs) for action in Action)


def test_members_see_their_organizations_and_staff_sees_all() -> None:
    ours = documents.project()
    documents.project("shop", "other")
    user = User.objects.create_user("ada")
    Membership.objects.create(organization=ours.organization, user=user)
    staff = User.objects.create_user("sam", is_staff=True)
    assert list(team.projects_of(user)) == [ours]
    assert list(team.organizations_of(user)) == [ours.organization]
    assert team.projects_of(staff).count() == team.organizations_of(staff).count() == 2


def test_nobody_sees_and_may_nothing() -> None:
    project = documents.project()
    nobody = AnonymousUser()
    assert not team.projects_of(nobody).exists()
    assert not team.organizations_of(nobody).exists()
    assert not any(team.can(nobody, action, project.organization) for action in Action)
