"""What of a JSON schema is held against an answer, and what is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from routing.core.validity import FormCounts, fits, reply_is_sound

PERSON: dict[str, Any] = {
    "$defs": {
        "Place": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        }
    },
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "lives": {"$ref": "#/$defs/Place"},
        "mood": {"enum": ["good", "bad"]},
        "knows": {"type": "array", "items": {"$ref": "#"}},
        "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["name"],
}


@pytest.mark.parametrize(
    "value",
    [
        {"name": "A", "lives": {"city": "Oslo"}, "mood": "good", "age": None},
        {"name": "A", "knows": [{"name": "B", "knows": []}], "age": 3.0},
        {"name": "A", "mood": None, "lives": None, "more": [1]},
    ],
)
def test_what_a_schema_allows_fits(value: Any) -> None:
    assert fits(value, PERSON)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"name": None},
        {"name": "A", "lives": {"town": "Oslo"}},
        {"name": "A", "mood": "fine"},
        {"name": "A", "knows": [{"name": "B", "knows": [{}]}]},
        {"name": "A", "age": "3"},
        {"name": "A", "age": 3.5},
        {"name": "A", "age": True},
    ],
)
def test_what_contradicts_a_schema_does_not_fit(value: Any) -> None:
    assert not fits(value, PERSON)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "STRING"},
        {"type": ["integer", "vector"]},
        {"type": "string", "nullable": True},
        {"properties": "none", "required": "x", "items": 7, "enum": "abc", "anyOf": []},
        {"pattern": "^x$", "minLength": 9, "not": {}},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/nowhere/at/all"},
        {"prefixItems": [{"type": "string"}], "items": False},
        True,
        None,
    ],
)
def test_what_is_not_understood_of_a_schema_asks_for_nothing(schema: Any) -> None:
    assert fits(None, schema)


def test_a_schema_that_refers_to_itself_without_end_is_given_up_on() -> None:
    endless = {"anyOf": [{"$ref": "#"}, {"$ref": "#"}], "type": "string"}
    assert not fits(1, endless)
    assert fits("x", {"allOf": [{"$ref": "#"}, {"$ref": "#"}]})


def test_half_an_emoji_is_json_and_not_a_number_is_none() -> None:
    assert reply_is_sound('{"a": "\\ud83d"}', None)
    assert not reply_is_sound('{"a": NaN}', None)
    assert not reply_is_sound("[" * 100_000, {"type": "array"})


def test_counts_are_given_out_once() -> None:
    counts = FormCounts()
    counts.note(1, True)
    counts.note(1, False)
    counts.add(2, 5, 4)
    assert counts.take() == {1: (2, 1), 2: (5, 4)}
    assert counts.take() == {}


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1" + "0" * 30, "2.0", "-3"])
def test_a_whole_number_is_an_integer_however_long_it_is(number: str) -> None:
    assert reply_is_sound(number, {"type": "integer"})


@pytest.mark.parametrize("number", ["1e999", "2.5", "true"])
def test_what_is_no_whole_number_is_no_integer(number: str) -> None:
    assert not reply_is_sound(number, {"type": "integer"})
