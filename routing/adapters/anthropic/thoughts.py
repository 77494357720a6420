"""Signed thoughts on their way back: out of what chat clients keep on an assistant message.

Clients keep them under one of two names, as they came: `reasoning_details` or `thinking_blocks`.
Some keep the pieces of a stream without putting them together.
"""

from __future__ import annotations

from typing import Any

from routing.adapters.anthropic.foreign import is_foreign
from routing.adapters.jsonio import dicts_in, text_of

Block = dict[str, Any]

THOUGHTS = ("thinking", "redacted_thinking")
_FORMATS = ("", "anthropic", "unknown")  # other makers' signatures are refused there


def thinking_blocks(message: Block) -> tuple[list[Block], list[Block]]:
    """Those before the text and those after it. Only signed ones may go back, unchanged."""
    details = [d for d in dicts_in(message.get("reasoning_details")) if _is_anthropics(d)]
    if not details:
        kept = dicts_in(message.get("thinking_blocks"))
        return [b for b in kept if b.get("type") in THOUGHTS and not is_foreign(b)], []
    details = _put_together(details)
    places = [(detail.get("index"), _block(detail, message, details)) for detail in details]
    before: list[Block] = []
    after: list[Block] = []
    for expected, (place, block) in enumerate(places):
        is_late = bool(after) or (type(place) is int and place > expected)
        if block is not None:
            (after if is_late else before).append(block)
    return before, after


def _is_anthropics(detail: Block) -> bool:
    return text_of(detail.get("format")).partition("-")[0] in _FORMATS


def _put_together(details: list[Block]) -> list[Block]:
    """Pieces of one thought follow each other with the same index; the signature comes last."""
    whole: list[Block] = []
    for detail in details:
        if whole and _continues(whole[-1], detail):
            text = text_of(whole[-1].get("text")) + text_of(detail.get("text"))
            whole[-1] = {**whole[-1], **detail, "text": text}
        else:
            whole.append(detail)
    return whole


def _continues(last: Block, detail: Block) -> bool:
    return (
        last.get("type") == detail.get("type") == "reasoning.text"
        and type(detail.get("index")) is int
        and last.get("index") == detail.get("index")
        and not last.get("signature")
    )


def _block(detail: Block, message: Block, details: list[Block]) -> Block | None:
    signature, data = text_of(detail.get("signature")), text_of(detail.get("data"))
    if signature:
        text = text_of(detail.get("text")) or _lone_reasoning(message, details)
        return {"type": "thinking", "thinking": text, "signature": signature}
    if data and detail.get("type") == "reasoning.encrypted":
        return {"type": "redacted_thinking", "data": data}
    return None


def _lone_reasoning(message: Block, details: list[Block]) -> str:
    """Clients that keep only the signature have the text of a single block beside it."""
    return text_of(message.get("reasoning_content")) if len(details) == 1 else ""
