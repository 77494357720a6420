"""The format alone: what is written comes back, and damage takes nothing with it."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.spool import (
    HEADER_BYTES,
    MAX_BODY_BYTES,
    BadSegment,
    Damaged,
    Ended,
    Frame,
    SegmentName,
    bytes_reader,
    pack_checkpoint,
    pack_end,
    pack_frame,
    pack_header,
    parse_checkpoint,
    parse_segment_name,
    read_header,
    scan,
    segment_name,
)

PROCESS = UUID(int=7)
HEAD = pack_header(PROCESS, 42, 3, 1000.5)
HEADER = read_header(HEAD)
BODIES = st.lists(st.binary(min_size=1, max_size=60).filter(lambda b: b[0] != 0xC1), max_size=12)


def segment(bodies: list[bytes], how: str = "", blank: int = 0) -> bytes:
    frames = b"".join(pack_frame(body, HEADER.crc) for body in bodies)
    end = pack_end(how, HEADER.crc) if how else b""
    return HEAD + frames + end + bytes(blank)


def bodies_of(data: bytes, live: bool = False, start: int = HEADER_BYTES) -> list[bytes]:
    items = scan(bytes_reader(data), HEADER, start, live=live)
    return [item.body for item in items if isinstance(item, Frame)]


def test_a_header_comes_back() -> None:
    assert HEADER[:4] == (PROCESS, 42, 3, 1000.5)
    assert len(HEAD) == HEADER_BYTES


@settings(max_examples=150, deadline=None)
@given(BODIES, st.sampled_from(["", "rotated", "closed"]), st.integers(0, 300), st.booleans())
def test_what_is_written_comes_back(bodies: list[bytes], how: str, blank: int, live: bool) -> None:
    items = list(scan(bytes_reader(segment(bodies, how, blank)), HEADER, live=live))
    assert [item.body for item in items if isinstance(item, Frame)] == bodies
    assert [item.how for item in items if isinstance(item, Ended)] == ([how] if how else [])
    assert not [item for item in items if isinstance(item, Damaged)]


@settings(max_examples=150, deadline=None)
@given(BODIES, st.data())
def test_a_segment_cut_at_any_byte_keeps_all_before_the_cut(
    bodies: list[bytes], data: st.DataObject
) -> None:
    whole = segment(bodies)
    cut = data.draw(st.integers(HEADER_BYTES, len(whole)))
    blank = data.draw(st.sampled_from([0, 1, 7, 500]))
    kept = bodies_of(whole[:cut] + bytes(blank))
    assert kept == bodies[: len(kept)]
    assert len(segment(bodies[: len(kept) + 1])) > cut or kept == bodies


@settings(max_examples=150, deadline=None)
@given(BODIES.filter(bool), st.data())
def test_one_flipped_byte_costs_one_record_at_most(
    bodies: list[bytes], data: st.DataObject
) -> None:
    whole = bytearray(segment(bodies, "closed", blank=100))
    at = data.draw(st.integers(HEADER_BYTES, len(segment(bodies)) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    items = list(scan(bytes_reader(bytes(whole)), HEADER))
    kept = [item.body for item in items if isinstance(item, Frame)]
    assert kept in [bodies[:lost] + bodies[lost + 1 :] for lost in range(len(bodies))]
    [damaged] = [item for item in items if isinstance(item, Damaged)]
    assert damaged.offset <= at < damaged.end
    assert isinstance(items[-1], Ended)


@settings(max_examples=60, deadline=None)
@given(BODIES, st.binary(min_size=1, max_size=400), BODIES.filter(bool))
def test_garbage_in_the_middle_is_reported_and_skipped(
    before: list[bytes], garbage: bytes, behind: list[bytes]
) -> None:
    tail = segment(behind)[HEADER_BYTES:]
    data = segment(before) + garbage + tail
    kept = bodies_of(data)
    assert kept[: len(before)] == before
    assert kept[-1] == behind[-1]


def test_a_hole_hides_what_is_behind_it_only_while_the_writer_lives() -> None:
    data = segment([b"one"]) + bytes(600_000) + segment([b"two"])[HEADER_BYTES:]
    assert bodies_of(data, live=True) == [b"one"]
    assert bodies_of(data) == [b"one", b"two"]


def test_a_write_under_way_is_asked_for_again() -> None:
    whole = segment([b"one", b"two"])
    half = whole[:-2] + bytes(100)
    items = list(scan(bytes_reader(half), HEADER, live=True))
    assert items == [Frame(HEADER_BYTES, len(segment([b"one"])), b"one")]
    assert bodies_of(whole, live=True, start=items[-1].end) == [b"two"]


def test_a_scan_goes_on_from_any_checkpoint() -> None:
    data = segment([b"a", b"bb", b"ccc"], "closed")
    items = list(scan(bytes_reader(data), HEADER))
    for number, item in enumerate(items):
        assert list(scan(bytes_reader(data), HEADER, item.end)) == (
            items[number + 1 :] if not isinstance(item, Ended) else []
        )


def test_frames_of_another_segment_do_not_count() -> None:
    """Blocks of a deleted file, or text of a client, that look like a frame."""
    other = read_header(pack_header(UUID(int=8), 42, 3, 1000.5))
    forged = pack_frame(b"forged", other.crc) + pack_frame(b"forged", 0)
    inside = pack_frame(b"a client said: " + forged, HEADER.crc)
    damaged = bytearray(HEAD + inside + pack_frame(b"good", HEADER.crc))
    damaged[HEADER_BYTES + 9] ^= 1
    assert bodies_of(bytes(damaged) + forged) == [b"good"]


def test_nothing_is_read_behind_the_end() -> None:
    data = segment([b"one"], "rotated") + pack_frame(b"late", HEADER.crc)
    assert bodies_of(data) == [b"one"]


def test_large_records_and_many_small_ones_are_read() -> None:
    bodies = [b"x" * MAX_BODY_BYTES, *[b"%d" % number for number in range(30_000)]]
    assert bodies_of(segment(bodies, blank=1000)) == bodies


@pytest.mark.parametrize("at", [*range(44), HEADER_BYTES - 4, HEADER_BYTES - 1])
def test_a_damaged_header_is_no_segment(at: int) -> None:
    data = bytearray(HEAD)
    data[at] ^= 0x40
    with pytest.raises(BadSegment):
        read_header(bytes(data))


@pytest.mark.parametrize("data", [b"", b"PNLSPOOL", bytes(HEADER_BYTES), HEAD[:-1]])
def test_what_is_too_short_or_blank_is_no_segment(data: bytes) -> None:
    with pytest.raises(BadSegment):
        read_header(data)


def test_names_come_back() -> None:
    name = segment_name("gateway-a.1", 12, 3)
    assert name == "gateway-a.1-12-3.spool"
    assert parse_segment_name(name) == SegmentName("gateway-a.1", 12, 3)


@pytest.mark.parametrize(
    "name", ["x.spool", "a-1-2.spool.ckpt", "a-1-2.new", "a-b-2.spool", "a/b-1-2.spool", "-1-2"]
)
def test_other_files_are_no_segments(name: str) -> None:
    assert parse_segment_name(name) is None


@pytest.mark.parametrize("offset", [HEADER_BYTES, 12_345, 16 * 2**20])
def test_a_checkpoint_comes_back(offset: int) -> None:
    assert parse_checkpoint(pack_checkpoint(offset)) == offset


@pytest.mark.parametrize("data", [b"", b"-5", b"12a", b"\xff\xfe", b"9" * 50, b"0", b"3"])
def test_an_unreadable_checkpoint_means_from_the_beginning(data: bytes) -> None:
    assert parse_checkpoint(data) == HEADER_BYTES


def test_the_format_does_not_change_unseen() -> None:
    head = pack_header(UUID(int=1), 2, 3, 4.0)
    assert head.hex() == (
        "504e4c53504f4f4c"
        "0200"
        "4000"
        "02000000"
        "03000000"
        "00000000000000000000000000000001"
        "0000000000001040" + "00" * 16 + "34f01395"
    )
    assert pack_frame(b"\x93\x01\x02\x03", 5).hex() == "040000006b38921393010203"
