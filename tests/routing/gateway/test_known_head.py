"""A request with a known head is read as the parser would read it, or not at all."""

from __future__ import annotations

import re

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.gateway.known_head import KnownHead, learn_head
from routing.gateway.wishes import WISH_HEADERS

DIGEST = b"d" * 32
FIRST = b'{"model":"m"}'


def request(
    body: bytes, *extra: bytes, length: bytes | None = None, name: bytes = b"Content-Length"
) -> bytes:
    size = length if length is not None else b"%d" % len(body)
    lines = (b"POST /v1/chat/completions HTTP/1.1", b"host: x", name + b": " + size, *extra)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def known(*extra: bytes) -> KnownHead:
    learnt = learn_head(request(FIRST, *extra), FIRST, DIGEST, [], keep_alive=True)
    assert learnt is not None
    return learnt


class Parsed:
    """What httptools makes of some bytes: its headers but for the length, and the bodies."""

    def __init__(self, data: bytes) -> None:
        self.url, self.headers, self.body, self.whole = b"", [], b"", 0  # type: ignore[var-annotated]
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError:
            self.whole = -1
        self.method = parser.get_method() if self.whole > 0 else b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() != b"content-length":
            self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole += 1


def test_a_request_with_the_same_head_and_another_length_gives_its_body() -> None:
    assert known(b"accept: */*").body_in(request(b"x" * 1234, b"accept: */*")) == b"x" * 1234
    assert known().body_in(request(b"")) == b""


def test_a_head_that_differs_in_one_byte_is_left_to_the_parser() -> None:
    head = known(b"accept: */*")
    assert head.body_in(request(b"x", b"accept: *//")) is None
    assert head.body_in(request(b"x", b"accept: */*", b"a: b")) is None
    assert head.body_in(request(b"x", b"accept: */*", name=b"content-length")) is None


def test_a_request_that_is_not_whole_or_is_followed_by_another_is_left_to_the_parser() -> None:
    head = known()
    assert head.body_in(request(b"abc", length=b"4")) is None
    assert head.body_in(request(b"abc", length=b"2")) is None
    assert head.body_in(request(b"abc") + request(b"abc")) is None
    assert head.body_in(request(b"abc")[:-4]) is None


def test_a_length_that_is_no_plain_number_is_left_to_the_parser() -> None:
    head = known()
    for length in (
        b"+3",
        b"-3",
        b"3 ",
        b"0x3",
        b"",
        b"3,3",
        b"1_0",
        b"\xb2",
        b"3\r\ncontent-length: 3",
    ):
        assert head.body_in(request(b"abc", length=length)) is None, length


def test_heads_with_two_lengths_or_chunks_are_not_learnt() -> None:
    for extra in (b"Content-Length: 13", b"transfer-encoding: chunked", b"Transfer-Encoding: gzip"):
        assert learn_head(request(FIRST, extra), FIRST, DIGEST, [], keep_alive=True) is None, extra


def test_bytes_that_hold_more_than_the_request_are_not_learnt() -> None:
    assert learn_head(request(FIRST) + b"GET", FIRST, DIGEST, [], keep_alive=True) is None
    assert learn_head(request(FIRST)[:-1], FIRST, DIGEST, [], keep_alive=True) is None


def test_a_length_hidden_in_another_header_is_not_learnt() -> None:
    data = request(FIRST, b"x-note: content-length: 5")
    assert learn_head(data, FIRST, DIGEST, [], keep_alive=True) is None


EXTRAS = [b"accept: */*", b"authorization: Bearer pb_live_x", b"x-a: b", b"cookie: a=b; c=d"]
PIECES = [
    b"\r\n",
    b"\n",
    b" ",
    b":",
    b"0",
    b"9",
    b"transfer-encoding: chunked\r\n",
    b"\x00",
    b"POST ",
]


@settings(max_examples=200, deadline=None)
@given(
    extras=st.lists(st.sampled_from(EXTRAS), max_size=3),
    body=st.binary(max_size=40),
    piece=st.sampled_from([b"", *PIECES]),
    at=st.integers(0, 200),
    cut=st.integers(0, 3),
)
def test_whatever_is_taken_by_its_head_the_parser_reads_the_same(
    extras: list[bytes], body: bytes, piece: bytes, at: int, cut: int
) -> None:
    first = request(FIRST, *extras)
    head = learn_head(first, FIRST, DIGEST, [], keep_alive=True)
    assert head is not None
    data = request(body, *extras)
    at %= len(data) + 1
    data = data[:at] + piece + data[at + cut :]
    taken = head.body_in(data)
    if taken is None:
        return
    before, now = Parsed(first), Parsed(data)
    assert (now.method, now.url, now.headers) == (before.method, before.url, before.headers)
    assert (now.whole, now.body) == (1, taken)
    assert re.match(rb"POST ", data)


def test_a_head_that_asks_the_hub_for_something_besides_is_not_learnt() -> None:
    for name in WISH_HEADERS:
        data = request(FIRST, name.title() + b": 1")
        assert learn_head(data, FIRST, DIGEST, [], keep_alive=True) is None
