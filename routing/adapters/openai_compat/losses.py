"""What of a client's messages did not go to the provider, so that the client can be told."""

from __future__ import annotations

from typing import Any

from routing.adapters.jsonio import dict_of, dicts_in
from routing.adapters.left_out import named

REASONING_FIELDS = ("reasoning_content", "reasoning")


def lost_in(asked: list[Any], sent: list[Any]) -> tuple[str, ...]:
    """Names like `messages.content.cache_control`, each once.

    Reasoning of earlier answers is no loss: a provider that refuses it does without.
    """
    lost: dict[str, None] = {}
    for before, after in zip(asked, sent, strict=True):
        if before is not after and isinstance(before, dict):
            lost.update(dict.fromkeys(_lost_in_message(before, dict_of(after))))
    return named(lost)


def _lost_in_message(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    own = [name for name in _missing(before, after) if name not in REASONING_FIELDS]
    names = [f"messages.{name}" for name in own]
    for field in ("content", "tool_calls"):
        kept = dicts_in(after.get(field))
        for at, item in enumerate(dicts_in(before.get(field))):
            # parts that became one string keep their text, and nothing else
            item_after = kept[at] if at < len(kept) else {"type": "", "text": ""}
            names += [f"messages.{field}.{name}" for name in _missing(item, item_after)]
    return names


def _missing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [name for name, value in before.items() if value is not None and name not in after]
