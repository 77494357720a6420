"""Reads the plainest of answers at a glance: 200, its length stated once, all of it there.

The parser reads everything else. Whatever is not beyond doubt is left to it untouched, so that
there is one opinion on where an answer ends.
"""

from __future__ import annotations

import re

from routing.adapters.base import Headers
from routing.gateway.upstream.heads import MAX_HEAD_BYTES, MAX_HEADERS

_FIRST_LINE = b"HTTP/1.1 200 OK\r\n"
_HEADERS_AT = len(_FIRST_LINE)
_LINES = re.compile(rb"(?<=\n)([A-Za-z0-9_-]++): (?! )([ -~]++)(?<! )\r\n")
_WATCHED = frozenset(
    (
        b"content-length",
        b"connection",
        b"proxy-connection",
        b"transfer-encoding",
        b"content-encoding",
        b"upgrade",
    )
)


def read_plain(data: bytes) -> tuple[Headers, bytes] | None:
    """Headers and body if `data` is one whole answer without any peculiarity, and nothing more."""
    if data[:_HEADERS_AT] != _FIRST_LINE:
        return None
    body_at = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES) + 4
    lines = _LINES.findall(data, _HEADERS_AT, body_at)
    if len(lines) != data.count(b"\n", _HEADERS_AT, body_at) - 1 or len(lines) > MAX_HEADERS:
        return None  # there is a line of another form
    size = b""
    headers = []
    for name, value in lines:
        name = name.lower()  # noqa: PLW2901 - one name less to touch for every header
        if name in _WATCHED:
            if name == b"content-length" and not size:
                size = value
            elif name != b"connection" or value.lower() != b"keep-alive":
                return None
        headers.append((name, value))
    if size != b"%d" % (len(data) - body_at):
        return None
    return headers, data[body_at:]
