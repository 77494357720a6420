from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters import sse
from routing.adapters.sse import COMMENT, Frame, FrameSplitter


def frames_of(data: bytes, size: int = 0) -> list[Frame]:
    splitter = FrameSplitter()
    step = size or max(len(data), 1)
    frames = []
    for at in range(0, len(data), step):
        frames += splitter.feed(data[at : at + step])
    return frames + splitter.close()


@pytest.mark.parametrize(
    ("data", "frames"),
    [
        (b'data: {"a":1}\n\n', [Frame(b'{"a":1}')]),
        (b'data:{"a":1}\n\n', [Frame(b'{"a":1}')]),
        (b"data:  two\n\n", [Frame(b" two")]),
        (b"data: a\r\n\r\n", [Frame(b"a")]),
        (b"data: a\r\rdata: b\r\r", [Frame(b"a"), Frame(b"b")]),
        (b"data: a\ndata: b\n\n", [Frame(b"a\nb")]),
        (b"data\n\n", [Frame(b"")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Frame(b"a")]),
        (b": keep-alive\n\ndata: a\n\n", [Frame(b" keep-alive", COMMENT), Frame(b"a")]),
        (b"event: error\nid: 7\nretry: 10\ndata: a\n\n", [Frame(b"a", b"error")]),
        (b"event: ping\n\ndata: a\n\n", [Frame(b"a")]),
        (b"data: a", [Frame(b"a")]),
        (b"data: a\n", [Frame(b"a")]),
        (b"unknown: a\n\n", []),
        (b"\n\n\r\n", []),
        (b"", []),
        ("data: x\u2028y\u0085z\x0b\x1c\n\n".encode(), [Frame("x\u2028y\u0085z\x0b\x1c".encode())]),
    ],
)
def test_it_splits_by_the_grammar_of_event_streams_whole_or_byte_by_byte(
    data: bytes, frames: list[Frame]
) -> None:
    assert frames_of(data) == frames
    assert frames_of(data, size=1) == frames


LINES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data: {}",
        b": c",
        b"event: x",
        b"data",
        b"",
        b"",
        "data: é\u2028".encode(),
    ]
)
ENDINGS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@settings(max_examples=150)
@given(st.lists(st.tuples(LINES, ENDINGS), max_size=12), st.integers(1, 7))
def test_frames_do_not_depend_on_how_the_bytes_were_sliced(
    lines: list[tuple[bytes, bytes]], size: int
) -> None:
    data = b"".join(line + ending for line, ending in lines)
    assert frames_of(data, size) == frames_of(data)


@pytest.mark.parametrize("size", [1, 3, 0])
@pytest.mark.parametrize(
    ("data", "overflows"),
    [
        (b"data: " + b"x" * 57 + b"\n\n", False),
        (b"data: " + b"x" * 58 + b"\n\n", True),
        (b"data: {" + b"x" * 55 + b"}\n\n", False),
        (b"data: {" + b"x" * 56 + b"}\n\n", True),
        (b"data: aaaa\n" * 6 + b"\n", True),
        (b"data: a\n\n" * 40, False),
        (b": a\n" * 40, False),
        (b"x" * 66, True),
    ],
)
def test_an_event_above_the_limit_overflows_however_it_is_sliced(
    data: bytes, overflows: bool, size: int
) -> None:
    splitter = FrameSplitter(limit=65)
    data = b": start\n\n" + data
    for at in range(0, len(data), size or len(data)):
        splitter.feed(data[at : at + (size or len(data))])
    assert splitter.overflow is overflows


def test_events_before_the_one_that_is_too_large_are_still_given() -> None:
    splitter = FrameSplitter(limit=20)
    assert splitter.feed(b"data: ok\n\ndata: " + b"x" * 40) == [Frame(b"ok")]
    assert splitter.overflow
    assert splitter.feed(b"data: later\n\n") == []
    assert splitter.close() == []


def test_a_payload_with_a_line_break_becomes_one_line() -> None:
    assert sse.encode(b'{"a":\n1}') == b'data: {"a": 1}\n\n'


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"text/event-stream", True),
        (b"text/event-stream; charset=utf-8", True),
        (b"application/json", False),
        (b"Application/JSON; charset=utf-8", False),
        (b"text/html", False),
        (b"text/plain", True),
        (b"", True),
    ],
)
def test_only_a_content_type_that_says_so_rules_a_stream_out(
    content_type: bytes, expected: bool
) -> None:
    assert sse.looks_like_stream([(b"content-type", content_type)]) is expected
