"""Provider credentials at rest: AES-256-GCM, bound to the row they belong to.

Sealed form: `v1.<key id>.<nonce>.<ciphertext and tag>`, the last two in URL-safe base64. The key
ring comes from the settings, never from the database.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from routing.models import Credential, Provider

VERSION = "v1"
NONCE_BYTES = 12
ENVIRONMENT_NAME = "environment"
BATCH = 50


class CredentialUnreadable(Exception):
    """Sealed with a key we do not have, for another row, or damaged."""


class CredentialRefused(ValueError):
    """The secret cannot be a provider key."""


def seal(secret: str, *, provider_slug: str, name: str) -> str:
    key_id = settings.PANELBOARD_ACTIVE_KEY_ID
    nonce = os.urandom(NONCE_BYTES)
    cipher = AESGCM(settings.PANELBOARD_KEYRING[key_id])
    sealed = cipher.encrypt(nonce, secret.encode(), _bound_to(provider_slug, name, key_id))
    return ".".join((VERSION, key_id, _encode(nonce), _encode(sealed)))


def unseal(sealed: str, *, provider_slug: str, name: str) -> str:
    """Raises CredentialUnreadable; the message never holds any of the secret."""
    version, key_id, nonce, text = _parts(sealed)
    key = settings.PANELBOARD_KEYRING.get(key_id)
    if version != VERSION or key is None:
        raise CredentialUnreadable(
            f"credential {provider_slug}/{name} was sealed with key {key_id!r}, "
            "which is not in the key ring: restore the data folder's secrets or store it anew"
        )
    try:
        plain = AESGCM(key).decrypt(
            _decode(nonce), _decode(text), _bound_to(provider_slug, name, key_id)
        )
    except (InvalidTag, ValueError, binascii.Error):
        raise CredentialUnreadable(
            f"credential {provider_slug}/{name} cannot be decrypted: it was sealed for another "
            "row or damaged; store it anew"
        ) from None
    return plain.decode()


def reveal(credential: Credential) -> str:
    """For the process that calls the provider, and for nothing that shows it."""
    return unseal(credential.sealed, provider_slug=credential.provider.slug, name=credential.name)


def key_id_of(credential: Credential) -> str:
    return _parts(credential.sealed)[1]


def store_credential(
    *, provider: Provider, name: str, secret: str, origin: str = Credential.Origin.ADMIN
) -> Credential:
    """Adds or replaces the provider's credential of this name; storing the same again changes nothing.

    A credential that was disabled is enabled by a new secret.
    """
    secret = checked_secret(secret)
    if not name.strip():
        raise CredentialRefused(f"a credential of {provider.slug} needs a name")
    with transaction.atomic():
        found = Credential.objects.select_for_update().filter(provider=provider, name=name).first()
        if found is not None and found.disabled_at is None and _holds(found, secret):
            return found
        row = found or Credential(provider=provider, name=name)
        row.sealed = seal(secret, provider_slug=provider.slug, name=name)
        row.last4 = secret[-4:]
        row.origin = origin
        row.disabled_at, row.disabled_reason = None, ""
        row.save()
        return row


def import_from_environment(environment: Mapping[str, str]) -> list[Credential]:
    """Stores each provider key found under its conventional name, and returns them."""
    stored: list[Credential] = []
    for provider in Provider.objects.all():
        secret = next((environment[key] for key in provider.key_env if environment.get(key)), "")
        if secret.strip():
            stored.append(
                store_credential(
                    provider=provider,
                    name=ENVIRONMENT_NAME,
                    secret=secret,
                    origin=Credential.Origin.ENVIRONMENT,
                )
            )
    return stored


def disable_credential(credential: Credential, *, reason: str) -> Credential:
    if credential.disabled_at is None:
        credential.disabled_at = timezone.now()
        credential.disabled_reason = reason[:200]
        credential.save(update_fields=["disabled_at", "disabled_reason"])
    return credential


def enable_credential(credential: Credential) -> Credential:
    credential.disabled_at, credential.disabled_reason = None, ""
    credential.save(update_fields=["disabled_at", "disabled_reason"])
    return credential


def rotate() -> int:
    """Seals every credential with the active key, a batch per transaction. Returns how many changed.

    Safe to stop, to repeat and to run twice at once: each batch locks its rows and skips locked ones.
    """
    changed = 0
    while batch := _rotate_batch():
        changed += batch
    return changed


def outdated() -> list[Credential]:
    """Credentials that still need an old key of the ring: none means it can be taken out."""
    return list(_not_under_the_active_key().select_related("provider"))


def _rotate_batch() -> int:
    with transaction.atomic():
        rows = list(
            _not_under_the_active_key()
            .select_related("provider")
            .select_for_update(skip_locked=True, of=("self",))[:BATCH]
        )
        for row in rows:
            where = {"provider_slug": row.provider.slug, "name": row.name}
            secret = unseal(row.sealed, **where)
            row.sealed = seal(secret, **where)
            if unseal(row.sealed, **where) != secret:  # before the old form is gone
                raise CredentialUnreadable(f"credential {row.provider.slug}/{row.name}")
            row.save(update_fields=["sealed"])
    return len(rows)


def _not_under_the_active_key() -> QuerySet[Credential]:
    current = f"{VERSION}.{settings.PANELBOARD_ACTIVE_KEY_ID}."
    return Credential.objects.exclude(sealed__startswith=current).order_by("pk")


def checked_secret(secret: str) -> str:
    """Without surrounding blanks. Raises CredentialRefused for what can be no provider key."""
    secret = secret.strip()
    if not secret or any(ord(character) < 33 or ord(character) > 126 for character in secret):
        raise CredentialRefused(
            "a provider key is one line of visible ASCII characters without blanks"
        )
    return secret


def _holds(credential: Credential, secret: str) -> bool:
    try:
        return reveal(credential) == secret
    except CredentialUnreadable:
        return False


def _bound_to(provider_slug: str, name: str, key_id: str) -> bytes:
    return f"credential|{provider_slug}|{name}|{key_id}".encode()


def _parts(sealed: str) -> tuple[str, str, str, str]:
    parts = sealed.split(".")
    if len(parts) != 4:
        raise CredentialUnreadable("a sealed credential has four parts; store it anew")
    return parts[0], parts[1], parts[2], parts[3]


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _decode(value: str) -> bytes:
    return base64.b64decode(value, altchars=b"-_", validate=True)
