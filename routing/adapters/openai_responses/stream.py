"""A provider's own stream of a response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typing_extensions import override

from routing.adapters.base import ChatCall
from routing.adapters.jsonio import dict_of, dumps, text_of
from routing.adapters.native_stream import NativeStream
from routing.adapters.openai_compat.answers import tier_word
from routing.adapters.openai_responses.answers import (
    finish_word,
    is_search,
    item_chars,
    responses_usage,
    with_searches,
)
from routing.core.catalog import Endpoint

Event = dict[str, Any]

MAX_EVENT_BYTES = 32 * 2**20  # an image that was made comes in one event, and again in the last
_THOUGHTS = ("response.reasoning_text.delta", "response.reasoning_summary_text.delta")
_QUIET = frozenset({"message", "reasoning"})  # items that say nothing when they are opened


class ResponsesReader(NativeStream):
    most_event_bytes = MAX_EVENT_BYTES

    def __init__(self, call: ChatCall, endpoint: Endpoint) -> None:
        super().__init__(call, endpoint)
        self._searches = 0

    @override
    def _on_event(self, kind: str, event: Event) -> None:
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, event)
        elif kind.endswith((".delta", ".partial_image")):
            self._on_delta(event, is_answer=kind not in _THOUGHTS)

    def _on_delta(self, event: Event, *, is_answer: bool) -> None:
        size = len(text_of(event.get("delta")))
        if size or "partial_image_b64" in event:
            self._count(size, is_answer=is_answer)

    def _on_begun(self, event: Event) -> None:
        self.response_model = text_of(dict_of(event.get("response")).get("model"))

    def _on_item_added(self, event: Event) -> None:
        """A built-in tool that has begun to work is billed, and the client may see that it does."""
        if text_of(dict_of(event.get("item")).get("type")) not in _QUIET:
            self._count(0, is_answer=True)

    def _on_item_done(self, event: Event) -> None:
        item = dict_of(event.get("item"))
        if is_search(item):
            self._searches += 1
            self.usage = with_searches(self.usage, self._searches)
        if not self.content_started:  # nothing of it came in pieces
            self._count(item_chars(item), is_answer=item.get("type") != "reasoning")

    def _on_end(self, event: Event) -> None:
        response = dict_of(event.get("response"))
        raw_usage = dict_of(response.get("usage"))
        self.usage = responses_usage(response)
        self.usage_raw = dumps(raw_usage) if raw_usage else b""
        self.finish_reason = finish_word(response)
        self.response_model = text_of(response.get("model")) or self.response_model
        self.service_tier = tier_word(response.get("service_tier"))
        self._finish()

    def _on_failed(self, event: Event) -> None:
        response = dict_of(event.get("response"))
        if response.get("usage"):
            self.usage = responses_usage(response)
        self._refuse({"error": response.get("error") or {"message": "The response failed."}})

    @override
    def _ended(self) -> bool:
        return False  # only its own last event ends a response


_HANDLERS: dict[str, Callable[[ResponsesReader, Event], None]] = {
    "response.created": ResponsesReader._on_begun,
    "response.output_item.added": ResponsesReader._on_item_added,
    "response.output_item.done": ResponsesReader._on_item_done,
    "response.completed": ResponsesReader._on_end,
    "response.incomplete": ResponsesReader._on_end,
    "response.failed": ResponsesReader._on_failed,
}
