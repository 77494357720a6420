"""The shape of the common answer: what does not fit it is read by another way."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from routing.adapters.openai_compat.answers import MAX_TIER_CHARS
from routing.adapters.usage import MAX_TOKENS

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


read_answer = msgspec.json.Decoder(_Answer).decode
read_usage = msgspec.json.Decoder(_Usage).decode
