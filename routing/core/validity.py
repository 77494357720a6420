"""Whether an answer is of the form that was asked for: tool calls that can be made, JSON that parses.

Only what is plain to see is held against an endpoint: what no reader could use, or what contradicts
the schema in its types, its required names or its lists of values. What is not understood of a
schema asks for nothing, and neither does a `null` where a name may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

NEEDS_FORM = frozenset(
    {"tools", "tool_choice_required", "parallel_tools", "json_mode", "structured_output"}
)
MOST_DEPTH = 24  # deeper values and schemas are not looked at
MOST_ITEMS = 200  # of one list
MOST_STEPS = 5_000  # of one answer: a schema may refer to itself in ways without end

_decode = msgspec.json.Decoder().decode
Schema = Mapping[str, Any]


def tool_calls_are_sound(
    calls: Iterable[tuple[str, str | bytes]], offered: Mapping[str, Schema | None]
) -> bool:
    """Each call as (name, arguments); `offered` is the parameters' schema of each tool by name."""
    return all(
        name in offered and arguments_are_sound(arguments, offered[name])
        for name, arguments in calls
    )


def arguments_are_sound(arguments: str | bytes, schema: Schema | None) -> bool:
    """A call without arguments may leave them out."""
    is_understood = schema is not None and schema.get("type", "object") == "object"
    return _is_object(arguments or b"{}", schema or {} if is_understood else {})


def reply_is_sound(text: str | bytes, schema: Schema | None) -> bool:
    """Of an answer that was to be JSON, by a schema where there is one."""
    if schema is None or schema.get("type") == "object":
        return _is_object(text, schema or {})
    try:
        found = _read(text)
    except ValueError:
        return False
    return fits(found, schema)


def _is_object(text: str | bytes, schema: Schema) -> bool:
    try:
        found = _read(text)
    except ValueError:
        return False
    return isinstance(found, dict) and fits(found, schema)


def _read(text: str | bytes) -> Any:
    """Raises ValueError where nobody can read it: the fast codec refuses halves of emoji."""
    try:
        return _decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def fits(value: Any, schema: object) -> bool:
    """False only where the value contradicts what is understood of the schema."""
    return _Judge(schema).fits(value, schema, MOST_DEPTH)


class _Judge:
    """`root` is where references of the schema begin."""

    __slots__ = ("root", "steps_left")

    def __init__(self, root: object) -> None:
        self.root = root
        self.steps_left = MOST_STEPS

    def fits(self, value: Any, schema: object, depth: int) -> bool:
        self.steps_left -= 1
        if not isinstance(schema, Mapping) or depth <= 0 or self.steps_left <= 0:
            return True
        return all(
            check(self, value, schema[word], schema, depth)
            for word, check in _CHECKS.items()
            if word in schema
        )

    def of_type(self, value: Any, wanted: object, schema: Schema, depth: int) -> bool:
        names = wanted if isinstance(wanted, list) else [wanted]
        checks = [_TYPES.get(name) if isinstance(name, str) else None for name in names]
        known = [check for check in checks if check is not None]
        if len(known) < len(names) or (value is None and schema.get("nullable") is True):
            return True
        return any(check(value) for check in known)

    def one_of_values(self, value: Any, wanted: object, schema: Schema, depth: int) -> bool:
        if value is None and schema.get("nullable") is True:
            return True
        return not isinstance(wanted, list) or value in wanted

    def same(self, value: Any, wanted: object, schema: Schema, depth: int) -> bool:
        return bool(value == wanted)

    def has_names(self, value: Any, wanted: object, schema: Schema, depth: int) -> bool:
        if not isinstance(value, dict) or not isinstance(wanted, list):
            return True
        return all(name in value for name in wanted if isinstance(name, str))

    def named_values(self, value: Any, wanted: object, schema: Schema, depth: int) -> bool:
        if not isinstance(value, dict) or not isinstance(wanted, Mapping):
            return True
        required = schema.get("required")
        needed = required if isinstance(required, list) else ()
        return all(
            self.fits(value[name], part, depth - 1)
            for name, part in wanted.items()
            if name in value and (value[name] is not None or name in needed)
        )

    def no_more_names(self, value: Any, wanted: object, schema: Schema, depth: int) -> bool:
        known = schema.get("properties")
        if wanted is not False or not isinstance(value, dict) or not isinstance(known, Mapping):
            return True
        return "patternProperties" in schema or known.keys() >= value.keys()

    def items(self, value: Any, wanted: object, schema: Schema, depth: int) -> bool:
        if not isinstance(value, list) or "prefixItems" in schema:
            return True
        return all(self.fits(one, wanted, depth - 1) for one in value[:MOST_ITEMS])

    def any_of(self, value: Any, wanted: object, schema: Schema, depth: int) -> bool:
        if not isinstance(wanted, list) or not wanted:
            return True
        return any(self.fits(value, part, depth - 1) for part in wanted)

    def all_of(self, value: Any, wanted: object, schema: Schema, depth: int) -> bool:
        if not isinstance(wanted, list):
            return True
        return all(self.fits(value, part, depth - 1) for part in wanted)

    def referred(self, value: Any, wanted: object, schema: Schema, depth: int) -> bool:
        return self.fits(value, self._found(wanted), depth - 1)

    def _found(self, reference: object) -> object:
        """None for what does not lead to a place in the schema itself."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        place = self.root
        for step in reference.removeprefix("#").split("/")[1:]:
            if not isinstance(place, Mapping):
                return None
            place = place.get(step.replace("~1", "/").replace("~0", "~"))
        return place


_Check = Callable[[_Judge, Any, object, Schema, int], bool]
_CHECKS: dict[str, _Check] = {
    "type": _Judge.of_type,
    "enum": _Judge.one_of_values,
    "const": _Judge.same,
    "required": _Judge.has_names,
    "properties": _Judge.named_values,
    "additionalProperties": _Judge.no_more_names,
    "items": _Judge.items,
    "anyOf": _Judge.any_of,
    "oneOf": _Judge.any_of,  # that more than one fits is not held against an answer
    "allOf": _Judge.all_of,
    "$ref": _Judge.referred,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and value % 1 == 0,
}


class FormCounts:
    """How many answers of an endpoint were looked at, and how many of them were sound."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[int, tuple[int, int]] = {}

    def note(self, endpoint_id: int, is_sound: bool) -> None:
        self.add(endpoint_id, 1, int(is_sound))

    def add(self, endpoint_id: int, answers: int, sound: int) -> None:
        before = self._found.get(endpoint_id, (0, 0))
        self._found[endpoint_id] = before[0] + answers, before[1] + sound

    def take(self) -> dict[int, tuple[int, int]]:
        """(answers, sound) by endpoint since the last call."""
        taken, self._found = self._found, {}
        return taken
