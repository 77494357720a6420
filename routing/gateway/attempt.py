"""One try at one endpoint: what is known of it so far. Times are monotonic seconds."""

from __future__ import annotations

from routing.adapters.base import StreamReader
from routing.core.catalog import Endpoint


class Attempt:
    __slots__ = (
        "answer_at",
        "content_at",
        "credential_id",
        "dropped",
        "endpoint",
        "frames_seen",
        "frames_seen_at",
        "headers_at",
        "last_chunk_at",
        "no",
        "overheard",
        "progress_at",
        "progress_chars",
        "provider_request_id",
        "reader",
        "sent_at",
        "settled",
        "started_wall",
        "status",
    )

    overheard: StreamReader | None  # see gateway.form; unset where no form was asked for

    def __init__(self, endpoint: Endpoint, no: int, sent_at: float, started_wall: float) -> None:
        self.endpoint = endpoint
        self.no = no
        self.sent_at = sent_at
        self.started_wall = started_wall  # Unix seconds
        self.credential_id = 0
        self.status: int | None = None
        self.headers_at: float | None = None
        self.content_at: float | None = None  # first content, reasoning or tool-call delta
        self.answer_at: float | None = None  # first content that is not reasoning
        self.last_chunk_at: float | None = None
        self.provider_request_id = ""
        self.reader: StreamReader | None = None
        self.dropped: tuple[str, ...] = ()
        self.settled = False
        self.progress_chars = 0  # output written down so far
        self.progress_at = sent_at
        self.frames_seen = 0
        self.frames_seen_at = sent_at

    def ms(self, at: float | None) -> float | None:
        """Milliseconds since the attempt was sent."""
        return None if at is None else (at - self.sent_at) * 1000.0

    def mark_first(self, now: float) -> None:
        reader = self.reader
        if reader is None:
            return
        if self.content_at is None and reader.content_started:
            self.content_at = now
        if reader.answer_started:
            self.answer_at = now

    def silent_for_s(self, now: float) -> float:
        """How long no content has come, however many bytes did."""
        frames = self.reader.content_frames if self.reader is not None else 0
        if frames != self.frames_seen:
            self.frames_seen = frames
            self.frames_seen_at = now
        return now - self.frames_seen_at
