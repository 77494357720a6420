"""Reads the plainest of answers at a glance: 200, its length stated once, all of it there.

The parser reads everything else. Whatever is not beyond doubt is left to it untouched, so that
there is one opinion on where an answer ends.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from routing.adapters.base import Headers
from routing.gateway.upstream.heads import MAX_HEAD_BYTES, MAX_HEADERS

_FIRST_LINE = b"HTTP/1.1 200 OK\r\n"
_HEADERS_AT = len(_FIRST_LINE)
_LINE = rb"[A-Za-z0-9_-]++: (?! )[ -~]++(?<! )\r\n"
_HEAD = re.compile(rb"(?:%b)++\r\n" % _LINE)
_PAIRS = re.compile(rb"\n([^:]+): ([^\r]*)")
_WATCHED = re.compile(
    rb"\n(content-length|content-encoding|connection|proxy-connection|transfer-encoding|upgrade)"
    rb": ([^\r]*)"
)


class PlainAnswer(NamedTuple):
    head: bytes  # the header lines, behind the line feed of the first line
    lower: bytes  # the same in lower case
    body: bytes


def read_plain(data: bytes) -> PlainAnswer | None:
    """`data` in its parts if it is one whole answer without any peculiarity, and nothing more."""
    if data[:_HEADERS_AT] != _FIRST_LINE:
        return None
    matched = _HEAD.match(data, _HEADERS_AT, MAX_HEAD_BYTES)
    if matched is None:
        return None  # there is a line of another form
    body_at = matched.end()
    head = data[_HEADERS_AT - 1 : body_at]
    lower = head.lower()
    watched = _WATCHED.findall(lower)
    if len(watched) > 1:  # once more, without what says nothing
        watched = [pair for pair in watched if pair != (b"connection", b"keep-alive")]
    if watched != [(b"content-length", b"%d" % (len(data) - body_at))]:
        return None
    if lower.count(b"\n") > MAX_HEADERS + 2:
        return None
    return PlainAnswer(head, lower, data[body_at:])


def pairs_in(head: bytes) -> Headers:
    """The headers of a `PlainAnswer`, names in lower case."""
    return [(name.lower(), value) for name, value in _PAIRS.findall(head)]


def value_in(answer_head: bytes, lower: bytes, line: bytes) -> bytes:
    """As `UpstreamAnswer.header`."""
    at = lower.find(line)
    if at < 0:
        return b""
    at += len(line)
    return answer_head[at : answer_head.find(b"\r", at)]
