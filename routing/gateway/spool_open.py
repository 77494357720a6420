"""What the writer keeps of requests that have not ended, to repeat it in the next segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from routing.core.record import Finish, Intent, Progress, decode

Frames = dict[tuple[type, int], bytes]
"""By kind of record and number of attempt, in the order they were written."""


class OpenRequests(dict[bytes, bytes | Frames]):
    """By request id. Most know one `Intent` alone, and are kept as its bytes."""

    __slots__ = ()

    def intend(self, record: Intent, body: bytes) -> None:
        frames = self._frames_of(record.request_id)
        if frames is None:
            self[record.request_id] = body
        else:
            frames[Intent, record.attempt_no] = body

    def progress(self, record: Progress, body: bytes) -> None:
        frames = self._frames_of(record.request_id)
        if frames is not None:
            frames[Progress, record.attempt_no] = body

    def finish(self, record: Finish, body: bytes) -> None:
        frames = self._frames_of(record.request_id)
        if frames is not None:
            frames.pop((Progress, record.attempt_no), None)
            frames[Finish, record.attempt_no] = body

    def frames(self) -> Iterator[bytes]:
        for known in self.values():
            if isinstance(known, bytes):
                yield known
            else:
                yield from known.values()

    def _frames_of(self, request_id: bytes) -> Frames | None:
        known = self.get(request_id)
        if isinstance(known, bytes):
            first = cast(Intent, decode(known))
            known = self[request_id] = {(Intent, first.attempt_no): known}
        return known
