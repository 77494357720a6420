"""OpenAI chat's words for how an answer ended and what it used, in Anthropic's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from routing.adapters.jsonio import dict_of, text_of
from routing.adapters.usage import openai_usage, total
from routing.core.usage import NO_USAGE

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_SERVICE_TIERS = {"default": "standard", "standard": "standard", "priority": "priority"}


class Ending(NamedTuple):
    stop_reason: str
    stop_sequence: str | None = None

    def fields(self) -> dict[str, Any]:
        refused = self.stop_reason == "refusal"
        details = {"type": "refusal", "category": None, "explanation": None} if refused else None
        told = {"stop_reason": self.stop_reason, "stop_sequence": self.stop_sequence}
        return {**told, "stop_details": details}


def ending_of(choice: dict[str, Any], stops: Sequence[str], *, has_calls: bool) -> Ending:
    """Some hosts name the stop sequence that was met in a field of their own."""
    reason = _STOP_REASONS.get(text_of(choice.get("finish_reason")), "end_turn")
    if has_calls and reason == "end_turn":
        return Ending("tool_use")
    met = text_of(choice.get("stop_reason"))
    if reason == "end_turn" and met in stops:
        return Ending("stop_sequence", met)
    return Ending(reason)


def usage_of(raw: Any) -> dict[str, Any]:
    """From chat's usage object. The cache is outside `input_tokens` here; unknown is null."""
    usage = openai_usage(raw) if isinstance(raw, dict) else NO_USAGE
    written = total(usage.cache_write_5m, usage.cache_write_1h)
    cached = total(usage.cache_read, written) or 0
    thinking = None if usage.reasoning is None else {"thinking_tokens": usage.reasoning}
    return {
        "input_tokens": max(0, (usage.input_total or 0) - cached),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output_total or 0,
        "output_tokens_details": thinking,
        "server_tool_use": None,
    }


def message_usage(raw: Any, service_tier: Any = None) -> dict[str, Any]:
    """A whole message says more of its usage than the last event of a stream does."""
    tier = _SERVICE_TIERS.get(text_of(service_tier))
    return {**usage_of(raw), "cache_creation": None, "service_tier": tier}


def message_id(request_id: str) -> str:
    return "msg_" + "".join(c for c in request_id if c.isalnum())


def thinking_block(text: str, signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature}


def redacted_block(data: str) -> dict[str, Any]:
    return {"type": "redacted_thinking", "data": data}


def text_block(text: str, citations: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    return {"type": "text", "text": text, "citations": list(citations) or None}


def tool_use_block(id: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": dict_of(arguments)}
