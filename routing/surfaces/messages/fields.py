"""Reading a request's fields: what is wrong is named as Anthropic names it, `messages.0.content`."""

from __future__ import annotations

from typing import Any, NoReturn

from routing.core.errors import HubError

_KINDS: dict[type, str] = {
    bool: "true or false",
    dict: "an object",
    int: "a whole number",
    list: "a list",
    str: "a string",
}


def bad(path: str, reason: str) -> NoReturn:
    raise HubError(400, "invalid_request", f"{path}: {reason}", param=path, should_retry=False)


def checked(value: Any, path: str, kind: type) -> Any:
    """`value`, which is there and of this kind. Raises HubError 400 otherwise."""
    if value is None:
        bad(path, "Field required")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        bad(path, f"Input should be {_KINDS[kind]}")
    return value


def wanted(holder: dict[str, Any], name: str, path: str, kind: type) -> Any:
    """A required field of an object that stands at `path` ("" for the body itself)."""
    return checked(holder.get(name), at(path, name), kind)


def optional(holder: dict[str, Any], name: str, path: str, kind: type) -> Any:
    """The field, or None where it is absent or null."""
    value = holder.get(name)
    return None if value is None else checked(value, at(path, name), kind)


def number(holder: dict[str, Any], name: str, low: float, high: float) -> Any:
    value = holder.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        bad(name, "Input should be a number")
    if not low <= value <= high:
        bad(name, f"Input should be between {low:g} and {high:g}")
    return value


def at(path: str, name: str | int) -> str:
    return f"{path}.{name}" if path else str(name)
