"""The provider's own event stream, passed on byte for byte while its events are read."""

from __future__ import annotations

import re
from typing import Any

from typing_extensions import override

from routing.adapters import sse
from routing.adapters.anthropic.answers import CumulativeUsage, finish_word
from routing.adapters.anthropic.native import block_chars
from routing.adapters.anthropic.thoughts import THOUGHTS
from routing.adapters.base import ChatCall
from routing.adapters.jsonio import dict_of, dumps, loads, text_of
from routing.adapters.stream import EventStream
from routing.adapters.usage import anthropic_usage
from routing.adapters.whole_events import WholeEvents
from routing.core.catalog import Endpoint

MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_DATA_LINE = re.compile(rb"(?:\A|[\r\n])data:")


class NativeStream(EventStream):
    """Whole events only: what a client got can be followed by an event of ours at any time."""

    def __init__(self, call: ChatCall, endpoint: Endpoint) -> None:
        super().__init__(call, endpoint)
        self.is_native = True
        self._events = WholeEvents()
        self._usage = CumulativeUsage()
        self._saw_stop = False

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
        if len(self._events.rest) > sse.MAX_EVENT_BYTES and not self._is_over():
            self._fail("event_too_large", "The provider sent an event of more than 1 MiB.")
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
        return last if self._saw_stop else last + MESSAGE_STOP

    @override
    def _on_frame(self, frame: sse.Frame) -> bytes:
        event = dict_of(loads(frame.data))
        kind = text_of(event.get("type")) or frame.name.decode("utf-8", "replace")
        if kind == "error" or event.get("error"):
            return self._refuse(event)
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, event)
        return b""

    def _on_message_start(self, event: dict[str, Any]) -> None:
        message = dict_of(event.get("message"))
        self.response_model = text_of(message.get("model"))
        self._take_usage(message)

    def _on_block_start(self, event: dict[str, Any]) -> None:
        """A block that opens without text of its own is no content yet, unless it is whole."""
        block = dict_of(event.get("content_block"))
        kind = text_of(block.get("type"))
        size = block_chars(block)
        if size or kind not in ("text", "thinking"):
            self._count(size, is_answer=kind not in THOUGHTS)

    def _on_delta(self, event: dict[str, Any]) -> None:
        delta = dict_of(event.get("delta"))
        size = sum(len(text_of(delta.get(f))) for f in ("text", "thinking", "partial_json"))
        if size or "citation" in delta:
            self._count(size, is_answer="thinking" not in delta)

    def _on_message_delta(self, event: dict[str, Any]) -> None:
        self._take_usage(event)
        stop_reason = dict_of(event.get("delta")).get("stop_reason")
        if stop_reason and not self.finish_reason:
            self.finish_reason = finish_word(stop_reason)

    def _on_message_stop(self, event: dict[str, Any]) -> None:
        if self._ended():
            self._saw_stop = True
            self._finish()
        else:
            self._truncated()

    def _take_usage(self, holder: dict[str, Any]) -> None:
        if self._usage.take(holder):
            self.usage = anthropic_usage(self._usage.raw)
            self.usage_raw = dumps(self._usage.raw)

    @override
    def _ended(self) -> bool:
        return bool(self.finish_reason)

    @override
    def _finish(self) -> bytes:
        self.done = True
        return b""

    @override
    def _usage_chunk(self, shown: dict[str, Any]) -> bytes:
        return b""  # usage is in the provider's own events


_HANDLERS = {
    "message_start": NativeStream._on_message_start,
    "content_block_start": NativeStream._on_block_start,
    "content_block_delta": NativeStream._on_delta,
    "message_delta": NativeStream._on_message_delta,
    "message_stop": NativeStream._on_message_stop,
}
