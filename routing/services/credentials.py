"""Provider credentials: stored sealed (routing.services.sealing), imported, rotated, disabled."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from routing.models import Credential, Provider
from routing.services import sealing
from routing.services.sealing import CredentialUnreadable as CredentialUnreadable
from routing.services.sealing import Keyring

ENVIRONMENT_NAME = "environment"
BATCH = 50


class CredentialRefused(ValueError):
    """The secret cannot be a provider key."""


def keyring() -> Keyring:
    return Keyring(settings.PANELBOARD_KEYRING, settings.PANELBOARD_ACTIVE_KEY_ID)


def seal(secret: str, *, provider_slug: str, name: str) -> str:
    return sealing.seal_credential(keyring(), secret, provider_slug=provider_slug, name=name)


def unseal(sealed: str, *, provider_slug: str, name: str) -> str:
    """Raises CredentialUnreadable; the message never holds any of the secret."""
    return sealing.open_credential(keyring(), sealed, provider_slug=provider_slug, name=name)


def reveal(credential: Credential) -> str:
    """For the process that calls the provider, and for nothing that shows it."""
    return unseal(credential.sealed, provider_slug=credential.provider.slug, name=credential.name)


def key_id_of(credential: Credential) -> str:
    return sealing.parts_of(credential.sealed)[1]


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
    current = f"{sealing.CREDENTIAL_VERSION}.{settings.PANELBOARD_ACTIVE_KEY_ID}."
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
