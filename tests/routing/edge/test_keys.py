from __future__ import annotations

import datetime as dt
import random

import pytest
from django.conf import settings
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from routing.core import tokens as token_format
from routing.core.tokens import API_KEY_PREFIX, REST_PREFIX, is_well_formed
from routing.models import ApiKey
from routing.services import keys, tokens
from routing.services.keys import KeyRefused
from routing.services.tokens import UnknownScope
from tests.routing.edge import documents


def minted(seed: int) -> str:
    return token_format.mint(API_KEY_PREFIX, random.Random(seed).choice).plaintext


@given(st.integers(), st.integers(0, 53), st.sampled_from(token_format.ALPHABET))
def test_a_token_with_one_wrong_character_is_not_well_formed(
    seed: int, place: int, character: str
) -> None:
    token = minted(seed)
    wrong = token[:place] + character + token[place + 1 :]
    assert is_well_formed(token, API_KEY_PREFIX)
    assert is_well_formed(wrong, API_KEY_PREFIX) == (wrong == token)


@pytest.mark.parametrize("text", ["", "pb_live_", "sk-proj-abc", "pb_live_" + "a" * 46, "ü" * 54])
def test_what_was_never_minted_is_not_well_formed(text: str) -> None:
    assert not is_well_formed(text, API_KEY_PREFIX)


def test_a_rest_token_is_no_api_key() -> None:
    token = token_format.mint(REST_PREFIX, random.Random(1).choice).plaintext
    assert is_well_formed(token, REST_PREFIX)
    assert not is_well_formed(token, API_KEY_PREFIX)


def test_a_token_does_not_show_itself() -> None:
    token = token_format.mint(API_KEY_PREFIX, random.Random(1).choice)
    assert token.plaintext not in repr(token)


@pytest.mark.django_db
def test_only_the_digest_of_a_key_is_stored() -> None:
    key, plaintext = keys.create_key(project=documents.project(), name="app")
    stored = ApiKey.objects.filter(pk=key.pk).values().get()
    assert bytes(stored["digest"]) == token_format.digest(settings.PANELBOARD_PEPPER, plaintext)
    assert plaintext not in str(stored)
    assert plaintext.startswith(key.start)
    assert plaintext.endswith(key.last4)


@pytest.mark.django_db
def test_a_key_needs_a_name_a_living_project_and_a_future_end() -> None:
    project = documents.project()
    with pytest.raises(KeyRefused, match="name"):
        keys.create_key(project=project, name=" ")
    with pytest.raises(KeyRefused, match="past"):
        keys.create_key(project=project, name="app", expires_at=timezone.now())
    project.archived_at = timezone.now()
    with pytest.raises(KeyRefused, match="archived"):
        keys.create_key(project=project, name="app")


@pytest.mark.django_db
def test_revoking_twice_keeps_the_first_date() -> None:
    key, _ = keys.create_key(project=documents.project(), name="app")
    first = keys.revoke_key(key).revoked_at
    assert keys.revoke_key(key).revoked_at == first


@pytest.mark.django_db
def test_a_project_has_one_internal_key_of_a_kind() -> None:
    project = documents.project()
    first = keys.internal_key(project=project, kind="playground")
    assert keys.internal_key(project=project, kind="playground") == first
    assert keys.probe_key() == keys.probe_key()
    assert keys.probe_key().kind == "probe"


@pytest.mark.django_db
def test_an_access_token_is_found_by_its_plaintext_until_it_ends() -> None:
    organization = documents.project().organization
    token, plaintext = tokens.create_access_token(
        organization=organization, name="finance", scopes=["billing:read"]
    )
    assert tokens.find_access_token(plaintext=plaintext) == token
    assert tokens.find_access_token(plaintext=plaintext[:-1] + "!") is None
    tokens.revoke_access_token(token=token)
    assert tokens.find_access_token(plaintext=plaintext) is None


@pytest.mark.django_db
def test_an_expired_access_token_is_not_found() -> None:
    _, plaintext = tokens.create_access_token(
        organization=documents.project().organization,
        name="finance",
        scopes=["billing:read"],
        expires_at=timezone.now() - dt.timedelta(seconds=1),
    )
    assert tokens.find_access_token(plaintext=plaintext) is None


@pytest.mark.django_db
def test_an_unknown_scope_is_refused_by_name() -> None:
    with pytest.raises(UnknownScope, match="billing:write"):
        tokens.create_access_token(
            organization=documents.project().organization, name="x", scopes=["billing:write"]
        )
