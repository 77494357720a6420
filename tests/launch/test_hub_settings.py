"""What is read of the environment without Django, and that Django is told the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from dashboard.database_url import connection_parameters
from dashboard.env import BadSetting
from dashboard.hub_settings import HubSettings

URL = "postgresql://ada:s%40cret%2F@db.example:5433/hub"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            URL,
            {
                "dbname": "hub",
                "user": "ada",
                "password": "s@cret/",
                "host": "db.example",
                "port": 5433,
            },
        ),
        ("postgresql:///panelboard", {"dbname": "panelboard"}),
        (
            "postgresql://ada@/hub?host=/run/pg&port=5434",
            {"dbname": "hub", "user": "ada", "host": "/run/pg", "port": "5434"},
        ),
        (f"{URL}?sslmode=require", {"sslmode": "require", "host": "db.example"}),
        (f"{URL}?connect_timeout=9&options=-c%20jit%3Doff", {"connect_timeout": "9"}),
    ],
)
def test_a_database_url_becomes_words_of_the_driver(url: str, expected: dict[str, Any]) -> None:
    found = connection_parameters(url)
    assert {name: found.get(name) for name in expected} == expected


def test_every_wait_is_bounded_unless_the_url_says_otherwise() -> None:
    assert "statement_timeout" in str(connection_parameters(URL)["options"])
    assert connection_parameters(URL)["connect_timeout"] == 3
    assert connection_parameters(f"{URL}?options=-c%20jit%3Doff")["options"] == "-c jit=off"


def test_a_port_that_is_none_is_said_in_one_line() -> None:
    with pytest.raises(BadSetting, match="port"):
        connection_parameters("postgresql://ada@db:none/hub")


def test_django_and_processes_without_it_reach_the_same_database() -> None:
    plain = connection_parameters(settings.HUB.database_url)
    theirs = connection.get_connection_params()
    told = {name: str(value) for name, value in plain.items() if name != "dbname"}
    assert {name: str(theirs.get(name)) for name in told} == told


def test_the_hubs_own_database_is_found_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("PANELBOARD_DATA", str(tmp_path))
    assert HubSettings.from_environment().database_url == "postgresql:///panelboard"
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg" / "url").write_text("postgresql://panelboard@/panelboard?host=/run/x\n")
    found = HubSettings.from_environment()
    assert found.connection_parameters["host"] == "/run/x"


def test_no_secret_shows_in_the_settings_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    shown = repr(HubSettings.from_environment())
    assert "s%40cret" not in shown
    assert settings.SECRETS.django_secret_key not in shown


def test_the_services_see_what_the_gateway_sees() -> None:
    hub = settings.HUB
    assert hub.upstream == settings.PANELBOARD_UPSTREAM
    assert hub.durability == settings.PANELBOARD_DURABILITY
    assert hub.secrets.pepper == settings.PANELBOARD_PEPPER
    assert hub.spool_max_bytes == settings.PANELBOARD_SPOOL_MAX_BYTES
