"""The common answer, read in one pass: one choice of plain text and OpenAI's own usage object.

Whatever is not exactly that gives None and is read field by field instead. Both ways must tell
the same; a property test holds them together.
"""

from __future__ import annotations

import msgspec

from routing.adapters.base import Reply
from routing.adapters.openai_compat.plain_shape import read_answer, read_usage
from routing.adapters.quirks import Quirks
from routing.core.usage import Usage

_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


def reads_like_openai(quirks: Quirks) -> bool:
    return (
        quirks.usage_paths == ("usage",)
        and not quirks.cost_path
        and not quirks.finish_map
        and quirks.input_includes_cache
        and quirks.output_includes_reasoning
    )


def read_plain_text(body: bytes, quirks: Quirks) -> Reply | None:
    if not reads_like_openai(quirks):
        return None
    try:
        answer = read_answer(body)
        raw_usage = bytes(answer.usage)
        usage = read_usage(raw_usage)
    except _UNREADABLE:
        return None
    choice = answer.choices[0]
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    cached = written = reasoning = None
    asked, answered = usage.prompt_tokens_details, usage.completion_tokens_details
    if asked is not None:
        cached, written = asked.cached_tokens, asked.cache_write_tokens
        if (cached or 0) > prompt or (written or 0) > prompt:
            return None
    if answered is not None:
        reasoning = answered.reasoning_tokens
        if (reasoning or 0) > completion:
            return None
    return Reply(  # by place, which takes a fifth of the time
        body,
        Usage(prompt, cached, written, None, completion, reasoning),
        raw_usage,
        choice.finish_reason,
        answer.model,
        answer.service_tier or "",
        len(choice.message.content),
    )
