"""Opaque, signed positions of keyset pages: what a client sends back is what we gave, or refused."""

from __future__ import annotations

from typing import Any

from django.core import signing

_SALT = "analytics.cursor"


class BadCursor(ValueError):
    def __init__(self) -> None:
        super().__init__(
            "the cursor is not one of ours, or belongs to another list: start again without it"
        )


def pack(purpose: str, position: list[Any]) -> str:
    """`purpose` names the list and its order: a cursor of one list is refused by another."""
    return signing.dumps([purpose, *position], salt=_SALT, compress=True)


def unpack(purpose: str, cursor: str) -> list[Any]:
    """Raises BadCursor."""
    try:
        found = signing.loads(cursor, salt=_SALT)
    except (signing.BadSignature, ValueError):
        raise BadCursor from None
    if not isinstance(found, list) or not found or found[0] != purpose:
        raise BadCursor
    return found[1:]
