from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from routing.core.tokens import API_KEY_PREFIX, is_well_formed
from routing.models import ApiKey
from routing.services import policies
from tests.routing.edge import documents

pytestmark = pytest.mark.django_db


def test_a_key_is_printed_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    documents.project()
    policy = policies.ensure_default()
    end = "2127-01-31T00:00:00Z"
    call_command("create_key", "acme/shop", "app", "--policy", "balanced", "--expires-at", end)
    printed = capsys.readouterr()
    assert is_well_formed(printed.out.strip(), API_KEY_PREFIX)
    assert "not shown again" in printed.err
    key = ApiKey.objects.get()
    assert (key.name, key.policy, key.expires_at.year) == ("app", policy, 2127)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["acme/shp", "app"], "there are acme/shop"),
        (["shop", "app"], "there are acme/shop"),
        (["acme/shop", "app", "--policy", "x"], "no policy 'x'; there are balanced"),
        (["acme/shop", "app", "--expires-at", "soon"], "date and time with zone"),
        (["acme/shop", "app", "--expires-at", "2127-99-01T00:00:00Z"], "date and time with zone"),
        (["acme/shop", " "], "needs a name"),
    ],
)
def test_a_wrong_call_says_what_exists(arguments: list[str], expected: str) -> None:
    documents.project()
    policies.ensure_default()
    with pytest.raises(CommandError, match=expected):
        call_command("create_key", *arguments)


def test_a_key_is_revoked_by_its_first_characters(capsys: pytest.CaptureFixture[str]) -> None:
    documents.project()
    call_command("create_key", "acme/shop", "app")
    plaintext = capsys.readouterr().out.strip()
    call_command("revoke_key", plaintext[:16])
    assert "app" in capsys.readouterr().out
    assert ApiKey.objects.get().revoked_at is not None
    call_command("revoke_key", plaintext)
    assert "was revoked already" in capsys.readouterr().out


@pytest.mark.parametrize("start", ["pb_live_", "", "pb_live_AAAAAAAA"])
def test_an_unknown_or_short_start_revokes_nothing(start: str) -> None:
    with pytest.raises(CommandError, match="0 keys begin"):
        call_command("revoke_key", start)
