"""A whole chat completion as a Message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from routing.adapters.anthropic.citations import citation_of
from routing.adapters.anthropic.foreign import UNSIGNED
from routing.adapters.chunks import stable_call_id
from routing.adapters.jsonio import BadJson, dict_of, dicts_in, dig, list_of, loads, text_of
from routing.surfaces.messages.reasoning import (
    cargo_block,
    is_signed,
    opaque_block,
    reasoning_text,
)
from routing.surfaces.messages.words import (
    ending_of,
    message_id,
    message_usage,
    text_block,
    thinking_block,
    tool_use_block,
)

Block = dict[str, Any]


def message_from(
    answer: dict[str, Any], request_id: str, model: str, stops: Sequence[str]
) -> dict[str, Any]:
    """`model` and `stops` are what was asked for."""
    choice = next(iter(dicts_in(answer.get("choices"))), {})
    message = dict_of(choice.get("message"))
    calls = dicts_in(message.get("tool_calls"))
    text = text_of(message.get("content")) or text_of(message.get("refusal"))
    noted = dicts_in(message.get("annotations")) or named_pages(answer)
    cited = [citation_of(each, text) for each in noted]
    texts = [text_block(text, [c for c in cited if c is not None])] if text else []
    return {
        **empty_message(request_id, text_of(answer.get("model")) or model),
        "content": [*_thoughts(message), *texts, *_calls(calls, request_id)],
        **ending_of(choice, stops, has_calls=bool(calls)).fields(),
        "usage": message_usage(answer.get("usage"), answer.get("service_tier")),
    }


def named_pages(document: dict[str, Any]) -> list[dict[str, Any]]:
    """As annotations without a place: pages that some hosts list beside the answer."""
    pages = [page for page in list_of(document.get("citations")) if isinstance(page, str) and page]
    return [{"type": "url_citation", "url_citation": {"url": page}} for page in pages]


def empty_message(request_id: str, model: str, service_tier: Any = None) -> dict[str, Any]:
    return {
        "id": message_id(request_id),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": message_usage(None, service_tier),
    }


def _thoughts(message: dict[str, Any]) -> list[Block]:
    details = dicts_in(message.get("reasoning_details"))
    signed = [detail for detail in details if is_signed(detail)]
    blocks: list[Block] = []
    if not signed:
        text = reasoning_text(message)
        blocks = [thinking_block(text, UNSIGNED)] if text else []
    for detail in details:
        if is_signed(detail):
            blocks.append(thinking_block(text_of(detail.get("text")), detail["signature"]))
            continue
        block = opaque_block(detail)
        if block is not None:
            blocks.append(block)
    return blocks


def _calls(calls: list[dict[str, Any]], request_id: str) -> list[Block]:
    blocks: list[Block] = []
    for index, call in enumerate(calls):
        cargo = cargo_block(call)
        if cargo is not None:
            blocks.append(cargo)
        id = text_of(call.get("id")) or stable_call_id(request_id, index)
        name = text_of(dig(call, "function.name"))
        blocks.append(tool_use_block(id, name, arguments_in(dig(call, "function.arguments"))))
    return blocks


def arguments_in(arguments: Any) -> dict[str, Any]:
    """What is no JSON object is shown to the tool as it is, so that it can refuse it."""
    if isinstance(arguments, dict):
        return arguments
    text = text_of(arguments)
    try:
        parsed = loads(text.encode("utf-8", "surrogatepass")) if text.strip() else {}
    except BadJson:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"invalid_arguments": text}
