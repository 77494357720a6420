from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from routing.models import Credential, Provider
from routing.services import credentials
from routing.services.credentials import CredentialRefused, CredentialUnreadable
from tests.routing.edge import documents

SECRET = "sk-canary-000111222333"


@pytest.fixture
def alpha(db: None) -> Provider:
    documents.load()
    return Provider.objects.get(slug="alpha")


def add_key(settings: Settings) -> None:
    settings.PANELBOARD_KEYRING = {**settings.PANELBOARD_KEYRING, "k2": b"2" * 32}
    settings.PANELBOARD_ACTIVE_KEY_ID = "k2"


def store(provider: Provider, secret: str = SECRET) -> Credential:
    return credentials.store_credential(provider=provider, name="main", secret=secret)


def test_a_stored_secret_comes_back_and_is_in_no_column(alpha: Provider) -> None:
    row = store(alpha)
    assert credentials.reveal(row) == SECRET
    assert SECRET not in str(Credential.objects.values().get(pk=row.pk))
    assert SECRET not in repr(row)
    assert row.last4 == SECRET[-4:]


def test_equal_secrets_are_sealed_differently(alpha: Provider) -> None:
    beta = Provider.objects.get(slug="beta")
    assert store(alpha).sealed != store(beta).sealed


def test_a_secret_cannot_be_read_in_another_row(alpha: Provider) -> None:
    beta = Provider.objects.get(slug="beta")
    stolen = Credential(provider=beta, name="main", sealed=store(alpha).sealed)
    with pytest.raises(CredentialUnreadable, match="beta/main"):
        credentials.reveal(stolen)


@pytest.mark.parametrize(
    "sealed", ["", "v1.k1", "v1.nokey.AAAA.AAAA", "v1.k1.!!!.???", "v2.k1.A.A"]
)
def test_a_damaged_secret_is_unreadable_and_nothing_worse(alpha: Provider, sealed: str) -> None:
    with pytest.raises(CredentialUnreadable):
        credentials.unseal(sealed, provider_slug="alpha", name="main")


def test_storing_the_same_secret_again_changes_nothing(alpha: Provider) -> None:
    first = store(alpha).sealed
    assert store(alpha).sealed == first
    assert store(alpha, "sk-another-one").sealed != first
    assert Credential.objects.count() == 1


@pytest.mark.parametrize("secret", ["", "  ", "two words", "line\nbreak", "schlüssel"])
def test_what_can_be_no_provider_key_is_refused(alpha: Provider, secret: str) -> None:
    with pytest.raises(CredentialRefused):
        store(alpha, secret)


def test_a_new_secret_enables_a_disabled_credential(alpha: Provider) -> None:
    row = credentials.disable_credential(store(alpha), reason="leaked")
    assert row.disabled_reason == "leaked"
    assert store(alpha).disabled_at is None


def test_keys_of_the_environment_are_stored_under_their_conventional_names(alpha: Provider) -> None:
    stored = credentials.import_from_environment({"BETA_API_KEY": "sk-beta", "OTHER": "x"})
    assert [(row.provider.slug, row.origin) for row in stored] == [("beta", "environment")]


def test_rotation_seals_everything_with_the_active_key(alpha: Provider, settings: Settings) -> None:
    row = store(alpha)
    add_key(settings)
    assert [old.pk for old in credentials.outdated()] == [row.pk]
    assert credentials.rotate() == 1
    row.refresh_from_db()
    assert credentials.key_id_of(row) == "k2"
    assert credentials.reveal(row) == SECRET
    assert (credentials.rotate(), credentials.outdated()) == (0, [])


def test_the_check_of_rotate_credentials_fails_until_all_are_rotated(
    alpha: Provider, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    store(alpha)
    add_key(settings)
    with pytest.raises(CommandError, match="alpha/main"):
        call_command("rotate_credentials", "--check")
    call_command("rotate_credentials")
    call_command("rotate_credentials", "--check")
    assert "every credential" in capsys.readouterr().out
