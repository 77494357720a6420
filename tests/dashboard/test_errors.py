"""What people see when something is wrong: plain words, no traceback."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import psycopg
import psycopg_pool
import pytest
from django.db import OperationalError, connection
from django.test import Client

from analytics import queries
from tests.dashboard.conftest import Enter
from tests.dashboard.world import World


@pytest.fixture
def quiet_logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING):
        yield caplog


def caused_by(cause: Exception) -> OperationalError:
    error = OperationalError(str(cause))
    error.__cause__ = cause
    return error


AWAY = [
    OperationalError("connection refused"),
    psycopg.OperationalError("the connection is lost"),
    psycopg_pool.PoolTimeout("couldn't get a connection after 5.00 sec"),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_a_lost_database_is_named_and_traffic_is_said_to_go_on(
    empty_hub: World,
    enter: Enter,
    monkeypatch: pytest.MonkeyPatch,
    quiet_logs: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    client = enter(empty_hub.owner)

    def lost(*args: object) -> None:
        raise error

    monkeypatch.setattr(queries, "monthly_bill", lost)
    answer = client.get("/spend/")
    page = answer.content.decode()
    assert answer.status_code == 503
    assert "Postgres cannot be reached" in page
    assert "Traffic is still served" in page
    assert answer["Retry-After"] == "5"
    assert answer["Refresh"] == "5"
    assert "Traceback" not in page
    assert not any(record.exc_info for record in quiet_logs.records)


def test_a_session_that_cannot_be_read_is_the_same_case(
    empty_hub: World, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = enter(empty_hub.owner)
    client.raise_request_exception = False

    def lost(*args: object, **kwargs: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", lost)
    answer = client.get("/models/")
    assert answer.status_code == 503
    assert "Postgres cannot be reached" in answer.content.decode()


def test_a_page_of_a_lost_database_asks_it_nothing(
    empty_hub: World, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = enter(empty_hub.owner)
    client.raise_request_exception = False

    def gone(*args: object) -> None:
        raise OperationalError("gone")

    with monkeypatch.context() as patched:
        patched.setattr("django.db.backends.utils.CursorWrapper.execute", gone)
        answer = client.get("/")
    assert answer.status_code == 503
    assert "Postgres cannot be reached" in answer.content.decode()


def test_a_query_that_took_too_long_is_told_apart(
    empty_hub: World, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*args: object) -> None:
        raise caused_by(psycopg.errors.QueryCanceled("canceling statement due to timeout"))

    monkeypatch.setattr(queries, "monthly_bill", slow)
    answer = enter(empty_hub.owner).get("/spend/")
    assert answer.status_code == 503
    assert "That took too long" in answer.content.decode()
    assert "Refresh" not in answer


def test_a_slip_of_ours_shows_no_traceback(
    empty_hub: World,
    enter: Enter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(queries, "monthly_bill", broken)
    client = enter(empty_hub.owner)
    client.raise_request_exception = False
    answer = client.get("/spend/")
    page = answer.content.decode()
    assert answer.status_code == 500
    assert "Something went wrong on our side" in page
    assert "secret detail" not in page


def test_an_unknown_address_does_not_list_the_known_ones(empty_hub: World, enter: Enter) -> None:
    answer = enter(empty_hub.owner).get("/no/such/page/")
    assert answer.status_code == 404
    page = answer.content.decode()
    assert "There is nothing here" in page
    assert "urlpatterns" not in page
    assert "playground" not in page


def test_a_stale_form_says_how_to_go_on(db: None) -> None:
    answer = Client(enforce_csrf_checks=True).post("/login/", {"username": "x"})
    assert answer.status_code == 403
    assert "This form is too old" in answer.content.decode()


def test_a_wrong_host_names_the_setting(db: None) -> None:
    client = Client(raise_request_exception=False)
    answer = client.get("/login/", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert "PANELBOARD_ALLOWED_HOSTS" in answer.content.decode()


def test_pages_carry_a_strict_policy(empty_hub: World, enter: Enter) -> None:
    answer = enter(empty_hub.owner).get("/models/openai-gpt-oss-120b/")
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer["X-Frame-Options"] == "DENY"


def test_the_admin_alone_may_evaluate(empty_hub: World, enter: Enter) -> None:
    client = enter(empty_hub.admin)
    assert "'unsafe-eval'" in client.get("/admin/")["Content-Security-Policy"]
    assert "unsafe" not in client.get("/")["Content-Security-Policy"]


def test_the_nonce_is_new_each_time_and_stands_in_the_page(world: World, owner: Client) -> None:
    seen = set()
    for _ in range(2):
        answer = owner.get("/spend/")
        policy = answer["Content-Security-Policy"]
        nonce = policy.partition("'nonce-")[2].partition("'")[0]
        assert f'nonce="{nonce}"' in answer.content.decode()
        seen.add(nonce)
    assert len(seen) == 2
    assert connection.in_atomic_block  # the tests' own transaction: nothing was committed


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "address", "status", "code"),
    [
        ("POST", "/chat/completions", 404, "unknown_url"),
        ("GET", "/v1", 404, "unknown_url"),
        ("GET", "/models/", 401, "login_required"),
    ],
)
def test_a_client_with_a_wrong_base_url_is_told_the_right_one(
    client: Client, method: str, address: str, status: int, code: str
) -> None:
    answer = client.generic(method, address, headers={"accept": "application/json"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == code
    assert "The API is at http://testserver/v1" in error["message"]


@pytest.mark.django_db
def test_a_browser_gets_a_page_at_the_same_addresses(client: Client) -> None:
    accept = {"accept": "text/html,application/xhtml+xml,application/json;q=0.9"}
    assert "There is nothing here" in client.get("/v1", headers=accept).content.decode()
    assert client.get("/models/", headers=accept).status_code == 302
