"""The shape of the hub's own tokens: `pb_live_` + 8 id + 32 random + 6 checksum characters.

The checksum tells a typo from an unknown key without a look-up, and lets secret scanners find
leaks. Only a token's digest is ever stored.
"""

from __future__ import annotations

import hashlib
import hmac
import string
import zlib
from collections.abc import Callable

import msgspec
from typing_extensions import override

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
API_KEY_PREFIX = "pb_live_"
REST_PREFIX = "pb_rest_"
ID_LENGTH = 8
RANDOM_LENGTH = 32
CHECKSUM_LENGTH = 6
TOKEN_LENGTH = len(API_KEY_PREFIX) + ID_LENGTH + RANDOM_LENGTH + CHECKSUM_LENGTH

_CHARACTERS = frozenset(ALPHABET)


class Token(msgspec.Struct, frozen=True):
    """A new token, on its way to the one person who may see it."""

    plaintext: str
    start: str  # prefix and id: shown for ever, to recognise it by
    last4: str

    @override
    def __repr__(self) -> str:
        return f"Token({self.start}…{self.last4})"


def mint(prefix: str, pick: Callable[[str], str]) -> Token:
    """`pick` draws one character, such as `secrets.choice`."""
    body = prefix + "".join(pick(ALPHABET) for _ in range(ID_LENGTH + RANDOM_LENGTH))
    plaintext = body + _checksum(body)
    return Token(plaintext, plaintext[: len(prefix) + ID_LENGTH], plaintext[-4:])


def is_well_formed(token: str, prefix: str) -> bool:
    """False for anything that was never minted here: another prefix, a cut or a mistyped token."""
    if len(token) != TOKEN_LENGTH or not token.startswith(prefix):
        return False
    if not _CHARACTERS.issuperset(token[len(prefix) :]):
        return False
    return _checksum(token[:-CHECKSUM_LENGTH]) == token[-CHECKSUM_LENGTH:]


def digest(pepper: bytes, token: str) -> bytes:
    """What is stored and looked up by. 190 random bits need no slow hash."""
    return hmac.digest(pepper, token.encode(), hashlib.sha256)


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    characters: list[str] = []
    for _ in range(CHECKSUM_LENGTH):
        number, rest = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[rest])
    return "".join(reversed(characters))
