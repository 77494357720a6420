"""Making answers of OpenAI-compatible providers alike: finish words, reasoning, tool calls.

Every function changes the given objects in place and says whether it changed anything, so that
an answer that was already in order can be passed on as the bytes it came in.
"""

from __future__ import annotations

from typing import Any

from routing.adapters.jsonio import dicts_in, dig, text_of
from routing.adapters.quirks import Quirks

# Words met at hosts, beyond what a quirk record says of its own.
FINISH_WORDS = {
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "function_calls": "tool_calls",
    "tool_use": "tool_calls",
    "guardrails": "content_filter",
    "sensitive": "content_filter",
    "insufficient_system_resource": "error",
}


def finish_word(word: str, quirks: Quirks, *, has_tools: bool) -> str:
    """OpenAI's word for a provider's; `error` where the answer failed."""
    word = quirks.finish_map.get(word) or FINISH_WORDS.get(word, word)
    return "tool_calls" if has_tools and word in ("stop", "function_call") else word


def mend_reasoning(message: dict[str, Any], quirks: Quirks) -> bool:
    """Reasoning goes to the client as `reasoning_content`, also out of a list of content parts."""
    changed = _flatten_content(message)
    if quirks.reasoning_field_out == "reasoning" and message.get("reasoning"):
        text = message.pop("reasoning")
        message.setdefault("reasoning_content", text)
        changed = True
    return changed


def _flatten_content(message: dict[str, Any]) -> bool:
    content = message.get("content")
    if not isinstance(content, list):
        return False
    parts = dicts_in(content)
    thinking = [_thinking_text(part) for part in parts if part.get("type") == "thinking"]
    message["content"] = "".join(text_of(part.get("text")) for part in parts)
    if any(thinking):
        message["reasoning_content"] = "".join(thinking)
    return True


def _thinking_text(part: dict[str, Any]) -> str:
    thinking = part.get("thinking")
    if isinstance(thinking, str):
        return thinking
    return "".join(text_of(piece.get("text")) for piece in dicts_in(thinking))


def content_chars(message: dict[str, Any]) -> tuple[int, int]:
    """Characters of reasoning, and of everything else, in a message or a delta."""
    reasoning = max(
        len(text_of(message.get("reasoning_content"))), len(text_of(message.get("reasoning")))
    )
    answer = len(text_of(message.get("content"))) + len(text_of(message.get("refusal")))
    for call in dicts_in(message.get("tool_calls")):
        answer += _call_chars(call.get("function"))
    answer += _call_chars(message.get("function_call"))
    return reasoning, answer


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
