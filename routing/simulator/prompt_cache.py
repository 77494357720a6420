"""Prompt caching: the same long beginning within five minutes is a cache read.

Hosts that cache by themselves match blocks of 128 tokens from 1,024 tokens on. Anthropic caches
what the request marks, and bills the first time as a cache write.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from routing.simulator.tokens import BYTES_PER_TOKEN

BLOCK_TOKENS = 128
LEAST_TOKENS = 1024
KEPT_S = 300.0
KEPT_LONG_S = 3600.0
MAX_ENTRIES = 50_000


class PromptCache:
    """One for all providers; `scope` (provider and model) keeps them apart."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def read_automatic(self, scope: str, prompt: bytes, now: float) -> int:
        """Tokens found in the cache; remembers this prompt's blocks for the next time."""
        block_bytes = BLOCK_TOKENS * BYTES_PER_TOKEN
        found, blocks, unbroken = 0, len(prompt) // block_bytes, True
        chain = hashlib.sha256(scope.encode())
        for block in range(blocks):
            chain.update(prompt[block * block_bytes : (block + 1) * block_bytes])
            key = chain.digest()
            unbroken = unbroken and self._until.get(key, 0.0) > now
            if unbroken:
                found += BLOCK_TOKENS
            self._keep(key, now + KEPT_S)
        return found if found >= LEAST_TOKENS else 0

    def read_marked(self, scope: str, prefix: bytes, now: float, kept_s: float) -> bool:
        """True when exactly this marked prefix is cached; remembers it."""
        key = hashlib.sha256(scope.encode() + b"\n" + prefix).digest()
        hit = self._until.get(key, 0.0) > now
        self._keep(key, now + kept_s)
        return hit

    def clear(self) -> None:
        self._until.clear()

    def _keep(self, key: bytes, until: float) -> None:
        self._until[key] = until
        self._until.move_to_end(key)
        if len(self._until) > MAX_ENTRIES:
            self._until.popitem(last=False)
