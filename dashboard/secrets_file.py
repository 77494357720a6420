"""The installation's own secrets: one file in the data folder, readable by its owner alone."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override


@dataclass(frozen=True, slots=True)
class Secrets:
    django_secret_key: str
    pepper: bytes  # HMAC key of API keys and access tokens
    keyring: dict[str, bytes]  # key id -> 32 bytes, for AES-256-GCM of provider credentials
    active_key_id: str

    @override
    def __repr__(self) -> str:
        return "Secrets(***)"


def load_or_create(path: Path) -> Secrets:
    """Raises SystemExit with one clear line when the file cannot be read, parsed or written."""
    try:
        if not path.exists():
            _create(path)
        return _parse(json.loads(path.read_text()))
    except OSError as exc:
        raise SystemExit(f"panelboard: {path}: {exc.strerror}") from None
    except (ValueError, KeyError, TypeError) as exc:
        raise SystemExit(f"panelboard: {path} is not a secrets file: {exc}") from None


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "django_secret_key": secrets.token_urlsafe(48),
        "pepper": _encode(secrets.token_bytes(32)),
        "keyring": {"k1": _encode(secrets.token_bytes(32))},
        "active_key_id": "k1",
    }
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=1)
    try:
        os.link(fresh, path)  # of two processes that start at once, one wins and both use its file
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def _parse(document: dict[str, object]) -> Secrets:
    keyring = document["keyring"]
    if not isinstance(keyring, dict):
        raise TypeError("keyring must be an object")
    ring = {str(key_id): _decode(str(value)) for key_id, value in keyring.items()}
    active = str(document["active_key_id"])
    if active not in ring or any(len(key) != 32 for key in ring.values()):
        raise ValueError("keyring must hold 32-byte keys, the active one among them")
    return Secrets(
        django_secret_key=str(document["django_secret_key"]),
        pepper=_decode(str(document["pepper"])),
        keyring=ring,
        active_key_id=active,
    )


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _decode(value: str) -> bytes:
    return base64.b64decode(value, validate=True)
