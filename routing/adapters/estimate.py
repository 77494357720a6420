"""Token estimates, for when nothing better is known.

Input: UTF-8 bytes of the text / 4, rounded up, plus 4 for each message, plus a flat 800 for each
image. The bytes of long texts beyond ASCII are taken from samples of the body. Output: characters / 4, rounded up. Rough by intent: no tokenizer is right for all models,
and these are used to plan, to reserve, and to bill only where the provider never said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from routing.adapters.jsonio import BadJson, dict_of, dicts_in, dumps, list_of, text_of
from routing.core.usage import Usage, UsageSource, estimated_output_tokens

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
TOKENS_PER_IMAGE = 800
SAMPLED_FROM_BYTES = 2**14
SAMPLES, SAMPLE_BYTES = 16, 256
_CONTINUATION = bytes(range(0x80, 0xC0))
_IMAGE_PARTS = ("image_url", "image", "input_image")


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
    text_bytes, images = utf8_bytes(text_of(content)), 0
    for part in dicts_in(content):
        if part.get("type") in _IMAGE_PARTS:
            images += 1
        else:
            text_bytes += utf8_bytes(text_of(part.get("text")))
    if message.get("tool_calls"):
        text_bytes += _json_bytes(message["tool_calls"])
    return text_bytes + utf8_bytes(text_of(message.get("reasoning_content"))), images


def utf8_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def utf8_bytes_of(texts: Sequence[str], raw: bytes) -> int:
    """Of all texts together, which are nearly all of `raw`, the JSON that they were read from.

    To encode long texts beyond ASCII takes longer than to read their JSON: for these the bytes that
    continue a letter are counted in samples of `raw`.
    """
    if all(map(str.isascii, texts)):
        return sum(map(len, texts))
    if len(raw) < SAMPLED_FROM_BYTES or raw.isascii():
        return sum(map(utf8_bytes, texts))
    step = len(raw) // SAMPLES
    sample = b"".join([raw[i * step : i * step + SAMPLE_BYTES] for i in range(SAMPLES)])
    continuing = len(sample) - len(sample.translate(None, _CONTINUATION))
    return sum(map(len, texts)) + len(raw) * continuing // len(sample)


def _json_bytes(value: Any) -> int:
    try:
        return len(dumps(value))
    except BadJson:
        return 0


def _divide_up(amount: int, by: int) -> int:
    return -(-amount // by)
