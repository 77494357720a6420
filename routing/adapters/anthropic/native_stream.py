"""A provider's own Messages stream."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from routing.adapters.anthropic.answers import CumulativeUsage, finish_word
from routing.adapters.anthropic.native import block_chars
from routing.adapters.anthropic.thoughts import THOUGHTS
from routing.adapters.base import ChatCall
from routing.adapters.jsonio import dict_of, text_of
from routing.adapters.native_stream import NativeStream
from routing.core.catalog import Endpoint

MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class MessagesReader(NativeStream):
    def __init__(self, call: ChatCall, endpoint: Endpoint) -> None:
        super().__init__(call, endpoint)
        self._usage = CumulativeUsage()
        self._saw_stop = False

    @override
    def _owed(self) -> bytes:
        return b"" if self._saw_stop else MESSAGE_STOP

    @override
    def _on_event(self, kind: str, event: dict[str, Any]) -> None:
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, event)

    def _on_message_start(self, event: dict[str, Any]) -> None:
        message = dict_of(event.get("message"))
        self.response_model = text_of(message.get("model"))
        self._usage.take(message, self)

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
        self._usage.take(event, self)
        stop_reason = dict_of(event.get("delta")).get("stop_reason")
        if stop_reason and not self.finish_reason:
            self.finish_reason = finish_word(stop_reason)

    def _on_message_stop(self, event: dict[str, Any]) -> None:
        if self._ended():
            self._saw_stop = True
            self._finish()
        else:
            self._truncated()

    @override
    def _ended(self) -> bool:
        return bool(self.finish_reason)


_HANDLERS = {
    "message_start": MessagesReader._on_message_start,
    "content_block_start": MessagesReader._on_block_start,
    "content_block_delta": MessagesReader._on_delta,
    "message_delta": MessagesReader._on_message_delta,
    "message_stop": MessagesReader._on_message_stop,
}
