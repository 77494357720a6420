"""A database that hangs does not hang the pages."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from dashboard import deadline
from dashboard.deadline import BoundedConnection
from dashboard.middleware import deadline_middleware


@pytest.fixture
def own_connection(db: None) -> Iterator[BoundedConnection]:
    params = connection.get_connection_params()
    wanted = {name: params[name] for name in ("dbname", "user", "host", "port") if name in params}
    with BoundedConnection.connect(**wanted, autocommit=True) as opened:
        yield opened


def test_waiting_ends_with_the_deadline(
    own_connection: BoundedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "LEAST_S", 0.05)
    began = time.monotonic()
    with (
        deadline.within(0.1),
        pytest.raises(psycopg.OperationalError, match="did not answer within"),
    ):
        own_connection.execute("SELECT pg_sleep(1)")
    assert time.monotonic() - began < 0.9
    assert own_connection.closed, "its answer may still come, and would be taken for another's"


def test_an_answer_in_time_is_an_answer(own_connection: BoundedConnection) -> None:
    with deadline.within(30):
        assert own_connection.execute("SELECT 7").fetchone() == (7,)
    assert not own_connection.closed


def test_what_is_tidied_up_late_still_gets_a_moment(own_connection: BoundedConnection) -> None:
    with deadline.within(-5):
        assert own_connection.execute("SELECT 7").fetchone() == (7,)


def test_tasks_and_commands_wait_as_long_as_it_takes(own_connection: BoundedConnection) -> None:
    assert own_connection.execute("SELECT pg_sleep(0.05)").fetchone() is not None


def test_each_request_has_its_deadline() -> None:
    seen: list[float | None] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(deadline._until.get())
        return HttpResponse()

    deadline_middleware(view)(RequestFactory().get("/"))
    assert seen[0] is not None
    assert deadline._until.get() is None


async def test_an_async_request_has_it_too() -> None:
    seen: list[float | None] = []

    async def view(request: HttpRequest) -> HttpResponse:
        seen.append(deadline._until.get())
        return HttpResponse()

    await deadline_middleware(view)(RequestFactory().get("/"))
    assert seen[0] is not None
    assert deadline._until.get() is None


def test_the_pool_of_the_pages_makes_such_connections() -> None:
    pool = connection.settings_dict["OPTIONS"]["pool"]
    assert pool["connection_class"] is BoundedConnection
    assert deadline.REQUEST_S < 10, "below the server's statement_timeout"
