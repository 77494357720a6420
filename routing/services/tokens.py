"""Tokens for the REST API: made, shown once, revoked."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from routing.core import tokens as token_format
from routing.models import AccessToken, Organization

SCOPES = frozenset({"billing:read", "catalog:read", "requests:read"})


class UnknownScope(ValueError):
    def __init__(self, scopes: Iterable[str]) -> None:
        super().__init__(
            f"unknown scope {', '.join(sorted(scopes))}; there are {', '.join(sorted(SCOPES))}"
        )


def mint(prefix: str) -> tuple[token_format.Token, bytes]:
    """A new token and the digest to store for it."""
    token = token_format.mint(prefix, secrets.choice)
    return token, token_format.digest(settings.PANELBOARD_PEPPER, token.plaintext)


def create_access_token(
    *,
    organization: Organization,
    name: str,
    scopes: Iterable[str],
    created_by: User | None = None,
    expires_at: dt.datetime | None = None,
) -> tuple[AccessToken, str]:
    """The plaintext is returned here and nowhere else: it is not stored."""
    wanted = set(scopes)
    if unknown := wanted - SCOPES:
        raise UnknownScope(unknown)
    token, digest = mint(token_format.REST_PREFIX)
    row = AccessToken.objects.create(
        organization=organization,
        name=name,
        scopes=sorted(wanted),
        start=token.start,
        last4=token.last4,
        digest=digest,
        created_by=created_by,
        expires_at=expires_at,
    )
    return row, token.plaintext


def revoke_access_token(*, token: AccessToken) -> AccessToken:
    if token.revoked_at is None:
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])
    return token


def find_access_token(*, plaintext: str) -> AccessToken | None:
    """The live token with this plaintext, its organization loaded; None if there is none."""
    if not token_format.is_well_formed(plaintext, token_format.REST_PREFIX):
        return None
    digest = token_format.digest(settings.PANELBOARD_PEPPER, plaintext)
    token = AccessToken.objects.select_related("organization").filter(digest=digest).first()
    if token is None or token.revoked_at is not None:
        return None
    if token.expires_at is not None and token.expires_at <= timezone.now():
        return None
    return token
