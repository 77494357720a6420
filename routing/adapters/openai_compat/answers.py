"""Making answers of OpenAI-compatible providers alike: finish words, reasoning, tool calls.

Every function changes the given objects in place and says whether it changed anything, so that
an answer that was already in order can be passed on as the bytes it came in.
"""

from __future__ import annotations

from typing import Any

from routing.adapters.chunks import stable_call_id
from routing.adapters.jsonio import dict_of, dicts_in, dumps, text_of
from routing.adapters.quirks import Quirks

MAX_TIER_CHARS = 20

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


def tier_word(tier: Any) -> str:
    """The tier that an answer was served by, short enough for the log."""
    return text_of(tier)[:MAX_TIER_CHARS]


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


def mend_whole_calls(message: dict[str, Any], answer_id: Any) -> bool:
    """Tool calls of a complete answer: each has an id, and its arguments are a string."""
    changed = False
    for index, call in enumerate(dicts_in(message.get("tool_calls"))):
        if not call.get("id"):
            call["id"] = stable_call_id(answer_id, index)
            changed = True
        function = dict_of(call.get("function"))
        if isinstance(function.get("arguments"), dict):
            function["arguments"] = dumps(function["arguments"]).decode()
            changed = True
    return changed
