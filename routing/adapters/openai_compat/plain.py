"""The common answer, read in one pass: one choice of plain text and OpenAI's own usage object.

Whatever is not exactly that gives None and is read field by field instead. Both ways must tell
the same; a property test holds them together.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from routing.adapters.base import Reply
from routing.adapters.openai_compat.answers import MAX_TIER_CHARS
from routing.adapters.quirks import Quirks
from routing.adapters.usage import MAX_TOKENS
from routing.core.usage import Usage

# A count that cannot be is left to the careful reader, which knows what to do with it.
_Tokens = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]


class _PromptDetails(msgspec.Struct):
    cached_tokens: _Tokens | None = None
    cache_write_tokens: _Tokens | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: _Tokens | None = None


class _Usage(msgspec.Struct, forbid_unknown_fields=True):
    prompt_tokens: _Tokens
    completion_tokens: _Tokens
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    content: str
    role: str = ""
    refusal: None = None
    annotations: list[None] = []
    tool_calls: None = None
    function_call: None = None
    reasoning_content: None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: Literal["stop", "length"]


class _Answer(msgspec.Struct):
    choices: tuple[_Choice]
    usage: msgspec.Raw
    model: str = ""
    service_tier: Annotated[str, msgspec.Meta(max_length=MAX_TIER_CHARS)] | None = None
    error: None = None


_answer = msgspec.json.Decoder(_Answer).decode
_usage = msgspec.json.Decoder(_Usage).decode
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
        answer = _answer(body)
        raw_usage = bytes(answer.usage)
        usage = _usage(raw_usage)
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
