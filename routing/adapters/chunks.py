"""Writing OpenAI stream chunks, for dialects that have others."""

from __future__ import annotations

import hashlib
import string
from typing import Any

from routing.adapters import sse
from routing.adapters.jsonio import dumps

NINE = 9
_LETTERS = string.digits + string.ascii_letters


class ChunkWriter:
    """Chunks of one answer: same id, model and creation time on each."""

    __slots__ = ("created", "id", "model")

    def __init__(self, created: int = 0, id: str = "", model: str = "") -> None:
        self.created = created
        self.id = id
        self.model = model

    def delta(
        self, delta: dict[str, Any], index: int = 0, logprobs: dict[str, Any] | None = None
    ) -> bytes:
        choice = {"index": index, "delta": delta, "finish_reason": None}
        return self._chunk([choice if logprobs is None else {**choice, "logprobs": logprobs}])

    def finish(self, reason: str, index: int = 0) -> bytes:
        return self._chunk([{"index": index, "delta": {}, "finish_reason": reason}])

    def usage(self, shown: dict[str, Any]) -> bytes:
        return self._chunk([], usage=shown)

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created}
        return sse.encode(dumps({**head, "model": self.model, "choices": choices, **more}))


def tool_call(index: int | None, id: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool call; `index` belongs to streams only."""
    call = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return call if index is None else {"index": index, **call}


def stable_call_id(*parts: object) -> str:
    """An id for a tool call that the provider gave none; the same answer gives the same id."""
    digest = hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=12)
    return f"call_{digest.hexdigest()}"


def nine_char_id(id: str) -> str:
    """`id` itself if it has nine letters or digits, else always the same one that has."""
    if len(id) == NINE and id.isascii() and id.isalnum():
        return id
    digest = hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number, letters = int.from_bytes(digest, "big"), []
    for _ in range(NINE):
        number, at = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[at])
    return "".join(letters)
