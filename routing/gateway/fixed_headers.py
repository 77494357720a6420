"""Headers that many answers share."""

from __future__ import annotations

from routing.adapters.base import Headers
from routing.core.limits import pairs_in


class FixedHeaders:
    """Headers as lines for the wire, rendered once where answers share them; as pairs for ASGI."""

    __slots__ = ("_pairs", "lines")

    def __init__(self, pairs: Headers | None, lines: bytes = b"") -> None:
        """`lines` where there are no `pairs` yet, each `name: value` and an end of line."""
        self.lines = lines if pairs is None else b"".join([b"%b: %b\r\n" % pair for pair in pairs])
        self._pairs = pairs

    @property
    def pairs(self) -> Headers:
        if self._pairs is None:
            self._pairs = pairs_in(self.lines)
        return self._pairs

    def followed_by(self, lines: bytes) -> FixedHeaders:
        """With those of one answer, each `name: value` and an end of line."""
        return FixedHeaders(None, self.lines + lines)


NO_HEADERS = FixedHeaders([])
