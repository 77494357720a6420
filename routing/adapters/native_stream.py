"""A provider's own event stream, passed on byte for byte while its events are read."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import Any

from typing_extensions import override

from routing.adapters import sse
from routing.adapters.base import ChatCall
from routing.adapters.jsonio import dict_of, loads, text_of
from routing.adapters.stream import EventStream
from routing.adapters.whole_events import WholeEvents
from routing.core.catalog import Endpoint

_DATA_LINE = re.compile(rb"(?:\A|[\r\n])data:")


class NativeStream(EventStream):
    """Whole events only: what a client got can be followed by an event of ours at any time.

    A subclass says what an event means (`_on_event`), and calls `_finish` at the last one.
    """

    def __init__(self, call: ChatCall, endpoint: Endpoint) -> None:
        super().__init__(call, endpoint)
        self.is_native = True
        self._events = WholeEvents()

    @override
    def feed(self, data: bytes) -> bytes:
        if self._is_over():
            return b""
        passed = []
        for event in self._events.feed(data):
            super().feed(event)
            if self.error is not None:
                break
            passed.append(event)
            if self.done:
                break
        if len(self._events.rest) > self.most_event_bytes and not self._is_over():
            self._too_large()
        return b"".join(passed)

    @override
    def close(self) -> bytes:
        if self._is_over():
            return b""
        rest = bytes(self._events.rest)
        super().feed(rest)
        super().close()
        if self.error is not None:
            return b""
        last = rest + b"\n\n" if _DATA_LINE.search(rest) else b""  # of a name alone none is made
        return last + self._owed()

    def _owed(self) -> bytes:
        """Events without which clients take an answer that ended well for one that did not."""
        return b""

    @override
    def _on_frame(self, frame: sse.Frame) -> bytes:
        event = dict_of(loads(frame.data))
        kind = text_of(event.get("type")) or frame.name.decode("utf-8", "replace")
        if kind == "error" or event.get("error"):
            return self._refuse(event)
        self._on_event(kind, event)
        return b""

    @abstractmethod
    def _on_event(self, kind: str, event: dict[str, Any]) -> None:
        """Learns from one event; what the client gets of it is settled."""

    @override
    def _finish(self) -> bytes:
        self.done = True
        return b""

    @override
    def _usage_chunk(self, shown: dict[str, Any]) -> bytes:
        return b""  # usage is in the provider's own events
