from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dashboard.checks import settings_problems


@pytest.fixture(autouse=True)
def _this_machine_alone(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]  # test runners add a name


def found() -> dict[str | None, str]:
    return {problem.id: problem.msg for problem in settings_problems()}


def test_the_settings_of_a_first_start_have_no_problem() -> None:
    assert found() == {}


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("DATABASE_URL", "mysql://localhost/x", "panelboard.E001"),
        ("CELERY_BROKER_URL", "rediss2://x", "panelboard.E002"),
        ("CELERY_BROKER_URL", "localhost:6379", "panelboard.E002"),
        ("CELERY_BROKER_URL", "sqla+postgresql:///x", "panelboard.E003"),
        ("CELERY_BROKER_URL", "filesystem://", "panelboard.E003"),
        ("PANELBOARD_PRIVATE_UPSTREAMS", ["10.0.0.1/8"], "panelboard.E004"),
        ("PANELBOARD_PRIVATE_UPSTREAMS", ["10.0.0.0/8", "a b"], "panelboard.E004"),
        ("PANELBOARD_PROBE_DAILY_USD", "-1", "panelboard.E005"),
        ("PANELBOARD_PROBE_DAILY_USD", "a dollar", "panelboard.E005"),
        ("PANELBOARD_PROBE_DAILY_USD", "NaN", "panelboard.E005"),
        ("ALLOWED_HOSTS", ["hub.example.com"], "panelboard.W001"),
    ],
)
def test_a_wrong_setting_has_an_id_and_a_hint(
    settings: Any, setting: str, value: object, expected: str
) -> None:
    setattr(settings, setting, value)
    problems = list(settings_problems())
    assert [problem.id for problem in problems] == [expected]
    assert problems[0].hint


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("CELERY_BROKER_URL", "redis://127.0.0.1/0"),
        ("CELERY_BROKER_URL", "pgmq://"),
        ("PANELBOARD_PRIVATE_UPSTREAMS", ["10.0.0.0/8", "127.0.0.1", "vllm.internal", "*.lan"]),
        ("PANELBOARD_PROBE_DAILY_USD", str(Decimal(0))),
        ("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]", "hub.localhost"]),
    ],
)
def test_a_right_setting_is_left_alone(settings: Any, setting: str, value: object) -> None:
    setattr(settings, setting, value)
    assert found() == {}


def test_debug_pages_are_for_this_machine_alone(settings: Any) -> None:
    settings.DEBUG = True
    assert found() == {}
    settings.ALLOWED_HOSTS = ["hub.example.com"]
    settings.SESSION_COOKIE_SECURE = True
    assert list(found()) == ["panelboard.E007"]


def test_a_public_address_needs_a_name(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    assert list(found()) == ["panelboard.W002"]
    settings.ALLOWED_HOSTS = ["hub.example.com"]
    settings.SESSION_COOKIE_SECURE = True
    assert found() == {}


def test_a_spool_folder_that_is_a_file_is_found(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings.PANELBOARD_SPOOL_DIR = tmp_path / "file" / "spool"
    assert list(found()) == ["panelboard.E006"]
