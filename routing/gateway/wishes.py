"""What a client asks of the hub itself, besides its request: by headers, so that bodies stay plain.

A head that holds one of them is never learnt (see `known_head`), so they are looked for only where
the headers were parsed anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import msgspec

from routing.adapters.base import Headers, header
from routing.core.errors import HubError

EXPLAIN = b"x-panelboard-explain"
RESUME = b"x-panelboard-resume"
IDEMPOTENCY_KEY = b"idempotency-key"
MAX_KEY_CHARS = 255
_BOUNDARY = re.compile(rb'boundary="?([^";,\s]{1,70})', re.IGNORECASE)


class Wishes(msgspec.Struct, frozen=True):
    explain: bool = False  # the decision is wanted in a response header
    resume: bool = False  # a stream that is cut may be continued by another attempt, marked
    idempotency_key: str = ""
    fingerprint: bytes = b""  # of the request that the key stands for

    def of(self, surface: str, headers: Headers, raw: bytes) -> Wishes:
        """These wishes, for the request with this body."""
        if not self.idempotency_key:
            return self
        # A form is cut into its parts by a word that clients make up anew for each request.
        word = _BOUNDARY.search(header(headers, b"content-type"))
        content = raw.replace(word[1], b"") if word is not None else raw
        fingerprint = hashlib.sha256(surface.encode() + b"|" + content).digest()
        return msgspec.structs.replace(self, fingerprint=fingerprint)

    def without_key(self) -> Wishes:
        return msgspec.structs.replace(self, idempotency_key="")


def wishes_in(headers: Headers) -> Wishes | None:
    """None where nothing is asked for, the common case. Raises HubError 400."""
    found: dict[str, bool | str] = {}
    for name, value in headers:
        reader = _READERS.get(name)
        if reader is not None:
            field, parse = reader
            found[field] = parse(name, value)
    return msgspec.convert(found, Wishes) if found else None


def _flag(name: bytes, value: bytes) -> bool:
    word = value.strip().lower()
    if word in (b"1", b"true"):
        return True
    if word in (b"0", b"false", b""):
        return False
    raise _bad(name, "must be 1 or 0")


def _resume(name: bytes, value: bytes) -> bool:
    word = value.strip().lower()
    if word not in (b"continue", b"off", b""):
        raise _bad(name, "must be 'continue' or 'off'")
    return word == b"continue"


def _key(name: bytes, value: bytes) -> str:
    text = value.decode("latin-1").strip()
    if not 0 < len(text) <= MAX_KEY_CHARS or not all(" " < char <= "~" for char in text):
        raise _bad(name, f"must be 1 to {MAX_KEY_CHARS} printable characters without spaces")
    return text


def _bad(name: bytes, message: str) -> HubError:
    text = name.decode()
    return HubError(
        400, "invalid_header", f"The header {text} {message}", param=text, should_retry=False
    )


_READERS: dict[bytes, tuple[str, Callable[[bytes, bytes], bool | str]]] = {
    EXPLAIN: ("explain", _flag),
    RESUME: ("resume", _resume),
    IDEMPOTENCY_KEY: ("idempotency_key", _key),
}
WISH_HEADERS = tuple(_READERS)
