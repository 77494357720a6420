"""The writing side of the spool: one append-only segment per process (format: routing.core.spool).

An append is one `pwrite`: it survives any crash of the process. A thread follows with fdatasync, at
most 50 ms later, which bounds what a power loss can take; `durable()` waits for it.

Room is promised before it is needed: while a request is open, space for its closing records is
kept free in a segment that is already allocated. A full disk refuses new requests and settles the
old ones.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from routing.core.record import (
    Finish,
    Intent,
    Progress,
    Record,
    RequestDone,
    encode,
    encode_end,
)
from routing.core.spool import FRAME_HEAD_BYTES, HEADER_BYTES, MAX_BODY_BYTES, SEGMENT_BYTES
from routing.gateway.spool_files import Files
from routing.gateway.spool_open import OpenRequests
from routing.gateway.spool_segment import (
    END_BYTES,
    Author,
    Segment,
    create_segment,
    measure_folder,
    prepare_folder,
    sync_folder,
)
from routing.gateway.spool_waiters import Waiters

log = logging.getLogger(__name__)

SYNC_DELAY_S = 0.04
LOOK_S = 1.0  # how often the folder is measured, and a refused write tried again
CLOSING_BYTES = 4 * 2**10  # kept free for each open request: a Finish and a RequestDone
MAX_UNSYNCED_RECORDS = 20_000


class SpoolFull(Exception):
    """No room for another request: refuse it (503, `accounting_unavailable`)."""


class SpoolStats(NamedTuple):
    segments: int  # of all processes, in the whole folder
    folder_bytes: int
    open_requests: int
    held_records: int  # in memory, because the disk refused them
    dropped_records: int  # progress, and refused requests, while there was no room
    failures: int  # of allocation, write or sync


class SpoolWriter:
    """One per process. Any thread may append; `close` blocks for a moment, so use a thread."""

    def __init__(
        self,
        folder: Path,
        process_name: str,
        max_bytes: int,
        durability: str = "process",
        *,
        segment_bytes: int = SEGMENT_BYTES,
        files: Files | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`max_bytes` bounds the whole folder, but each process may always have two segments.

        Raises OSError when the folder cannot be used, ValueError for a bad name.
        """
        if not re.fullmatch(r"[A-Za-z0-9_.]+", process_name):
            raise ValueError(f"process name {process_name!r}: only letters, digits, _ and .")
        self._folder = folder
        self._author = Author(process_name, os.getpid(), uuid4())
        self._max_bytes = max_bytes
        self._waits_for_disk = durability == "host"
        self._segment_bytes = segment_bytes
        self._files = files or Files()
        self._clock = clock
        self._lock = threading.Lock()
        self._open = OpenRequests()
        self._unsynced: list[bytes] = []
        self._held: list[bytes] = []
        self._done_but_held: list[bytes] = []
        self._dropped = 0
        self._failures = 0
        self._retry_at = 0.0
        self._look_at = 0.0
        self._retired: list[Segment] = []  # the thread syncs and closes them
        self._has_new_name = True
        self._waiters = Waiters()
        self._is_closing = False
        self._is_closed = False
        self._logged_at = 0.0
        self._dirty = threading.Event()
        self._hurry = threading.Event()
        prepare_folder(folder)
        self._use = measure_folder(folder, self._author)
        self._segment = self._create_segment(self._use.next_number)
        self._syncer = threading.Thread(target=self._keep_syncing, name="spool-sync", daemon=True)
        self._syncer.start()

    # --- what the gateway calls -------------------------------------------------------------------

    def has_room(self) -> bool:
        """Whether another request may be admitted. Ask before the first attempt of a request."""
        wanted = (len(self._open) + 2) * CLOSING_BYTES
        if self._held or len(self._unsynced) > MAX_UNSYNCED_RECORDS:
            return False
        if self._segment.free >= wanted:  # `append` looks again, under the lock
            return True
        with self._lock:
            return self._segment.free >= wanted or (
                self._is_within_cap() and self._can_rotate(wanted)
            )

    def append(self, record: Record) -> None:
        """Writes the record without waiting for the disk.

        Raises SpoolFull for an `Intent` without room, and for nothing else: closing records are
        held in memory until the disk takes them again. (ValueError for a record beyond
        MAX_BODY_BYTES and RuntimeError after `close` are mistakes of the caller.)
        """
        body = encode(record)
        with self._lock:
            try:
                if (
                    type(record) is Intent
                    and not self._held
                    and record.request_id not in self._open
                    and self._segment.put_at_once(body, (len(self._open) + 1) * CLOSING_BYTES)
                ):
                    self._open[record.request_id] = body
                    if not self._unsynced:
                        self._dirty.set()
                    self._unsynced.append(body)
                    return
            except OSError as problem:
                self._note_failure(problem)
            self._append_with_care(record, body)

    def append_end(self, finish: Finish, done: RequestDone) -> None:
        """The end of an attempt and of its request, in one write. Like two calls of `append`."""
        body = encode_end(finish, done)
        with self._lock:
            try:
                if not self._held and self._segment.put_at_once(body, 0):
                    self._open.pop(done.request_id, None)
                    if not self._unsynced:
                        self._dirty.set()
                    self._unsynced.append(body)
                    return
            except OSError as problem:
                self._note_failure(problem)
        self.append(finish)
        self.append(done)

    async def durable(self) -> None:
        """With durability `host`: returns when all that was appended so far is on the disk.

        Should the disk fail for good it returns too: the client's answer is not held hostage.
        """
        if not self._waits_for_disk or self._is_closing:
            return
        with self._lock:
            done = self._waiters.add()
        self._hurry.set()
        self._dirty.set()
        await done

    def stats(self) -> SpoolStats:
        with self._lock:
            return SpoolStats(
                self._use.segments,
                self._use.bytes,
                len(self._open),
                len(self._held),
                self._dropped,
                self._failures,
            )

    def close(self) -> None:
        """Syncs and ends the segment. What is still open will be settled as crashed."""
        if self._is_closing:
            return
        self._is_closing = True
        self._hurry.set()
        self._dirty.set()
        self._syncer.join()
        self._sync()
        with self._lock:
            self._is_closed = True
            self._segment.free = 0  # from now on `append` says that it is closed
            if self._held:
                log.error("spool: %d records could not be written", len(self._held))
            self._close_segment()
        self._waiters.release()

    # --- one rule for each kind of record (the lock is held) ----------------------------------------

    def _append_with_care(self, record: Record, body: bytes) -> None:
        if len(body) > MAX_BODY_BYTES:
            raise ValueError(f"a record of {len(body)} bytes; at most {MAX_BODY_BYTES}")
        if self._is_closed:
            raise RuntimeError("the spool is closed")
        _KEEPERS[type(record)](self, record, body)
        self._dirty.set()

    def _keep_intent(self, record: Intent, body: bytes) -> None:
        requests = len(self._open) + (record.request_id not in self._open)
        self._flush_held()
        if self._held or not self._write(body, requests * CLOSING_BYTES):
            raise SpoolFull("the spool has no room for another request")
        self._open.intend(record, body)

    def _keep_progress(self, record: Progress, body: bytes) -> None:
        if self._held or not self._write(body, self._promised()):
            self._dropped += 1
        self._open.progress(record, body)

    def _keep_finish(self, record: Finish, body: bytes) -> None:
        self._write_or_hold(body)
        self._open.finish(record, body)

    def _keep_done(self, record: RequestDone, body: bytes) -> None:
        if record.request_id in self._open:  # until it is written: it may come to a rotation
            if self._write_or_hold(body):
                del self._open[record.request_id]
            else:
                self._done_but_held.append(record.request_id)
        elif self._held or not self._write(body, self._promised()):
            self._dropped += 1  # refused before any attempt: there is no money in it

    # --- writing (the lock is held) -----------------------------------------------------------------

    def _promised(self) -> int:
        return len(self._open) * CLOSING_BYTES

    def _write(self, body: bytes, promised: int) -> bool:
        """Leaves `promised` bytes free beside it and keeps to the cap. False: not written."""
        wanted = len(body) + FRAME_HEAD_BYTES + promised
        if self._segment.free < wanted and not self._is_within_cap():
            return False
        return self._write_beyond_cap(body, wanted)

    def _write_beyond_cap(self, body: bytes, wanted: int = 0) -> bool:
        wanted = max(wanted, len(body) + FRAME_HEAD_BYTES)
        for _ in range(2):
            if self._segment.free < wanted and not (self._can_rotate(wanted) and self._rotate()):
                return False
            try:
                self._segment.put(body)
            except OSError as problem:
                self._note_failure(problem)
                continue
            self._unsynced.append(body)
            return True
        return False

    def _write_or_hold(self, body: bytes) -> bool:
        if not self._held and self._write_beyond_cap(body):
            return True
        self._held.append(body)
        return False

    def _flush_held(self) -> None:
        written = 0
        while written < len(self._held) and self._write_beyond_cap(self._held[written]):
            written += 1
        del self._held[:written]
        if not self._held:
            for request_id in self._done_but_held:
                self._open.pop(request_id, None)
            self._done_but_held.clear()

    # --- segments (the lock is held) ----------------------------------------------------------------

    def _is_within_cap(self) -> bool:
        use = self._use
        return use.own_segments <= 1 or use.bytes + self._segment_bytes <= self._max_bytes

    def _can_rotate(self, wanted: int) -> bool:
        if time.monotonic() < self._retry_at:
            return False
        return self._segment.has_failed or self._needed(wanted) <= self._segment_bytes

    def _needed(self, wanted: int) -> int:
        carried = sum(len(body) + FRAME_HEAD_BYTES for body in self._carried())
        return HEADER_BYTES + carried + wanted + END_BYTES

    def _carried(self) -> Iterator[bytes]:
        """What the next segment begins with."""
        if self._segment.has_failed:
            yield from self._unsynced
        yield from self._open.frames()

    def _rotate(self) -> bool:
        """False when the disk does not allow it; the old segment then stays, and stays locked."""
        old = self._segment
        carried = list(self._carried())
        try:
            fresh = self._create_segment(old.number + 1, self._needed(self._promised()))
            try:
                fresh.put_all(carried)
            except OSError:
                fresh.discard()
                raise
        except OSError as problem:
            self._note_failure(problem)
            self._retry_at = time.monotonic() + LOOK_S
            return False
        self._segment = fresh
        self._unsynced = carried if old.has_failed else self._unsynced + carried
        self._retire(old)
        return True

    def _retire(self, old: Segment) -> None:
        if not old.has_failed:
            with suppress(OSError):  # without its end it reads like a segment that failed
                old.end("rotated")
        self._retired.append(old)

    def _create_segment(self, number: int, needed: int = 0) -> Segment:
        """Larger than others where a failed one left more than fits."""
        size = self._segment_bytes + (needed if needed > self._segment_bytes else 0)
        segment = create_segment(
            self._folder, self._author, number, size, self._clock(), self._files
        )
        self._has_new_name = True
        self._use = self._use.with_own(size)
        return segment

    def _close_segment(self) -> None:
        segment = self._segment
        with suppress(OSError):
            if not segment.has_failed:
                segment.end("closed")
                segment.sync()
        segment.close()

    def _note_failure(self, problem: OSError) -> None:
        self._failures += 1
        now = time.monotonic()
        if now >= self._logged_at + LOOK_S:
            self._logged_at = now
            log.error("spool %s: %s", self._folder, problem.strerror or problem)

    # --- the thread -----------------------------------------------------------------------------------

    def _keep_syncing(self) -> None:
        while not self._is_closing:
            if self._dirty.wait(LOOK_S):
                self._hurry.wait(SYNC_DELAY_S)
            self._hurry.clear()
            self._dirty.clear()
            self._look_at_folder()
            self._sync()

    def _look_at_folder(self) -> None:
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        with suppress(OSError):
            use = measure_folder(self._folder, self._author)
            with self._lock:
                self._use = use

    def _sync(self) -> None:
        with self._lock:
            if self._segment.has_failed and self._can_rotate(0):
                self._rotate()
            self._flush_held()
            batch, self._unsynced = self._unsynced, []
            waiters = self._waiters.take()
            retired, self._retired = self._retired, []
            segment = self._segment
            is_new, self._has_new_name = self._has_new_name, False
        problem = self._sync_all([*retired, segment], is_new) if batch or retired else None
        for old in retired:
            old.close()
        if problem is not None:
            self._rescue(batch, problem)
        waiters.release()

    def _sync_all(self, segments: list[Segment], is_new: bool) -> OSError | None:
        problem = None
        for segment in segments:
            try:
                segment.sync()
            except OSError as exc:
                problem = exc
        with suppress(OSError):
            if is_new:
                sync_folder(self._folder)
        return problem

    def _rescue(self, batch: list[bytes], problem: OSError) -> None:
        """Writes what may not have reached the disk once more, into a new segment."""
        with self._lock:
            self._note_failure(problem)
            self._unsynced[:0] = batch
            self._dirty.set()
            self._segment.fail()
            if not (self._can_rotate(0) and self._rotate()):
                return
            rewritten = self._segment
        try:
            rewritten.sync()
        except OSError as again:
            with self._lock:
                self._note_failure(again)
                self._retry_at = time.monotonic() + LOOK_S  # admits nobody until then


_KEEPERS: dict[type, Callable[[SpoolWriter, Any, bytes], None]] = {
    Intent: SpoolWriter._keep_intent,
    Progress: SpoolWriter._keep_progress,
    Finish: SpoolWriter._keep_finish,
    RequestDone: SpoolWriter._keep_done,
}
