from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.simulator.answers import answer
from routing.simulator.asks import Ask, Tool
from routing.simulator.schemas import sample
from routing.simulator.tokens import Prompt, pieces_of

MODEL = "maker/model"


def _text(**fields: Any) -> str:
    return answer(Ask(model="m", **fields), MODEL)[0].text("text")


def test_the_answer_depends_on_the_question_and_the_model_alone() -> None:
    assert _text(user_text="Why?") == _text(user_text="Why?", stream=True, service_tier="flex")
    assert _text(user_text="Why?") != _text(user_text="How?")
    other = answer(Ask(model="m", user_text="Why?"), "maker/other")[0].text("text")
    assert other != _text(user_text="Why?")


def test_it_says_that_it_is_simulated_and_names_the_question() -> None:
    text = _text(user_text="What is the tallest hill of the whole wide Netherlands?")
    assert text.startswith("This is a simulated answer from maker/model.")
    assert "You asked: “What is the tallest hill of the whole…”." in text
    assert text.endswith(".")


@pytest.mark.parametrize("words", [1, 5, 12, 40, 500])
def test_it_has_as_many_words_as_asked_for(words: int) -> None:
    assert len(_text(user_text=f"Explain in {words} words.").split()) == words


def test_it_can_be_told_what_to_say() -> None:
    odd = "a\u2028b\u0085c data: x\n\ndata: [DONE]\n\n\U0001f642"
    assert _text(user_text=f"Say exactly: {odd}") == odd


def test_thinking_takes_no_more_than_a_third_of_the_allowance() -> None:
    (choice,) = answer(Ask(model="m", user_text="Why?", reasons=True, max_tokens=30), MODEL)
    assert choice.tokens("reasoning") == 10
    assert choice.tokens("text") == 20
    assert choice.finish == "length"


def test_thinking_does_not_change_the_text() -> None:
    (choice,) = answer(Ask(model="m", user_text="Why?", reasons=True), MODEL)
    assert choice.text("reasoning")
    assert choice.text("text") == _text(user_text="Why?")


def test_a_tool_named_in_the_question_is_called() -> None:
    tools = (Tool("first", {}), Tool("look_up", {"type": "object", "properties": {}}))
    (choice,) = answer(Ask(model="m", user_text="Please look_up this.", tools=tools), MODEL)
    (part,) = choice.parts
    assert (part.tool, part.text, choice.finish) == ("look_up", "{}", "tool_calls")


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_pieces_add_up_to_the_text(text: str) -> None:
    assert "".join(pieces_of(text)) == text


def test_input_tokens_follow_the_written_rule() -> None:
    prompt = Prompt()
    prompt.begin_message("user")
    prompt.add_text("x" * 400)
    prompt.add_image()
    size = len("\nuser\n") + 400 + len("<image>")
    assert prompt.token_count() == -(-size // 4) + 4 + 3 + 85


# --- values for schemas -------------------------------------------------------------------------------

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name"],
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "simulated"),
        ({"type": "string", "enum": ["b", "a"]}, "b"),
        ({"const": 7}, 7),
        ({"type": "string", "format": "date"}, "2026-11-23"),
        ({"type": "string", "minLength": 12}, "simulated..."),
        ({"type": "string", "maxLength": 3}, "sim"),
        ({"type": "string", "pattern": r"^[A-Z]{3}-\d{4}$"}, "ABC-1234"),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 18}, 18),
        ({"type": "integer", "maximum": -5}, -5),
        ({"type": "integer", "exclusiveMinimum": 3, "multipleOf": 5}, 5),
        ({"type": "number", "minimum": 2, "maximum": 3}, 2),
        ({"type": "number", "exclusiveMinimum": 2, "maximum": 3}, 2.5),
        ({"type": ["null", "boolean"]}, True),
        ({"type": "null"}, None),
        ({"type": "array", "items": {"type": "integer"}}, [1, 1]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [1, 1, 1]),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 1}, [1]),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, [1, 2]),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": "x"}]}, [1, "x"]),
        ({"anyOf": [{"type": "alien"}, {"type": "integer"}]}, 1),
        ({"oneOf": [{"const": "x"}, {"const": "y"}]}, "x"),
        (
            {"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]},
            {"a": 1, "b": 2},
        ),
        ({"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}}, {"n": 1}),
        ({"type": "object", "required": ["free"]}, {"free": "simulated free"}),
    ],
)
def test_a_value_is_valid_against_its_schema(schema: dict[str, Any], value: Any) -> None:
    assert sample(schema) == value


def test_a_recursive_schema_comes_to_an_end() -> None:
    value = sample(TREE)
    assert value["name"] == "simulated name"
    assert isinstance(value["children"], list)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/missing"},
        {"$ref": "#"},
        {"type": "string", "pattern": "^quite impossible$"},
        {"type": "string", "pattern": "("},
        {"type": "integer", "minimum": 2, "maximum": 1},
    ],
)
def test_what_cannot_be_filled_gives_an_empty_object(schema: dict[str, Any]) -> None:
    assert sample(schema) == {}
