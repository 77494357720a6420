"""The head a connection sent last: a client's next request on it differs in its length alone.

What the parser once read out of a head holds for the same bytes again, so only the digits of
`content-length` are looked at anew. Everything else, and every request that did not arrive in one
piece, goes through the parser.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from routing.adapters.base import Headers
from routing.gateway.preferences import READ_HEADERS
from routing.gateway.wishes import WISH_HEADERS

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})\r\n", re.IGNORECASE)
_READ_EACH_TIME = (b"transfer-encoding", *(name + b":" for name in WISH_HEADERS))
_MAX_DIGITS = 9
_MAX_HEAD_BYTES = 8192


class KnownHead(NamedTuple):
    """`opening` reaches to the digits of the length, `closing` from behind them to the body."""

    opening: bytes
    closing: bytes
    digest: bytes  # of the API key in it; whether the key is still valid is asked each time
    keep_alive: bool
    headers: Headers  # those that say something of the request; most clients send none

    def body_in(self, data: bytes) -> bytes | None:
        """The body, if `data` is exactly one whole request with this head."""
        opening = self.opening
        if not data.startswith(opening):
            return None
        begin = len(opening)
        end = data.find(b"\r", begin, begin + _MAX_DIGITS + 1)
        digits = data[begin:end]
        if end < 0 or not digits.isdigit() or not data.startswith(self.closing, end):
            return None
        body_at = end + len(self.closing)
        return data[body_at:] if len(data) - body_at == int(digits) else None


def learn_head(
    data: bytes, body: bytes, digest: bytes, headers: Headers, *, keep_alive: bool
) -> KnownHead | None:
    """From bytes that the parser took for one request with this body; None if they hold more.

    Raises nothing. A head that announces its length in any unusual way is not learnt, nor is one
    that asks the hub for something besides.
    """
    head_end = data.find(_HEAD_END) + len(_HEAD_END)
    head = data[:head_end]
    lower = head.lower()
    if head_end > _MAX_HEAD_BYTES or any(name in lower for name in _READ_EACH_TIME):
        return None
    found = _LENGTH.search(head)
    if found is None or lower.count(b"content-length") != 1:
        return None
    if data[head_end:] != body or len(body) != int(found[1]):
        return None
    read = [pair for pair in headers if pair[0] in READ_HEADERS]
    return KnownHead(head[: found.start(1)], head[found.end(1) :], digest, keep_alive, read)
