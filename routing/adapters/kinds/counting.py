"""Quantities that a provider leaves out, measured or estimated from what was sent and what came back.

Estimates are rough by intent: they plan and reserve, and bill only where nobody said better.
"""

from __future__ import annotations

import binascii
import math
import re
import struct
from base64 import b64decode
from typing import Any

from routing.core.usage import CHARS_PER_TOKEN

USUAL_AUDIO_BYTES_PER_S = 16_000  # 128 kbit/s, a common rate of compressed speech
USUAL_PIXELS = 1024 * 1024
MOST_AUDIO_S = 7 * 24 * 3600
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD_CHARS = 32  # in base64: signature, and the first chunk down to width and height


def text_tokens(text: str) -> int:
    """One for each four bytes, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // CHARS_PER_TOKEN)


def input_tokens(value: Any) -> int:
    """Of an embedding request's `input`: a text, texts, token ids or lists of token ids."""
    if isinstance(value, str):
        return text_tokens(value)
    if isinstance(value, list):
        return sum(1 if isinstance(item, int) else input_tokens(item) for item in value)
    return 0


def audio_seconds(data: bytes) -> float | None:
    """The length of a WAV file, from its header; None for every other format."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    bytes_per_s, at = 0, 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"fmt " and size >= 16 and at + 24 <= len(data):
            bytes_per_s = int.from_bytes(data[at + 16 : at + 20], "little")
        elif name == b"data":
            there = min(size, len(data) - at - 8)  # a streamed file announces more than it has
            return there / bytes_per_s if bytes_per_s else None
        at += 8 + size + size % 2
    return None


def estimated_audio_seconds(data: bytes) -> int:
    return max(1, math.ceil(len(data) / USUAL_AUDIO_BYTES_PER_S))


def whole_seconds(value: Any) -> int | None:
    """A provider's figure, rounded up; None for what cannot be the length of a recording."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return math.ceil(value) if 0 <= value <= MOST_AUDIO_S else None  # NaN compares false


def pixels_of_png(base64_text: str) -> int | None:
    """Width x height from the header of a PNG; None for every other format."""
    try:
        head = b64decode(base64_text[:_PNG_HEAD_CHARS])
    except (binascii.Error, ValueError):
        return None
    if not head.startswith(_PNG) or len(head) < 24:
        return None
    width, height = struct.unpack(">II", head[16:24])
    return int(width * height)


def pixels_of_size(value: Any) -> int | None:
    """Of "1024x1536"; None for "auto" and what else is no size."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return int(found[1]) * int(found[2]) if found else None
