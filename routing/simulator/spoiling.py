"""Answers whose form is broken: what a host does that loses track of a model's tool calls."""

from __future__ import annotations

import msgspec

from routing.simulator.answers import Choice, Part
from routing.simulator.asks import Ask
from routing.simulator.tokens import pieces_of

NOT_ASKED_FOR = '{"broken": true}'


def spoiled(choices: list[Choice], ask: Ask, dialect: str) -> list[Choice]:
    """The same answers, with calls that cannot be made and JSON that does not parse."""
    wants_json = ask.schema is not None or ask.json_object
    return [
        Choice(
            [_spoiled(part, dialect, wants_json=wants_json) for part in choice.parts], choice.finish
        )
        for choice in choices
    ]


def _spoiled(part: Part, dialect: str, *, wants_json: bool) -> Part:
    if part.kind == "call":
        pieces = _cut(part) if dialect == "openai_compat" else pieces_of(NOT_ASKED_FOR)
        return msgspec.structs.replace(part, pieces=pieces)
    if part.kind == "text" and wants_json:
        return msgspec.structs.replace(part, pieces=pieces_of(f"Here it is:\n{part.text}"))
    return part


def _cut(part: Part) -> list[str]:
    return part.pieces[:-1] or ["{"]
