"""Frames of an OpenAI-compatible provider, by hand."""

from __future__ import annotations

import json
from typing import Any

from routing.adapters.openai_compat.stream import OpenAIStream
from tests.routing.adapters.support import open_stream, plain_endpoint

HEAD: dict[str, Any] = {"id": "s1", "object": "chat.completion.chunk", "created": 5, "model": "m"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def chunk(
    delta: dict[str, Any] | None = None, finish: Any = None, index: int = 0, **more: Any
) -> bytes:
    choices = [{"index": index, "delta": delta or {}, "finish_reason": finish}]
    return event({**HEAD, "choices": choices, **more})


def event(document: Any) -> bytes:
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


ROLE = chunk({"role": "assistant", "content": ""})
HI = chunk({"content": "hi"})
STOP = chunk({}, "stop")
USAGE_ONLY = event({**HEAD, "choices": [], "usage": USAGE})
DONE = b"data: [DONE]\n\n"


def stream_of(wants_usage: bool = False, **quirks: Any) -> OpenAIStream:
    reader = open_stream(plain_endpoint(**quirks), wants_usage=wants_usage)
    assert isinstance(reader, OpenAIStream)
    return reader
