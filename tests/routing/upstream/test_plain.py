"""The quick reader of plain answers never differs from the parser: it agrees or leaves it alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from routing.gateway.upstream.heads import MAX_HEAD_BYTES, MAX_HEADERS, head_fault
from routing.gateway.upstream.plain import pairs_in, read_plain, value_in
from tests.routing.upstream.scripted import plain


@dataclass
class Parsed:
    """What the parser makes of the same bytes."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    began: int = 0
    ended: int = 0
    is_reusable: bool = False

    @classmethod
    def of(cls, data: bytes) -> Parsed:
        parsed = cls()
        parsed._parser = httptools.HttpResponseParser(parsed)
        parsed._parser.feed_data(data)
        return parsed

    _parser: httptools.HttpResponseParser = field(init=False, repr=False)

    def on_message_begin(self) -> None:
        self.began += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.ended += 1
        self.is_reusable = self._parser.should_keep_alive()


def assert_agreement(data: bytes) -> None:
    read = read_plain(data)
    if read is None:
        return
    headers, body = pairs_in(read.head), read.body
    parsed = Parsed.of(data)  # which raises for what is malformed
    assert (parsed.status, parsed.headers, parsed.body) == (200, headers, body)
    assert (parsed.began, parsed.ended, parsed.is_reusable) == (1, 1, True)
    assert head_fault("host", parsed.status, parsed.headers) is None
    for name, _ in parsed.headers:
        first = next(value for other, value in parsed.headers if other == name)
        assert value_in(read.head, read.lower, b"\n%b: " % name) == first
    assert len(data) - len(body) <= MAX_HEAD_BYTES


USUAL = (
    plain(b'{"a": 1}'),
    plain(b""),
    plain(b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
    plain(b"\x00\xff" * 5000),
    plain(b"ok", "200 OK", "Connection: keep-alive", "Content-Type: application/json"),
    plain(b"ok", "200 OK", "connection: Keep-Alive", "Keep-Alive: timeout=5, max=100"),
    plain(b"ok", "200 OK", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2", "x_y: a: b:c"),
    plain(b"ok", "200 OK", *["x-a: b"] * (MAX_HEADERS - 1)),
    plain(b"ok", "200 OK", 'server-timing: total;dur=1.5, "a" (b) [c] {d} <e> \\ ~'),
)

UNUSUAL = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n",
    "half a body": plain(b"hello")[:-1],
    "surplus": plain(b"hello") + b"!",
    "a second answer": plain(b"") + plain(b""),
    "no headers": b"HTTP/1.1 200 OK\r\n\r\n",
    "no length": b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n",
    "an empty line first": b"\r\n" + plain(b"ok"),
    "http 1.0": plain(b"ok").replace(b"1.1", b"1.0"),
    "another reason": plain(b"ok", "200 Fine"),
    "another status": plain(b"", "204 No Content"),
    "not modified": plain(b"", "304 Not Modified"),
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n" + plain(b"ok"),
    "two equal lengths": plain(b"ok", "200 OK", "content-length: 2"),
    "two lengths": plain(b"ok", "200 OK", "Content-Length: 3"),
    "a list of lengths": plain(b"ok").replace(b": 2", b": 2, 2"),
    "a signed length": plain(b"ok").replace(b": 2", b": +2"),
    "a length of another spelling": plain(b"ok").replace(b": 2", b": 02"),
    "an empty length": plain(b"").replace(b": 0", b": "),
    "an underlined length": plain(b"x" * 10).replace(b": 10", b": 1_0"),
    "chunks": plain(b"ok", "200 OK", "transfer-encoding: chunked"),
    "identity transfer": plain(b"ok", "200 OK", "transfer-encoding: identity"),
    "compressed": plain(b"ok", "200 OK", "content-encoding: gzip"),
    "close": plain(b"ok", "200 OK", "Connection: close"),
    "keep-alive and close": plain(b"ok", "200 OK", "Connection: keep-alive, close"),
    "proxy close": plain(b"ok", "200 OK", "proxy-connection: close"),
    "upgrade": plain(b"ok", "200 OK", "upgrade: h2c"),
    "no space": plain(b"ok", "200 OK", "x:y"),
    "two spaces": plain(b"ok", "200 OK", "x:  y"),
    "a tab": plain(b"ok", "200 OK", "x: \ty"),
    "a tab inside": plain(b"ok", "200 OK", "x: y\tz"),
    "a space at the end": plain(b"ok", "200 OK", "x: y "),
    "an empty value": plain(b"ok", "200 OK", "x: "),
    "a space before the colon": plain(b"ok", "200 OK", "x : y"),
    "a space before the name": plain(b"ok", "200 OK", " x: y"),
    "a name with a space": plain(b"ok", "200 OK", "x y: z"),
    "no name": plain(b"ok", "200 OK", ": y"),
    "no colon": plain(b"ok", "200 OK", "xy"),
    "folded": plain(b"ok", "200 OK", "x: y\r\n z: w"),
    "a bare line feed": plain(b"ok", "200 OK", "x: y\nz: w"),
    "a bare carriage return": plain(b"ok", "200 OK", "x: y\rz: w"),
    "a head of bare line feeds": plain(b"ok").replace(b"\r\n", b"\n"),
    "nul": plain(b"ok", "200 OK", "x: a\x00b"),
    "delete": plain(b"ok", "200 OK", "x: a\x7fb"),
    "a high byte": plain(b"ok", "200 OK", "x: ä"),
    "a high byte in a name": plain(b"ok", "200 OK", "ä: x"),
    "too many headers": plain(b"ok", "200 OK", *["x-a: b"] * MAX_HEADERS),
    "a head too large": plain(b"ok", "200 OK", "x: " + "a" * MAX_HEAD_BYTES),
}


@pytest.mark.parametrize("data", USUAL)
def test_it_reads_a_usual_answer_as_the_parser_does(data: bytes) -> None:
    assert read_plain(data) is not None
    assert_agreement(data)


@pytest.mark.parametrize("case", UNUSUAL)
def test_it_leaves_the_unusual_to_the_parser(case: str) -> None:
    assert read_plain(UNUSUAL[case]) is None


NAMES = st.sampled_from(
    (
        *(b"content-length", b"Content-Length", b"Transfer-Encoding", b"connection", b"Upgrade"),
        *(b"content-encoding", b"proxy-connection", b"Set-Cookie", b"Date", b"x", b"X_y", b"-"),
        *(b"content-length ", b" x", b"x\t", b"", b"x\xe4", b'x"y', b"http/1.1", b"x!#$%&'*+.^`|~"),
    )
)
VALUES = st.sampled_from(
    (
        *(b"y", b"0", b"2", b"3", b"02", b"+2", b"2, 2", b"0x2", b"chunked", b"gzip", b"identity"),
        *(
            b"keep-alive",
            b"Keep-Alive",
            b"close",
            b"upgrade",
            b"keep-alive, close",
            b"",
            b" ",
            b"a b",
        ),
        *(
            b"y ",
            b" y",
            b"y\t",
            b"y\r",
            b"y\nz: w",
            b"y\r\n z",
            b"y\x00",
            b"\xff",
            b"a:b: c",
            b"\x7f",
        ),
    )
)
HEADERS = st.one_of(
    st.sampled_from((b"content-type: text/plain\r\n", b"Connection: keep-alive\r\n")),
    st.sampled_from(  # each alone would make a difference
        (
            b"connection: close\r\n",
            b"Proxy-Connection: close\r\n",
            b"transfer-encoding: chunked\r\n",
            b"content-encoding: gzip\r\n",
            b"x: y\x00z\r\n",
            b"x: y\rz\r\n",
            b"x: y\nz\r\n",
            b"x:  y\r\n",
            b"x: y \r\n",
            b"x y: z\r\n",
        )
    ),
    st.builds(
        lambda name, colon, value, end: name + colon + value + end,
        NAMES,
        st.sampled_from((b": ",) * 6 + (b":", b":  ", b":\t", b" : ", b"")),
        VALUES,
        st.sampled_from((b"\r\n",) * 6 + (b"\n", b"\r", b"\r\r\n", b"\r\n\r\n", b"\n\r\n", b"")),
    ),
)
FIRST_LINES = st.sampled_from(
    (b"HTTP/1.1 200 OK\r\n",) * 6
    + (b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 OK\r\n", b"HTTP/1.1 200 OK\n", b"http/1.1 200 OK\r\n")
)
BODIES = st.sampled_from(
    (b"", b"ok", b"2\r\nok\r\n0\r\n\r\n", b"\r\n\r\n", plain(b""), b"\x00" * 10)
)
EDITS = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.integers(0, 2),  # bytes taken out
        st.sampled_from(
            (b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b":", b"\x00", b"-", b"1", b"\x80")
        ),
    ),
    max_size=2,
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Answers like a provider's, and some that somebody has tampered with."""
    body = draw(BODIES)
    lines = draw(st.lists(HEADERS, max_size=4))
    sized = b"Content-Length: %d\r\n" % (len(body) + draw(st.sampled_from((0,) * 8 + (-1, 1))))
    lines.insert(draw(st.integers(0, len(lines))), sized)
    data = draw(FIRST_LINES) + b"".join(lines) + b"\r\n" + body
    for at, taken, put in draw(EDITS):
        data = data[:at] + put + data[at + taken :]
    return data


@settings(max_examples=200)
@given(answers())
@example(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\n: y\r\n\r\nok")
@example(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\n\r\n\r\n")
def test_it_never_differs_from_the_parser(data: bytes) -> None:
    assert_agreement(data)


@given(st.lists(HEADERS, max_size=3), st.binary(max_size=30))
def test_whatever_the_bytes_it_never_differs_from_the_parser(
    lines: list[bytes], tail: bytes
) -> None:
    for size in range(3):
        head = b"HTTP/1.1 200 OK\r\n" + b"".join(lines) + b"content-length: %d\r\n" % size
        assert_agreement(head + tail)
        assert_agreement(head + b"\r\n" + tail[:size])
