"""JSON in and out, with every failure as one `BadJson`.

A lone surrogate (`"\\ud83d"`: a token that ends in the middle of an emoji) is valid JSON and some
hosts send it; the fast codec refuses it, the standard library carries it through as an escape.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


class BadJson(ValueError):
    """Not JSON, not UTF-8, nested too deeply, or not expressible as JSON."""


def loads(data: bytes) -> Any:
    """Raises BadJson."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        if _SURROGATE_ESCAPE.search(data):
            return _loads_with_surrogates(data)
        raise BadJson(str(exc)) from exc


def _loads_with_surrogates(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise BadJson(str(exc)) from exc


def _refuse_constant(name: str) -> Any:
    raise BadJson(f"{name} is not JSON")


def dumps(value: Any) -> bytes:
    """Compact, UTF-8, never with a raw line break. Raises BadJson."""
    try:
        return _encoder.encode(value)
    except (UnicodeEncodeError, TypeError, RecursionError):
        return _dumps_with_surrogates(value)


def _dumps_with_surrogates(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as exc:
        raise BadJson(str(exc)) from exc


def text_of(value: Any) -> str:
    """`value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def dicts_in(value: Any) -> list[dict[str, Any]]:
    """The objects of a JSON array; everything else in it is left out."""
    return [item for item in list_of(value) if isinstance(item, dict)]


def dig(document: Any, path: str) -> Any:
    """Follow a dotted path (`choices.0.usage`); None where it leads nowhere."""
    for step in path.split("."):
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document
