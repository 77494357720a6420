"""A value that is valid against a JSON schema: deterministic, small, and readable where it can be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

MAX_DEPTH = 12
FORMATS = {
    "date": "2026-11-23",
    "time": "12:00:00Z",
    "date-time": "2026-11-23T12:00:00Z",
    "duration": "PT1H",
    "email": "ann@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "url": "https://example.org/",
    "uuid": "01890a5d-ac96-774b-bcce-b302099a8057",
}
PATTERN_SAMPLES = (
    "a", "A", "1", "abc", "ABC", "Abc", "123", "1234", "12345", "a1", "A1", "AB12", "abc-123",
    "ABC-123", "ABC-1234", "2026-11-23", "12:00", "+15550100", "#a1b2c3", "1.0.0", "USD", "EUR",
    "en", "en-US", "0.5", "10.00", "ann@example.org", "https://example.org/", "a_b", "abcd1234",
)  # fmt: skip


class Unsatisfiable(ValueError):
    """The generator knows no value for this schema."""


class Sampler:
    """`hints` gives text for a property by its name, such as the city named in the prompt."""

    def __init__(self, root: Any, hints: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._hints = hints or {}

    def sample(self) -> Any:
        return self._value(self._root, "", 0)

    def _value(self, schema: Any, name: str, depth: int) -> Any:
        if not isinstance(schema, dict) or not schema:
            return f"simulated {name}".strip()
        if depth > MAX_DEPTH:
            raise Unsatisfiable("nested too deeply")
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for word in ("anyOf", "oneOf"):
            if schema.get(word):
                return self._first_possible(schema, schema[word], name, depth)
        kind = _kind(schema)
        return _MAKERS[kind](self, schema, name, depth)

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        for _ in range(MAX_DEPTH):
            if "$ref" in schema:
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = {**self._target(schema["$ref"]), **rest}
            elif schema.get("allOf"):
                schema = self._merged(schema)
            else:
                return schema
        raise Unsatisfiable("references go in circles")

    def _target(self, reference: str) -> dict[str, Any]:
        node: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if key:
                node = node.get(key) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise Unsatisfiable(f"{reference} points nowhere")
        return node

    def _merged(self, schema: dict[str, Any]) -> dict[str, Any]:
        whole = {key: value for key, value in schema.items() if key != "allOf"}
        for branch in schema["allOf"]:
            part = self._resolved(branch)
            properties = {**whole.get("properties", {}), **part.get("properties", {})}
            required = [*whole.get("required", ()), *part.get("required", ())]
            whole = {**whole, **part}
            if properties:
                whole |= {"properties": properties, "required": required}
        return whole

    def _first_possible(
        self, schema: dict[str, Any], choices: list[Any], name: str, depth: int
    ) -> Any:
        base = {key: value for key, value in schema.items() if key not in {"anyOf", "oneOf"}}
        for choice in choices:
            try:
                return self._value({**base, **choice}, name, depth + 1)
            except Unsatisfiable:
                continue
        raise Unsatisfiable("no branch can be filled")

    def _object(self, schema: dict[str, Any], _name: str, depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        made: dict[str, Any] = {}
        for key, part in schema.get("properties", {}).items():
            try:
                made[key] = self._value(part, key, depth + 1)
            except Unsatisfiable:
                if key in required:
                    raise
        for key in required:
            made.setdefault(key, f"simulated {key}")
        return made

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        prefix = schema.get("prefixItems", ())
        least = int(schema.get("minItems", 0))
        count = max(least, min(int(schema.get("maxItems", 2)), 2), len(prefix))
        items = [self._value(part, name, depth + 1) for part in prefix]
        try:
            while len(items) < count:
                items.append(self._value(schema.get("items", {"type": "string"}), name, depth + 1))
        except Unsatisfiable:
            if least:
                raise
        return _distinct(items) if schema.get("uniqueItems") else items

    def _string(self, schema: dict[str, Any], name: str, _depth: int) -> str:
        if schema.get("format") in FORMATS:
            return FORMATS[schema["format"]]
        least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
        text = self._hints.get(name.lower()) or f"simulated {name}".strip()
        if schema.get("pattern"):
            text = _matching(schema["pattern"], text, least, most)
        text = text.ljust(least, ".")
        return text if most is None else text[: int(most)]

    def _integer(self, schema: dict[str, Any], _name: str, _depth: int) -> int:
        low, high = _bounds(schema, 1)
        step = int(schema.get("multipleOf", 1)) or 1
        value = math.ceil(max(low, min(1, high)) / step) * step
        if value > high:
            raise Unsatisfiable("no whole number in range")
        return value

    def _number(self, schema: dict[str, Any], _name: str, _depth: int) -> float:
        low, high = _bounds(schema, 0)
        step = schema.get("multipleOf")
        value = max(low, min(1.5, high))
        for open_end, inward in (("exclusiveMinimum", 1), ("exclusiveMaximum", -1)):
            limit = schema.get(open_end)
            if isinstance(limit, int | float) and not isinstance(limit, bool) and value == limit:
                value += inward * (min(high - low, 2) / 2)
        return math.ceil(value / step) * step if step else value

    def _boolean(self, _schema: dict[str, Any], _name: str, _depth: int) -> bool:
        return True

    def _null(self, _schema: dict[str, Any], _name: str, _depth: int) -> None:
        return None


_MAKERS: dict[str, Callable[[Sampler, dict[str, Any], str, int], Any]] = {
    "object": Sampler._object,
    "array": Sampler._array,
    "string": Sampler._string,
    "integer": Sampler._integer,
    "number": Sampler._number,
    "boolean": Sampler._boolean,
    "null": Sampler._null,
}


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    kind = str(kind).lower()  # Gemini writes OBJECT
    if kind not in _MAKERS:
        raise Unsatisfiable(f"unknown type {kind!r}")
    return kind


def _bounds(schema: dict[str, Any], step: int) -> tuple[float, float]:
    """Inclusive bounds; `step` is what an exclusive bound moves by (0 for fractions)."""
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    below, above = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if isinstance(below, int | float) and not isinstance(below, bool):
        low = max(low, math.floor(below) + step if step else below)
    if isinstance(above, int | float) and not isinstance(above, bool):
        high = min(high, math.ceil(above) - step if step else above)
    return low, high


def _matching(pattern: str, text: str, least: int, most: int | None) -> str:
    for sample in (text, *PATTERN_SAMPLES):
        fits = least <= len(sample) and (most is None or len(sample) <= most)
        if fits and re.search(pattern, sample):
            return sample
    raise Unsatisfiable(f"no sample matches {pattern!r}")


def _distinct(items: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for number, item in enumerate(items):
        if item not in kept:
            kept.append(item)
        elif isinstance(item, str):
            kept.append(f"{item} {number + 1}")
        elif isinstance(item, int | float):
            kept.append(item + number)
    return kept


def sample(schema: dict[str, Any], hints: Mapping[str, str] | None = None) -> Any:
    """A valid value, or an empty object when the schema asks for more than is known here."""
    try:
        return Sampler(schema, hints).sample()
    except (Unsatisfiable, re.error):
        return {}
