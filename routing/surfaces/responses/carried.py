"""What a provider needs back, word for word, in the next turn: the content of `encrypted_content`.

Signatures of thinking and of tool calls have no place of their own in this dialect. They travel in
the one field that every client returns untouched. Nothing in it is secret, nor is it trusted.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from routing.adapters.jsonio import BadJson, dict_of, dicts_in, dumps, loads
from routing.surfaces.openai_envelope import refusal

MARK = "pb1."


def pack(details: list[dict[str, Any]], calls: dict[str, Any]) -> str:
    """`details` as in chat's `reasoning_details`; `calls` is `extra_content` by call id."""
    held = {"details": details, "calls": calls}
    return MARK + base64.urlsafe_b64encode(dumps({k: v for k, v in held.items() if v})).decode()


def unpack(text: str, param: str) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
    """None for what another service has encrypted. Raises HubError where ours is damaged."""
    if not text.startswith(MARK):
        return None
    try:
        held = loads(base64.b64decode(text[len(MARK) :], b"-_", validate=True))
    except (BadJson, binascii.Error, ValueError):
        raise refusal(
            param, f"'{param}' was changed on its way: send it back exactly as it came"
        ) from None
    return dicts_in(dict_of(held).get("details")), dict_of(dict_of(held).get("calls"))
