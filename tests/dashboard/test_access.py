"""Who sees what. Other organizations' things are absent, not forbidden."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.core.cache import cache
from django.core.checks import run_checks
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from dashboard import throttle
from dashboard.access import PUBLIC, SIGNED_IN, access, undeclared
from tests.dashboard.conftest import Enter
from tests.dashboard.world import World

OPEN = ("/login/", "/api/schema/", "/api/docs/")
FOR_ANYONE_SIGNED_IN = (
    "/",
    "/models/",
    "/models/openai-gpt-oss-120b/",
    "/providers/",
    "/providers/groq/",
    "/compare/",
    "/compare/groq-vs-together/",
)
FOR_SPEND = ("/spend/", "/spend/bill.csv")
FOR_REQUESTS = ("/requests/", "/batches/")
FOR_SENDERS = ("/keys/", "/playground/")

# person, then who may open spend, single requests, and send
MATRIX = [
    ("owner", 200, 200, 200),
    ("member", 200, 200, 200),
    ("biller", 200, 403, 403),
    ("stranger", 200, 200, 200),
    ("newcomer", 403, 403, 403),
    ("admin", 200, 200, 200),
]


def bare_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def test_every_address_declares_its_policy() -> None:
    assert [found for found in run_checks() if found.id == "dashboard.E001"] == []


def test_an_address_without_a_policy_is_found_also_below_others() -> None:
    routes = [
        path("fine/", access(SIGNED_IN)(bare_view)),
        path("open/", access(PUBLIC)(bare_view)),
        path("deep/", include(([path("forgotten/", bare_view)], "deep"))),
    ]
    assert list(undeclared(routes)) == ["deep/forgotten/"]


@pytest.mark.parametrize("address", OPEN)
def test_open_addresses_need_no_login(world: World, enter: Enter, address: str) -> None:
    assert enter(None).get(address).status_code == 200


@pytest.mark.parametrize("address", FOR_ANYONE_SIGNED_IN + FOR_SPEND + FOR_REQUESTS + FOR_SENDERS)
def test_anonymous_visitors_are_sent_to_the_login_and_back(
    world: World, enter: Enter, address: str
) -> None:
    answer = enter(None).get(address)
    assert answer.status_code == 302
    assert answer["Location"] == f"/login/?next={address}"


@pytest.mark.parametrize(("person", "spend", "requests", "send"), MATRIX)
def test_each_role_opens_what_its_role_says(
    world: World, enter: Enter, person: str, spend: int, requests: int, send: int
) -> None:
    client = enter(getattr(world, person))
    for addresses, expected in (
        (FOR_ANYONE_SIGNED_IN, 200),
        (FOR_SPEND, spend),
        (FOR_REQUESTS, requests),
        (FOR_SENDERS, send),
    ):
        for address in addresses:
            assert client.get(address).status_code == expected, address


def test_a_refusal_says_what_to_do(world: World, enter: Enter) -> None:
    answer = enter(world.biller).get("/requests/")
    assert "Ask an owner of the organization for the member role" in answer.content.decode()


@pytest.mark.parametrize(
    ("person", "own", "others"),
    [
        ("owner", 200, 404),
        ("member", 200, 404),
        ("stranger", 404, 200),
        ("admin", 200, 200),
    ],
)
def test_a_receipt_exists_only_for_its_own_organization(
    world: World, enter: Enter, person: str, own: int, others: int
) -> None:
    client = enter(getattr(world, person))
    assert client.get(f"/requests/{world.rescued}/").status_code == own
    assert client.get(f"/requests/{world.others_request}/").status_code == others


def test_a_receipt_that_never_was_looks_like_one_of_others(world: World, enter: Enter) -> None:
    client = enter(world.owner)
    never = UUID("01900000-0000-7000-8000-000000000000")
    absent = client.get(f"/requests/{never}/").content.decode()
    foreign = client.get(f"/requests/{world.others_request}/").content.decode()
    assert "There is no such request" in absent
    assert absent == foreign


def test_no_page_of_one_organization_names_another(world: World, enter: Enter) -> None:
    client = enter(world.owner)
    for address in ("/", "/requests/?period=30d", "/spend/", "/spend/?by=project", "/keys/"):
        page = client.get(address).content.decode()
        assert "Secret project" not in page, address
        assert "other key" not in page, address


def test_a_foreign_project_in_the_address_is_no_filter(world: World, enter: Enter) -> None:
    page = enter(world.owner).get(f"/requests/?project={world.other_project.pk}").content.decode()
    assert "Secret project" not in page
    assert "That filter was left out" in page


def test_the_admin_link_is_for_staff(world: World, enter: Enter) -> None:
    assert 'href="/admin/"' in enter(world.admin).get("/models/").content.decode()
    assert 'href="/admin/"' not in enter(world.owner).get("/models/").content.decode()


def test_a_logged_in_person_is_not_asked_again(world: World, enter: Enter) -> None:
    answer = enter(world.owner).get("/login/")
    assert answer.status_code == 302
    assert answer["Location"] == "/"


def test_a_wrong_password_says_where_the_first_one_stands(world: World, enter: Enter) -> None:
    answer = enter(None).post("/login/", {"username": "olga", "password": "wrong"})
    assert answer.status_code == 200
    assert "first-run.json" in answer.content.decode()


def test_logging_out_ends_the_session(world: World, enter: Enter) -> None:
    client = enter(world.owner)
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/")["Location"].startswith("/login/")


def test_guessing_a_password_is_slowed_down(empty_hub: World, enter: Enter) -> None:
    olga = empty_hub.owner
    olga.set_password("a long enough one")
    olga.save()
    client = enter(None)
    for _ in range(throttle.PER_ACCOUNT):
        client.post("/login/", {"username": "olga", "password": "wrong"})
    right = {"username": "OLGA", "password": "a long enough one"}
    assert "Wait a minute" in client.post("/login/", right).content.decode()
    cache.clear()  # a minute later
    right["username"] = "olga"
    assert client.post("/login/", right).status_code == 302


def test_one_address_cannot_try_many_accounts(empty_hub: World, enter: Enter) -> None:
    for number in range(throttle.PER_ADDRESS):
        throttle.count_failure(f"account {number}", "192.0.2.1")
    assert throttle.is_blocked("another", "192.0.2.1")
    assert not throttle.is_blocked("another", "192.0.2.2")


def test_an_archived_project_stays_on_the_bill_and_takes_nothing_new(
    world: World, enter: Enter
) -> None:
    world.batch_project.archived_at = world.now
    world.batch_project.save()
    client = enter(world.owner)
    assert "Nightly summaries" in client.get("/spend/").content.decode()
    making = client.get("/keys/").content.decode().partition("Keys of your projects")[0]
    assert "Checkout assistant" in making
    assert "Nightly summaries" not in making


def test_staff_see_every_organization(world: World, enter: Enter) -> None:
    world.newcomer.is_staff = True
    world.newcomer.save()
    page = enter(world.newcomer).get("/spend/?by=project").content.decode()
    assert "Secret project" in page
    assert "Checkout assistant" in page
