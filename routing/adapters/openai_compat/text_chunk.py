"""The fields of a streamed chunk that decide whether it is plain text: apart, as all structs are from
compiled code."""

from __future__ import annotations

from typing import Any

import msgspec


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int
    function: _Function
    id: str | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: list[_Call] | None = None
    function_call: Any = None
    refusal: Any = None
    audio: Any = None


class _Choice(msgspec.Struct):
    delta: _Delta
    finish_reason: Any = None
    index: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    error: Any = None


read_chunk = msgspec.json.Decoder(_Chunk).decode
