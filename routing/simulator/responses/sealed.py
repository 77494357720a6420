"""Thoughts that leave only sealed, and can be read again by whoever sealed them."""

from __future__ import annotations

import base64
import binascii
import hashlib

MARK = "gAAAA"


def seal(owner: str, text: str) -> str:
    held = text.encode("utf-8", "surrogatepass")
    return MARK + base64.urlsafe_b64encode(_digest(owner, held) + held).decode()


def opened(owner: str, sealed: str) -> str | None:
    """None for what somebody else has sealed, or has changed."""
    try:
        data = base64.urlsafe_b64decode(sealed.removeprefix(MARK))
    except (binascii.Error, ValueError):
        return None
    digest, held = data[:32], data[32:]
    if not sealed.startswith(MARK) or digest != _digest(owner, held):
        return None
    return held.decode("utf-8", "surrogatepass")


def _digest(owner: str, held: bytes) -> bytes:
    return hashlib.sha256(owner.encode() + b"\0" + held).digest()
