"""What a response says of itself, whole or at the end of its stream."""

from __future__ import annotations

from typing import Any

import msgspec

from routing.adapters import errors
from routing.adapters.base import Headers
from routing.adapters.jsonio import dict_of, dicts_in, text_of
from routing.adapters.quirks import Quirks
from routing.adapters.usage import count, first_count, part_of
from routing.core.errors import BrokenAnswer
from routing.core.usage import Usage

Body = dict[str, Any]

ENDED = ("completed", "incomplete")
_CUT_SHORT = {"max_output_tokens": "length", "content_filter": "content_filter"}
_CALLS = frozenset({"function_call", "custom_tool_call"})
_TEXTS = ("text", "refusal", "transcript")
_ITEM_TEXTS = ("name", "arguments", "input", "code", "output")


def response_in(body: bytes, headers: Headers, quirks: Quirks) -> Body:
    """Raises UpstreamError unless the body is a response that has ended."""
    found = errors.answer_in(body, headers, quirks)
    if found.get("status") == "failed":
        raise errors.refused(errors.facts_of(found), 200, quirks, headers=headers, body=body)
    if found.get("status") not in ENDED or not isinstance(found.get("output"), list):
        raise BrokenAnswer("not_an_answer", "The provider's answer is no response that has ended.")
    return found


def responses_usage(response: Body) -> Usage:
    """Of the whole response, because only its output tells how often the web was searched."""
    raw = dict_of(response.get("usage"))
    read, written = (
        first_count(raw, f"input_tokens_details.{name}")
        for name in ("cached_tokens", "cache_write_tokens")
    )
    reasoning = first_count(raw, "output_tokens_details.reasoning_tokens")
    input_total, output_total = count(raw.get("input_tokens")), count(raw.get("output_tokens"))
    return Usage(
        input_total=input_total,
        cache_read=part_of(read, input_total),
        cache_write_5m=part_of(written, input_total),
        output_total=output_total,
        reasoning=part_of(reasoning, output_total),
        searches=sum(map(is_search, dicts_in(response.get("output")))) or None,
    )


def with_searches(usage: Usage, searches: int) -> Usage:
    """Those that were seen in a stream, where its end did not come."""
    return msgspec.structs.replace(usage, searches=searches or None)


def is_search(item: Body) -> bool:
    """Pages that are opened, and places found in them, are no searches and are not billed."""
    if item.get("type") != "web_search_call":
        return False
    return text_of(dict_of(item.get("action")).get("type")) in ("", "search")


def finish_word(response: Body) -> str:
    """In chat's words, as all dialects are recorded."""
    if response.get("status") == "incomplete":
        reason = text_of(dict_of(response.get("incomplete_details")).get("reason"))
        return _CUT_SHORT.get(reason, "length")
    kinds = {text_of(item.get("type")) for item in dicts_in(response.get("output"))}
    return "tool_calls" if kinds & _CALLS else "stop"


def item_chars(item: Body) -> int:
    """Of what the model wrote: text, thoughts and the arguments of calls."""
    size = sum(len(text_of(item.get(name))) for name in _ITEM_TEXTS)
    parts = [*dicts_in(item.get("content")), *dicts_in(item.get("summary"))]
    return size + sum(len(text_of(part.get(name))) for part in parts for name in _TEXTS)
