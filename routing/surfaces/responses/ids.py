"""Ids of responses and their items. Each holds the id of its request, so that it leads back there."""

from __future__ import annotations

import re
from typing import Any

_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "image_generation_call": "ig",
}
_OTHER = "it"  # of kinds that only some provider knows
_ITEM = re.compile(r"[a-z]{1,8}_([0-9a-f]{32})[io]\d{1,6}")
_KIND_WORD = re.compile(r"([a-z]{1,8})_")
_RESPONSE = re.compile(r"resp_([0-9a-f]{32})")


def response_id_for(request_id: str) -> str:
    return f"resp_{request_id.replace('-', '')}"


def input_item_id(kind: str, response_id: str, index: int) -> str:
    return f"{_PREFIXES.get(kind, _OTHER)}_{response_id.removeprefix('resp_')}i{index}"


def output_item_id(kind: str, response_id: str, index: int) -> str:
    return f"{_PREFIXES[kind]}_{response_id.removeprefix('resp_')}o{index}"


def renamed_item_id(given: Any, kind: str, response_id: str, index: int) -> str:
    """Ours for an item that a provider has named, with the provider's word for its kind."""
    word = _KIND_WORD.match(given) if isinstance(given, str) else None
    prefix = word[1] if word else _PREFIXES.get(kind, _OTHER)
    return f"{prefix}_{response_id.removeprefix('resp_')}o{index}"


def response_of_item(item_id: str) -> str:
    """The response that gave an item its id; "" where it is no id of ours."""
    found = _ITEM.fullmatch(item_id)
    return f"resp_{found[1]}" if found else ""


def uuid_hex_of(response_id: str) -> str:
    """32 hexadecimal digits; "" where it is no id of ours."""
    found = _RESPONSE.fullmatch(response_id)
    return found[1] if found else ""
