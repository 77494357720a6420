"""What the event streams of images, transcripts and speech share. Events are passed on as they are.

They end with an event of their own, which tells the usage, and not with [DONE].
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from typing_extensions import override

from routing.adapters import errors, sse
from routing.adapters.base import ChatCall
from routing.adapters.jsonio import dict_of, dumps, loads, text_of
from routing.adapters.stream import EventStream
from routing.core.catalog import Endpoint
from routing.core.usage import Meter, Usage

EVENT_STREAM = b"text/event-stream"
DONE = b"[DONE]"


class KindStream(EventStream):
    """A subclass says what an event means (`_on_event`), and calls `_end_with` at the last one."""

    most_event_bytes = 32 * 2**20  # a picture in base64 is one event

    def __init__(self, call: ChatCall, endpoint: Endpoint) -> None:
        super().__init__(call, endpoint)
        self._endpoint = endpoint

    @override
    def _on_frame(self, frame: sse.Frame) -> bytes:
        if frame.data.strip() == DONE:
            return self._truncated()
        document = loads(frame.data)
        if errors.is_error(document):
            return self._refuse(document)
        event = dict_of(document)
        return self._on_event(
            text_of(event.get("type")) or frame.name.decode("utf-8", "replace"),
            event,
            as_sent(frame),
        )

    @abstractmethod
    def _on_event(self, name: str, event: dict[str, Any], sent: bytes) -> bytes:
        """Client bytes for one event; `sent` are those that pass it on unchanged."""

    def _end_with(self, usage: Usage, raw_usage: dict[str, Any]) -> None:
        self.usage = usage
        self.usage_raw = dumps(raw_usage) if raw_usage else b""
        self.done = True

    @override
    def _ended(self) -> bool:
        return self.done

    @override
    def _usage_chunk(self, shown: dict[str, Any]) -> bytes:
        return b""  # the usage stands in the last event


def as_sent(frame: sse.Frame) -> bytes:
    name = b"event: %b\n" % frame.name if frame.name else b""
    return name + sse.encode(frame.data)


def begun_usage(endpoint: Endpoint, meter: Meter, field: str, quantity: int) -> Usage:
    """What an answer has used once it has begun, where its end never comes.

    The quantity that was sent in, if that is what is billed there; else tokens, which nobody told.
    """
    priced = {row.meter for row in endpoint.prices.rows}
    known: dict[str, Any] = {field: quantity} if meter in priced else {}
    return Usage(
        input_total=None if Meter.INPUT in priced else 0,
        output_total=None if Meter.OUTPUT in priced else 0,
        **known,
    )
