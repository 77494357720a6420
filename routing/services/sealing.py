"""Secrets at rest: AES-256-GCM, each bound to the row that it belongs to.

Without Django: the gateway opens what the services have sealed. The key ring comes from the data
folder, never from the database.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
CREDENTIAL_VERSION = "v1"


class CannotOpen(Exception):
    """Sealed with a key we do not have, for another row, or damaged."""


class CredentialUnreadable(CannotOpen):
    """The message says what to do, and never holds any of the secret."""


@dataclass(frozen=True, slots=True)
class Keyring:
    keys: Mapping[str, bytes] = field(repr=False)  # by key id
    active: str  # the id of the one that seals

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        """A nonce, then ciphertext and tag, of the active key."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.keys[self.active]).encrypt(nonce, plain, bound_to.encode())

    def open(self, sealed: bytes, key_id: str, bound_to: str) -> bytes:
        """Raises CannotOpen."""
        key = self.keys.get(key_id)
        if key is None:
            raise CannotOpen(f"sealed with key {key_id!r}, which is not in the key ring")
        nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return AESGCM(key).decrypt(nonce, rest, bound_to.encode())
        except (InvalidTag, ValueError):
            raise CannotOpen("sealed for another row or damaged") from None


def seal_credential(keyring: Keyring, secret: str, *, provider_slug: str, name: str) -> str:
    """`v1.<key id>.<nonce>.<ciphertext and tag>`, the last two in URL-safe base64."""
    key_id = keyring.active
    sealed = keyring.seal(secret.encode(), _bound_to(provider_slug, name, key_id))
    nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    return ".".join((CREDENTIAL_VERSION, key_id, _encode(nonce), _encode(rest)))


def open_credential(keyring: Keyring, sealed: str, *, provider_slug: str, name: str) -> str:
    """Raises CredentialUnreadable."""
    version, key_id, nonce, rest = parts_of(sealed)
    if version != CREDENTIAL_VERSION or key_id not in keyring.keys:
        raise CredentialUnreadable(
            f"credential {provider_slug}/{name} was sealed with key {key_id!r}, "
            "which is not in the key ring: restore the data folder's secrets or store it anew"
        )
    bound_to = _bound_to(provider_slug, name, key_id)
    try:
        return keyring.open(_decode(nonce) + _decode(rest), key_id, bound_to).decode()
    except (CannotOpen, binascii.Error):
        raise CredentialUnreadable(
            f"credential {provider_slug}/{name} cannot be decrypted: it was sealed for another "
            "row or damaged; store it anew"
        ) from None


def parts_of(sealed: str) -> tuple[str, str, str, str]:
    """Version, key id, nonce, ciphertext. Raises CredentialUnreadable."""
    parts = sealed.split(".")
    if len(parts) != 4:
        raise CredentialUnreadable("a sealed credential has four parts; store it anew")
    return parts[0], parts[1], parts[2], parts[3]


def _bound_to(provider_slug: str, name: str, key_id: str) -> str:
    return f"credential|{provider_slug}|{name}|{key_id}"


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _decode(value: str) -> bytes:
    return base64.b64decode(value, altchars=b"-_", validate=True)
