"""OpenAI chat messages as Anthropic ones: system on top, blocks, tool results merged."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from routing.adapters.anthropic.thoughts import THOUGHTS, thinking_blocks
from routing.adapters.forms import (
    arguments_of,
    image_url_of,
    inline_data,
    parts_of,
    refuse,
)
from routing.adapters.jsonio import dicts_in, dig, text_of
from routing.core.catalog import Endpoint

Block = dict[str, Any]

_SYSTEM_ROLES = ("system", "developer")
_BAD_ID_CHARS = re.compile(r"[^a-zA-Z0-9_-]")
_SAFE_ID = re.compile(r"[a-zA-Z0-9_-]+")


def system_and_messages(
    body: dict[str, Any], endpoint: Endpoint
) -> tuple[list[Block], list[Block]]:
    """Leading system messages become `system`; later ones stand as user text where they are."""
    messages = dicts_in(body.get("messages"))
    leading = 0
    while leading < len(messages) and messages[leading].get("role") in _SYSTEM_ROLES:
        leading += 1
    system = [block for m in messages[:leading] for block in _text_blocks(m, endpoint)]
    turns: list[Block] = []
    for message in messages[leading:]:
        _append(turns, *_turn(message, endpoint))
    _trim_last_answer(turns)
    return system, turns


def _turn(message: Block, endpoint: Endpoint) -> tuple[str, list[Block]]:
    role = message.get("role")
    if role == "assistant":
        return "assistant", _cached(message, _assistant_blocks(message, endpoint))
    if role == "tool":
        return "user", [_tool_result(message, endpoint)]
    if role == "function":
        refuse(endpoint, "messages", "takes the role `tool` instead of the older `function`")
    return "user", _cached(message, _content_blocks(message.get("content"), endpoint))


def _cached(message: Block, blocks: list[Block]) -> list[Block]:
    """A mark on the whole message stands for its last block, as many clients write it."""
    mark = message.get("cache_control")
    if not mark or not blocks or blocks[-1]["type"] in THOUGHTS or "cache_control" in blocks[-1]:
        return blocks
    return [*blocks[:-1], {**blocks[-1], "cache_control": mark}]


def _append(turns: list[Block], role: str, blocks: list[Block]) -> None:
    """Neighbours of one role are one message there: all tool results of a turn must be together."""
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _trim_last_answer(turns: list[Block]) -> None:
    """A prefilled answer may not end in white space."""
    if not turns or turns[-1]["role"] != "assistant":
        return
    content = turns[-1]["content"]
    if content[-1].get("type") == "text":
        trimmed = content[-1]["text"].rstrip()
        content[-1:] = [{**content[-1], "text": trimmed}] if trimmed else []
    if not content:
        turns.pop()


# --- content ---------------------------------------------------------------------------------


def _text_blocks(message: Block, endpoint: Endpoint) -> list[Block]:
    blocks = _content_blocks(message.get("content"), endpoint)
    return _cached(message, [block for block in blocks if block["type"] == "text"])


def _content_blocks(content: Any, endpoint: Endpoint) -> list[Block]:
    blocks = [_block(part, endpoint) for part in parts_of(content)]
    return [block for block in blocks if block.get("type") != "text" or block.get("text")]


def _block(part: Block, endpoint: Endpoint) -> Block:
    """A part of a type that OpenAI does not have is taken for the provider's own."""
    kind = text_of(part.get("type"))
    if kind in _UNSUPPORTED_PARTS:
        refuse(endpoint, "messages", f"does not take parts of type {kind}")
    translate = _PARTS.get(kind)
    if translate is None:
        return {**part, "type": kind}
    block = translate(part, endpoint)
    if part.get("cache_control"):
        block["cache_control"] = part["cache_control"]
    return block


def _text_block(part: Block, endpoint: Endpoint) -> Block:
    return {"type": "text", "text": text_of(part.get("text"))}


def _image_block(part: Block, endpoint: Endpoint) -> Block:
    url = image_url_of(part)
    inline = inline_data(url)
    if inline is not None:
        source = {"type": "base64", "media_type": inline.media_type, "data": inline.base64}
        return {"type": "image", "source": source}
    if not url.startswith("https://"):
        refuse(endpoint, "messages", "takes images as base64 data: URLs or https: URLs only")
    return {"type": "image", "source": {"type": "url", "url": url}}


def _file_block(part: Block, endpoint: Endpoint) -> Block:
    inline = inline_data(text_of(dig(part, "file.file_data")))
    if inline is None:
        refuse(endpoint, "messages", "takes files as base64 data: URLs only")
    source = {"type": "base64", "media_type": inline.media_type, "data": inline.base64}
    block: Block = {"type": "document", "source": source}
    wished = {"title": dig(part, "file.filename"), "citations": part.get("citations")}
    return {**block, **{name: value for name, value in wished.items() if value}}


def _refusal_block(part: Block, endpoint: Endpoint) -> Block:
    return {"type": "text", "text": text_of(part.get("refusal"))}


_PARTS: dict[str, Callable[[Block, Endpoint], Block]] = {
    "text": _text_block,
    "input_text": _text_block,
    "image_url": _image_block,
    "file": _file_block,
    "refusal": _refusal_block,
}
_UNSUPPORTED_PARTS = frozenset({"", "input_audio", "audio", "video_url"})


# --- assistant and tools ---------------------------------------------------------------------


def _assistant_blocks(message: Block, endpoint: Endpoint) -> list[Block]:
    content = _content_blocks(message.get("content") or message.get("refusal"), endpoint)
    calls = [_tool_use(call, endpoint) for call in dicts_in(message.get("tool_calls"))]
    before, after = thinking_blocks(message)
    return [*before, *content, *after, *calls]


def _tool_use(call: Block, endpoint: Endpoint) -> Block:
    name = text_of(dig(call, "function.name"))
    if not name:
        refuse(endpoint, "messages", "takes calls of function tools only")
    return {
        "type": "tool_use",
        "id": safe_id(call.get("id")),
        "name": name,
        "input": arguments_of(call),
    }


def _tool_result(message: Block, endpoint: Endpoint) -> Block:
    content = message.get("content")
    result: Block = {"type": "tool_result", "tool_use_id": safe_id(message.get("tool_call_id"))}
    if isinstance(content, str):
        result["content"] = content
    elif content:
        result["content"] = _content_blocks(content, endpoint)
    if message.get("is_error") is True:
        result["is_error"] = True
    if message.get("cache_control"):
        result["cache_control"] = message["cache_control"]
    return result


def is_safe_id(id: Any) -> bool:
    return isinstance(id, str) and _SAFE_ID.fullmatch(id) is not None


def safe_id(id: Any) -> str:
    """Other providers' ids may hold characters that are refused here; call and result agree."""
    return _BAD_ID_CHARS.sub("_", text_of(id)) or "call"
