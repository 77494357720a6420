"""A provider's event stream cut into whole events, each as the bytes it came in."""

from __future__ import annotations

import re
from itertools import pairwise

# Atomic, so that CR LF is never taken for two line ends.
_END_OF_EVENT = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LONGEST_END = 4


class WholeEvents:
    """Feed it bytes in any slices. What has begun and not ended yet is in `rest`."""

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        searched = max(0, len(self.rest) - _LONGEST_END)
        self.rest += data
        ends = [found.end() for found in _END_OF_EVENT.finditer(self.rest, searched)]
        events = [bytes(self.rest[start:end]) for start, end in pairwise([0, *ends])]
        if ends:
            del self.rest[: ends[-1]]
        return events
