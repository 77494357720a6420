"""The simulator's tokenizer: simple, the same everywhere, and easy to check by hand.

Output: a token is a piece of at most eight letters of a word, its leading white space included.
Input: one token for each four UTF-8 bytes of the prompt (rounded up), four for each message,
three for the answer's start, 85 for each image.
"""

from __future__ import annotations

import re

import msgspec

PIECE = re.compile(r"\s*\S{1,8}|\s+$")
BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
TOKENS_TO_START = 3
TOKENS_PER_IMAGE = 85


def pieces_of(text: str) -> list[str]:
    """Joined, the pieces are the text again."""
    return PIECE.findall(text)


class Prompt:
    """The prompt in one canonical form, so that all dialects count and cache alike."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.byte_count = 0
        self.messages = 0
        self.images = 0

    def add_tool(self, name: str, description: str, schema: object) -> None:
        self._add(f"tool {name} {description} ".encode())
        self._add(msgspec.json.encode(schema, order="deterministic"))

    def begin_message(self, role: str) -> None:
        self.messages += 1
        self._add(b"\n" + role.encode("utf-8", "replace") + b"\n")

    def add_text(self, text: str) -> None:
        self._add(text.encode("utf-8", "surrogatepass"))

    def add_image(self) -> None:
        self.images += 1
        self._add(b"<image>")

    def _add(self, data: bytes) -> None:
        self._parts.append(data)
        self.byte_count += len(data)

    def content(self) -> bytes:
        return b"".join(self._parts)

    def token_count(self) -> int:
        return (
            -(-self.byte_count // BYTES_PER_TOKEN)
            + TOKENS_PER_MESSAGE * self.messages
            + TOKENS_TO_START
            + TOKENS_PER_IMAGE * self.images
        )
