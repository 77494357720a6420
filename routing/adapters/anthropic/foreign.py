"""What other makers' reasoning looks like while it travels through a client of this dialect.

Clients of this dialect send thinking blocks back as they came. That carries unsigned thoughts and
other makers' signatures through a tool loop; marked, so that they never reach Anthropic, which
refuses blocks it did not sign.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from routing.adapters.jsonio import BadJson, dict_of, dicts_in, dumps, loads, text_of

MARK = "panelboard:"
UNSIGNED = MARK + "unsigned"  # the signature of a thought whose maker signs none


def packed(cargo: dict[str, Any]) -> str:
    """For the `data` of a redacted_thinking block: opaque to the client, readable to us."""
    return MARK + base64.urlsafe_b64encode(dumps(cargo)).decode("ascii")


def unpacked(data: str) -> dict[str, Any]:
    """The cargo of `packed`; empty for anything else, also for what a client has damaged."""
    if not data.startswith(MARK):
        return {}
    try:
        return dict_of(loads(base64.urlsafe_b64decode(data.removeprefix(MARK))))
    except (BadJson, binascii.Error, ValueError):
        return {}


def is_foreign(block: dict[str, Any]) -> bool:
    """A thinking block that Anthropic did not sign."""
    kind = block.get("type")
    if kind == "thinking":
        signature = text_of(block.get("signature"))
        return not signature or signature.startswith(MARK)
    return kind == "redacted_thinking" and text_of(block.get("data")).startswith(MARK)


def has_foreign(content: Any) -> bool:
    return any(is_foreign(block) for block in dicts_in(content))
