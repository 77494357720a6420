"""Reads all segments of the spool folder in order and gathers batches of rows.

Nothing is lost by stopping anywhere: what a batch contains is forgotten on disk only after
`Batch.committed`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from analytics.recorder.open_requests import OpenRequests, Rows, Settle
from analytics.recorder.quarantine import Quarantine
from analytics.recorder.segments import Segment, segment_paths
from routing.core.spool import FRAME_HEAD_BYTES, BadSegment, Damaged

CHECK_WRITER_EVERY_S = 1.0


@dataclass(slots=True)
class Batch:
    rows: Rows = field(default_factory=Rows)
    read_to: dict[Segment, int] = field(default_factory=dict)
    finished: list[Segment] = field(default_factory=list)

    @property
    def is_worth_shipping(self) -> bool:
        return bool(len(self.rows) or self.finished)

    def committed(self) -> None:
        for segment in self.finished:
            self.read_to.pop(segment, None)
            segment.delete()
        for segment, offset in self.read_to.items():
            segment.save_checkpoint(offset)


class Process:
    """One life of one writing process: its segments in order, its open requests."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.read: list[Segment] = []  # used up, and kept until the process is settled
        self.open = OpenRequests()
        self.ended = False  # nothing will be written any more, and all was read
        self.next_check = 0.0

    def add(self, segment: Segment) -> None:
        self.segments.append(segment)
        self.segments.sort(key=lambda found: found.header.segment_no)


class SpoolReader:
    def __init__(self, folder: Path, quarantine: Quarantine) -> None:
        self._folder = folder
        self._quarantine = quarantine
        self._known: dict[Path, Segment] = {}
        self._processes: dict[UUID, Process] = {}

    def fill(self, batch: Batch, limit: int, now: float) -> None:
        """Reads on until the batch has about `limit` rows or there is nothing more."""
        self._find_segments()
        for process in self._processes.values():
            self._read(process, batch, limit, now)
            if len(batch.rows) >= limit:
                return

    def ended(self) -> list[Process]:
        """Processes that will write no more, with all of it read."""
        return [process for process in self._processes.values() if process.ended]

    def settle(self, process: Process, finish_of: Settle, batch: Batch) -> None:
        """Closes the books of an ended process; its segments go when the batch is committed."""
        batch.rows.extend(process.open.settle(finish_of))
        batch.finished += process.read + process.segments
        self._processes = {
            key: other for key, other in self._processes.items() if other is not process
        }

    def close(self) -> None:
        for process in self._processes.values():
            for segment in process.read + process.segments:
                segment.close()
        self._processes.clear()

    def _find_segments(self) -> None:
        """A name that we deleted may be there again: a process gives its next spool the same."""
        paths = set(segment_paths(self._folder))
        self._known = {
            path: segment
            for path, segment in self._known.items()
            if path in paths and not segment.is_deleted
        }
        for path in paths - self._known.keys():
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            segment = Segment(path)
        except BadSegment as exc:
            self._quarantine.move(path, str(exc))
        except FileNotFoundError:
            pass
        else:
            self._known[path] = segment
            self._processes.setdefault(segment.header.process_id, Process()).add(segment)

    def _read(self, process: Process, batch: Batch, limit: int, now: float) -> None:
        while process.segments and not process.ended:
            segment = process.segments[0]
            if segment.has_news:
                self._take(segment, process, batch, limit, live=True)
            if len(batch.rows) >= limit or not self._is_used_up(process, batch, limit, now):
                return
            if segment.ended == "rotated":  # its open requests are repeated in the next one
                batch.finished.append(process.segments.pop(0))
            elif len(process.segments) > 1:  # it died while rotating: both tell of one life
                process.read.append(process.segments.pop(0))
            else:
                process.ended = True

    def _is_used_up(self, process: Process, batch: Batch, limit: int, now: float) -> bool:
        """Whether nothing can come any more in the first segment. Asks the lock once a second."""
        segment = process.segments[0]
        if segment.ended:
            return True
        if now < process.next_check and len(process.segments) == 1:
            return False
        process.next_check = now + CHECK_WRITER_EVERY_S
        if segment.is_written():
            return False
        self._take(segment, process, batch, limit, live=False)  # what came until it died
        if len(batch.rows) >= limit:
            process.next_check = now
            return False
        if torn := segment.torn_bytes():
            name = f"{segment.path.name}.{segment.position}.torn"
            self._quarantine.keep(name, torn, "the torn end of a process that died while writing")
        return True

    def _take(
        self, segment: Segment, process: Process, batch: Batch, limit: int, *, live: bool
    ) -> None:
        while len(batch.rows) < limit:
            if self._take_ahead(segment, process.open, batch.rows, limit):
                continue
            if (live and not segment.has_news) or not self._take_next(
                segment, process.open, batch.rows, live=live
            ):
                break
        if segment.position > segment.shipped:
            batch.read_to[segment] = segment.position

    def _take_ahead(self, segment: Segment, requests: OpenRequests, rows: Rows, limit: int) -> bool:
        """Many frames at once."""
        start, is_shipped = segment.position, segment.is_shipped
        bodies = segment.ahead(limit - len(rows))

        def refuse(body: bytes, reason: str) -> None:
            before = bodies[: bodies.index(body)]
            offset = start + sum(len(one) + FRAME_HEAD_BYTES for one in before)
            self._set_aside(segment, offset, body, reason)

        requests.take_frames(bodies, Rows() if is_shipped else rows, refuse)
        return bool(bodies)

    def _take_next(
        self, segment: Segment, requests: OpenRequests, rows: Rows, *, live: bool
    ) -> bool:
        """One frame, or what stands in its place."""
        item = next(segment.frames(live=live), None)
        if isinstance(item, Damaged):
            raw = segment.raw(item)
            self._set_aside(segment, item.offset, raw, "the frame fails its checksum")
        elif item is not None:
            offset = item.offset
            requests.take_frames(
                [item.body],
                rows if item.end > segment.shipped else Rows(),
                lambda body, reason: self._set_aside(segment, offset, body, reason),
            )
        return item is not None

    def _set_aside(self, segment: Segment, offset: int, data: bytes, reason: str) -> None:
        self._quarantine.keep(f"{segment.path.name}.{offset}.frame", data, reason)
