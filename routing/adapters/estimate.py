"""Token estimates, for when nothing better is known.

Input: UTF-8 bytes of the text / 4, rounded up, plus 4 for each message, plus a flat 800 for each
image. Output: characters / 4, rounded up. Rough by intent: no tokenizer is right for all models,
and these are used to plan, to reserve, and to bill only where the provider never said.
"""

from __future__ import annotations

from typing import Any

from routing.adapters.jsonio import BadJson, dict_of, dicts_in, dumps, list_of, text_of
from routing.core.usage import Usage, UsageSource, estimated_output_tokens

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
TOKENS_PER_IMAGE = 800
_IMAGE_PARTS = frozenset({"image_url", "image", "input_image"})


def estimate_input_tokens(body: dict[str, Any]) -> int:
    """Of a chat request's body. Never raises, whatever the body holds."""
    messages = list_of(body.get("messages"))
    text_bytes, images = 0, 0
    for message in messages:
        message_bytes, message_images = _weigh_message(dict_of(message))
        text_bytes += message_bytes
        images += message_images
    for field in ("tools", "response_format"):
        if body.get(field):
            text_bytes += _json_bytes(body[field])
    tokens = TOKENS_PER_MESSAGE * len(messages) + TOKENS_PER_IMAGE * images
    return tokens + _divide_up(text_bytes, BYTES_PER_TOKEN)


def estimated_usage(body: dict[str, Any], output_chars: int) -> Usage:
    return Usage(
        input_total=estimate_input_tokens(body),
        output_total=estimated_output_tokens(output_chars),
        source=UsageSource.ESTIMATED,
    )


def _weigh_message(message: dict[str, Any]) -> tuple[int, int]:
    content = message.get("content")
    if type(content) is str and len(message) == 2 and content.isascii():
        return len(content), 0  # a role and plain text, the common case
    text_bytes, images = _utf8_bytes(content), 0
    for part in dicts_in(content):
        if part.get("type") in _IMAGE_PARTS:
            images += 1
        else:
            text_bytes += _utf8_bytes(part.get("text"))
    if message.get("tool_calls"):
        text_bytes += _json_bytes(message["tool_calls"])
    return text_bytes + _utf8_bytes(message.get("reasoning_content")), images


def _utf8_bytes(value: Any) -> int:
    return len(text_of(value).encode("utf-8", "surrogatepass"))


def _json_bytes(value: Any) -> int:
    try:
        return len(dumps(value))
    except BadJson:
        return 0


def _divide_up(amount: int, by: int) -> int:
    return -(-amount // by)
