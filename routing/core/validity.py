"""Whether an answer is of the form that was asked for: tool calls that can be made, JSON that parses.

Only what is plain to see is held against an endpoint. Values are looked at no deeper than the
required names, because a model may be wrong where its provider is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

NEEDS_FORM = frozenset(
    {"tools", "tool_choice_required", "parallel_tools", "json_mode", "structured_output"}
)

_decode = msgspec.json.Decoder().decode
Schema = Mapping[str, Any]


def tool_calls_are_sound(
    calls: Iterable[tuple[str, str | bytes]], offered: Mapping[str, Schema | None]
) -> bool:
    """Each call as (name, arguments); `offered` is the parameters' schema of each tool by name."""
    return all(
        name in offered and _is_object(arguments, offered[name] or {}) for name, arguments in calls
    )


def reply_is_sound(text: str | bytes, schema: Schema | None) -> bool:
    """Of an answer that was to be JSON, by a schema where there is one."""
    if schema is None or schema.get("type") == "object":
        return _is_object(text, schema or {})
    try:
        _decode(text)
    except msgspec.DecodeError:
        return False
    return True


def _is_object(text: str | bytes, schema: Schema) -> bool:
    try:
        found = _decode(text or b"{}")  # a call without arguments may leave them out
    except msgspec.DecodeError:
        return False
    if not isinstance(found, dict):
        return False
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    return all(name in found for name in names if isinstance(name, str))
