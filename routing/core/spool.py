"""The spool's format: how records lie on disk between the request and Postgres.

One process writes, another (the recorder) reads and ships. This module is the contract of the two;
it opens no file itself.

Folder      mode 0700. Segments are named `<process_name>-<pid>-<n>.spool`, mode 0600. Everything
            else in it is not a segment: `*.new` is being made, `*.ckpt` is the reader's.
Segment     16 MiB, preallocated with zeros: a header of 64 bytes, then frames, then zeros.
            A segment appears under its name complete with header and lock, never half made.
Header      magic, version, segment number, pid, a random id of the writing process (a pid comes
            back after a restart, this id does not), creation time, CRC-32. `read_header`. Whatever
            changes the meaning of a byte changes the version, and a reader sets segments of other
            versions aside.
Frame       u32 length, u32 CRC-32, body; little endian. The body is one encoded record, or the
            `Finish` and `RequestDone` of a request that ended with this attempt
            (`routing.core.record.decode_all`), or the mark of the end. The CRC starts from the
            header's CRC, so neither a block of an older file nor text that a client sent passes
            for a frame.
End         `Ended(how)`, the last frame of a segment that was closed properly. `rotated`: the same
            process goes on in its next segment. `closed`: the process ended in good order.
Liveness    the writer holds an exclusive flock on its current segment, from before the segment has
            its name until it is closed. flock(LOCK_SH | LOCK_NB) succeeds -> nobody writes to it any
            more. Without `Ended` it was then given up: the disk failed under it and the process
            went on in its next segment as after `rotated`, or the process died.
Checkpoint  `<segment>.ckpt`: all before this offset is committed in Postgres. The reader writes it
            (new file, then rename) after COMMIT. Lost or unreadable = 0: shipping again is harmless,
            because every row has its key.

What a reader may rely on
* Records of one process are in the order they were written: by segment number, then by offset.
* An `Intent` is there before the first byte went to the provider, a `RequestDone` before the last
  byte went to the client. `Progress` may be missing.
* Rotation repeats all that is known of every open request (no `RequestDone` yet) at the head of the
  next segment: its `Intent`s and `Finish`es and the last `Progress`. So a segment that is shipped
  up to its end and no longer locked can be deleted, provided it ended `rotated`, or a later one of
  the process exists, or what is open was settled. A record may come twice. Records
  with equal (request_id, attempt_no, type) tell the same thing; of `Progress` the last one counts.
* An attempt is finished when any `Finish` of it was seen, whatever came after, even its `Intent`
  repeated; likewise a request with any `RequestDone`.
* A process has ended when none of its segments (by `process_id` of the header) is locked. Once all
  of them are read to their ends, what is still open will not be finished by anyone: attempts
  without `Finish` and requests without `RequestDone` are to be settled as crashed.
* After its own restart a reader scans from the header again: frames before the checkpoint need no
  shipping, but the open requests among them are needed to settle.

Damage: a frame that fails its CRC and is followed by a good one is reported as `Damaged` and
skipped; one that is followed by nothing good is the torn end of a crash, and the scan stops there.
In a live segment it may also be a write that is under way, so ask again later from the same offset.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import UUID

SEGMENT_SUFFIX = ".spool"
UNFINISHED_SUFFIX = ".new"
CHECKPOINT_SUFFIX = ".ckpt"
SEGMENT_BYTES = 16 * 2**20
MAX_BODY_BYTES = 2**20
FRAME_HEAD_BYTES = 8

_MAGIC = b"PNLSPOOL"
_VERSION = 2  # of the header, the frames and the records in them
_HEADER = struct.Struct("<8sHHII16sd16xI")  # padded to 64 bytes; the CRC covers all before it
_FRAME = struct.Struct("<II")
_END = {b"\xc1rotated": "rotated", b"\xc1closed": "closed"}  # 0xc1 begins no MessagePack value
_END_MARK = 0xC1
_END_BODY = {how: body for body, how in _END.items()}
_BLANK = bytes(FRAME_HEAD_BYTES)
_WINDOW_BYTES = 2**18
_make = tuple.__new__  # a named tuple's own __new__ takes twice as long
_LIVE_SEARCH_BYTES = 2 * MAX_BODY_BYTES
_PLAUSIBLE_HEAD = re.compile(rb"(?s)(?=(?!\x00{4})..[\x00-\x10]\x00....)")

HEADER_BYTES = _HEADER.size

Read = Callable[[int, int], bytes]
"""`read(offset, size)` -> up to `size` bytes of the segment, fewer only at its end (os.pread)."""


class BadSegment(Exception):
    """This is no segment, or its header is damaged. Set it aside; its frames cannot be trusted."""


class SegmentHeader(NamedTuple):
    process_id: UUID  # of one life of one process
    pid: int
    segment_no: int
    created_at: float  # Unix seconds
    crc: int  # where the CRC of every frame starts from


class Frame(NamedTuple):
    offset: int
    end: int  # the checkpoint once this record is committed
    body: bytes


class Damaged(NamedTuple):
    offset: int
    end: int  # a good frame begins here


class Ended(NamedTuple):
    offset: int
    end: int
    how: str  # rotated | closed


class SegmentName(NamedTuple):
    process_name: str
    pid: int
    number: int


def segment_name(process_name: str, pid: int, number: int) -> str:
    return f"{process_name}-{pid}-{number}{SEGMENT_SUFFIX}"


def parse_segment_name(file_name: str) -> SegmentName | None:
    """None for a file that is no segment."""
    found = re.fullmatch(r"([A-Za-z0-9_.-]+)-(\d+)-(\d+)\.spool", file_name)
    return SegmentName(found[1], int(found[2]), int(found[3])) if found else None


def pack_header(process_id: UUID, pid: int, segment_no: int, created_at: float) -> bytes:
    fields = (_MAGIC, _VERSION, HEADER_BYTES, pid, segment_no, process_id.bytes, created_at)
    unsigned = _HEADER.pack(*fields, 0)[:-4]
    return unsigned + zlib.crc32(unsigned).to_bytes(4, "little")


def read_header(data: bytes) -> SegmentHeader:
    """Of the first HEADER_BYTES of a file. Raises BadSegment."""
    if len(data) < HEADER_BYTES:
        raise BadSegment("the file is shorter than a header")
    magic, version, _, pid, number, process_id, created_at, crc = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise BadSegment("the file does not begin like a segment")
    if crc != zlib.crc32(data[: HEADER_BYTES - 4]):
        raise BadSegment("the header fails its CRC")
    if version != _VERSION:
        raise BadSegment(
            f"it is of version {version}, and this release reads version {_VERSION}: ship it with"
            " the recorder of the release that wrote it"
        )
    return SegmentHeader(UUID(bytes=process_id), pid, number, created_at, crc)


pack_frame_head = _FRAME.pack  # (length of the body, its CRC from the header's on)


def pack_frame(body: bytes, header_crc: int) -> bytes:
    return _FRAME.pack(len(body), zlib.crc32(body, header_crc)) + body


def pack_end(how: str, header_crc: int) -> bytes:
    """`how` is rotated or closed."""
    return pack_frame(_END_BODY[how], header_crc)


def pack_checkpoint(offset: int) -> bytes:
    return b"%d\n" % offset


def parse_checkpoint(data: bytes) -> int:
    """HEADER_BYTES, the first frame's offset, when unreadable."""
    text = data.strip()
    return max(int(text), HEADER_BYTES) if text.isdigit() and len(text) < 12 else HEADER_BYTES


def bytes_reader(data: bytes) -> Read:
    return lambda offset, size: data[offset : offset + size]


def frames_ahead(data: bytes, header: SegmentHeader, most: int) -> tuple[list[bytes], int]:
    """Bodies of the good frames that `data` begins with, up to `most`, and how many bytes they take.

    The common case of `scan`, fast: it stops before the mark of the end and at anything odd.
    """
    bodies: list[bytes] = []
    at, size, seed = 0, len(data), header.crc
    while at + FRAME_HEAD_BYTES <= size and len(bodies) < most:
        length, crc = _FRAME.unpack_from(data, at)
        begin = at + FRAME_HEAD_BYTES
        end = begin + length
        if end > size or not 0 < length <= MAX_BODY_BYTES:
            break
        body = data[begin:end]
        if zlib.crc32(body, seed) != crc or body[0] == _END_MARK:
            break
        bodies.append(body)
        at = end
    return bodies, at


def scan(
    read: Read, header: SegmentHeader, start: int = HEADER_BYTES, *, live: bool = False
) -> Iterator[Frame | Damaged | Ended]:
    """Every good frame from `start` (the header's end, or a frame's `end`) on.

    `live` stops at the first unwritten byte; without it, frames behind a hole are found too.
    """
    window = _Window(read)
    offset = start
    item: Frame | Ended | None
    while True:
        for item in _items_in(window, offset, header.crc):
            yield item
            offset = item.end
            if type(item) is Ended:
                return
        item = _item_at(window, offset, header.crc)
        if item is None:
            if live and window.get(offset, FRAME_HEAD_BYTES) in (_BLANK, b""):
                return
            limit = offset + _LIVE_SEARCH_BYTES if live else None
            good = _next_good(window, offset + 1, header.crc, limit)
            if good is None:
                return
            yield Damaged(offset, good)
            offset = good
            continue
        yield item
        if isinstance(item, Ended):
            return
        offset = item.end


def _items_in(window: _Window, offset: int, seed: int) -> Iterator[Frame | Ended]:
    """The good ones one behind the other, as far as they are buffered: the common case, fast."""
    data, at = window.ahead(offset)
    base, size = offset - at, len(data)
    while at + FRAME_HEAD_BYTES <= size:
        length, crc = _FRAME.unpack_from(data, at)
        begin = at + FRAME_HEAD_BYTES
        end = begin + length
        if end > size or not 0 < length <= MAX_BODY_BYTES:
            return
        body = data[begin:end]
        if zlib.crc32(body, seed) != crc:
            return
        if body[0] == _END_MARK:
            yield _item(base + at, base + end, body)
        else:
            yield _make(Frame, (base + at, base + end, body))
        at = end


def _item(offset: int, end: int, body: bytes) -> Frame | Ended:
    how = _END.get(body)
    return Ended(offset, end, how) if how else Frame(offset, end, body)


class _Window:
    """Buffers `read`, so that small frames do not cost a read each."""

    __slots__ = ("_data", "_offset", "_read")

    def __init__(self, read: Read) -> None:
        self._read = read
        self._offset = 0
        self._data = b""

    def ahead(self, offset: int) -> tuple[bytes, int]:
        """All that is buffered, and where `offset` is in it."""
        if not 0 <= offset - self._offset < len(self._data):
            self._fill(offset, _WINDOW_BYTES)
        return self._data, offset - self._offset

    def get(self, offset: int, size: int) -> bytes:
        begin = offset - self._offset
        if begin < 0 or begin + size > len(self._data):
            self._fill(offset, max(size, _WINDOW_BYTES))
            begin = 0
        return self._data[begin : begin + size]

    def _fill(self, offset: int, size: int) -> None:
        self._data = self._read(offset, size)
        self._offset = offset


def _item_at(window: _Window, offset: int, seed: int) -> Frame | Ended | None:
    head = window.get(offset, FRAME_HEAD_BYTES)
    if len(head) < FRAME_HEAD_BYTES:
        return None
    length, crc = _FRAME.unpack(head)
    if not 0 < length <= MAX_BODY_BYTES:
        return None
    body = window.get(offset + FRAME_HEAD_BYTES, length)
    if len(body) < length or zlib.crc32(body, seed) != crc:
        return None
    end = offset + FRAME_HEAD_BYTES + length
    return _item(offset, end, body)


def _next_good(window: _Window, offset: int, seed: int, limit: int | None) -> int | None:
    while limit is None or offset < limit:
        data = window.get(offset, _WINDOW_BYTES)
        if len(data) < FRAME_HEAD_BYTES:
            return None
        for candidate in _PLAUSIBLE_HEAD.finditer(data):
            at = offset + candidate.start()
            if _item_at(window, at, seed) is not None:
                return at
        offset += len(data) - FRAME_HEAD_BYTES + 1
    return None
