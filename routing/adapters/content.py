"""What counts as content in an OpenAI message or delta, and how much of it there is."""

from __future__ import annotations

from typing import Any

from routing.adapters.jsonio import dicts_in, dig, text_of


def content_chars(message: dict[str, Any]) -> int:
    """Characters of text, reasoning, and tool names and arguments."""
    reasoning = max(
        len(text_of(message.get("reasoning_content"))), len(text_of(message.get("reasoning")))
    )
    answer = len(text_of(message.get("content"))) + len(text_of(message.get("refusal")))
    for call in dicts_in(message.get("tool_calls")):
        answer += _call_chars(call.get("function"))
    answer += _call_chars(message.get("function_call"))
    return reasoning + answer


def _call_chars(function: Any) -> int:
    return len(text_of(dig(function, "name"))) + len(text_of(dig(function, "arguments")))


def has_answer(message: dict[str, Any]) -> bool:
    """Anything for the reader besides reasoning; an empty string or array is nothing."""
    return any(
        message.get(field)
        for field in ("content", "tool_calls", "refusal", "function_call", "audio")
    )


def has_reasoning(message: dict[str, Any]) -> bool:
    fields = ("reasoning_content", "reasoning", "reasoning_details")
    return any(message.get(field) for field in fields)
