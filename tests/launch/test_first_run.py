from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from dashboard.launch import first_run
from dashboard.launch.errors import LaunchError
from dashboard.launch.first_run import CHANGED_SINCE, GONE, FirstRun
from dashboard.launch.upstreams import Switched
from routing.models import AccessToken, ApiKey, Membership, Organization, Project
from routing.services import keys, tokens

pytestmark = pytest.mark.django_db
SIMULATED = Switched(real=(), simulated=("groq", "together"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "first-run.json"


def ensure(path: Path, switched: Switched = SIMULATED, port: int = 8000) -> FirstRun:
    return first_run.ensure(
        path,
        url=f"http://127.0.0.1:{port}",
        simulator_url="http://127.0.0.1:9470",
        switched=switched,
    )


def test_it_makes_what_the_first_request_needs(path: Path) -> None:
    made = ensure(path)
    admin = User.objects.get(username="admin")
    project = Project.objects.get(organization__slug="default", slug="default")
    assert admin.is_superuser
    assert admin.check_password(made.admin_password)
    assert Membership.objects.get(user=admin).role == Membership.Role.OWNER
    key = ApiKey.objects.get(project=project, kind=ApiKey.Kind.TRAFFIC)
    assert made.api_key.startswith(key.start)
    assert tokens.find_access_token(plaintext=made.rest_token) is not None
    assert ApiKey.objects.filter(project=project, kind=ApiKey.Kind.PLAYGROUND).exists()
    assert ApiKey.objects.filter(kind=ApiKey.Kind.PROBE).exists()
    assert made.api_key in made.curl
    assert "http://127.0.0.1:8000/v1/chat/completions" in made.curl


def test_the_file_is_its_owners_alone(path: Path) -> None:
    made = ensure(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["api_key"] == made.api_key
    assert [entry.name for entry in path.parent.iterdir()] == ["first-run.json"]


def test_secrets_are_not_part_of_its_repr(path: Path) -> None:
    made = ensure(path)
    for secret in (made.admin_password, made.api_key, made.rest_token):
        assert secret not in repr(made)


def counts() -> Iterable[int]:
    models = (User, Organization, Project, ApiKey, AccessToken, Membership)
    return [model.objects.count() for model in models]


def test_a_second_start_changes_nothing_but_the_address(path: Path) -> None:
    first = ensure(path)
    before = counts()
    second = ensure(path, port=9000)
    assert counts() == before
    assert (second.api_key, second.rest_token) == (first.api_key, first.rest_token)
    assert second.admin_password == first.admin_password
    assert "http://127.0.0.1:9000/" in second.curl


def test_a_changed_password_is_not_shown_any_more(path: Path) -> None:
    ensure(path)
    admin = User.objects.get(username="admin")
    admin.set_password("another one entirely")
    admin.save()
    assert ensure(path).admin_password == CHANGED_SINCE
    assert ensure(path).admin_password == CHANGED_SINCE


def test_a_revoked_key_is_not_made_again(path: Path) -> None:
    ensure(path)
    keys.revoke_key(ApiKey.objects.get(name="first run"))
    tokens.revoke_access_token(token=AccessToken.objects.get(name="first run"))
    before = counts()
    for _ in range(2):
        again = ensure(path)
        assert (again.api_key, again.rest_token) == (GONE, GONE)
    assert counts() == before


def test_a_file_of_another_database_gets_new_keys(path: Path) -> None:
    stranger = ensure(path)
    ApiKey.objects.all().delete()
    AccessToken.objects.all().delete()
    mended = ensure(path)
    assert mended.api_key != stranger.api_key
    assert tokens.find_access_token(plaintext=mended.rest_token) is not None


def test_it_says_whether_the_simulator_answers(path: Path) -> None:
    assert ensure(path).simulator_url == "http://127.0.0.1:9470"
    real = ensure(path, Switched(real=("together",), simulated=()))
    assert real.simulator_url == ""
    assert real.real_providers == ("together",)


@pytest.mark.parametrize("content", ["{", "[]", '{"admin_password": '])
def test_a_damaged_file_is_said_with_what_to_do(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(LaunchError, match="move it away to make a new one"):
        ensure(path)
