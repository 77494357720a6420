"""Chat's reasoning as thinking blocks that clients send back as they came."""

from __future__ import annotations

from typing import Any

from routing.adapters.anthropic.foreign import packed
from routing.adapters.jsonio import dicts_in, text_of
from routing.surfaces.messages.words import redacted_block

_ANTHROPIC = "anthropic"
_CALL_FIELDS = ("id", "type", "function", "index")


def reasoning_text(message: dict[str, Any]) -> str:
    """Of a message or a delta: the plain field, else what its details spell out."""
    plain = text_of(message.get("reasoning_content")) or text_of(message.get("reasoning"))
    if plain:
        return plain
    details = dicts_in(message.get("reasoning_details"))
    if any(detail.get("signature") for detail in details):
        return ""  # sums up what was told before
    return "".join(text_of(d.get("text")) or text_of(d.get("summary")) for d in details)


def is_anthropics(detail: dict[str, Any]) -> bool:
    return text_of(detail.get("format")).startswith(_ANTHROPIC)


def is_signed(detail: dict[str, Any]) -> bool:
    return is_anthropics(detail) and bool(detail.get("signature"))


def opaque_block(detail: dict[str, Any]) -> dict[str, Any] | None:
    """For a detail that a client cannot read but must bring back; None for any other."""
    data = text_of(detail.get("data"))
    if is_anthropics(detail):
        return redacted_block(data) if data else None
    if data or detail.get("signature"):
        return redacted_block(packed({"reasoning_details": [detail]}))
    return None


def cargo_block(call: dict[str, Any]) -> dict[str, Any] | None:
    """What a maker attached to a tool call, such as Gemini's signature, as a block before it."""
    extra = {key: value for key, value in call.items() if key not in _CALL_FIELDS and value}
    return redacted_block(packed({"call": extra})) if extra else None
