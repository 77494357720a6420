"""A provider's own events on their way to the client, with the hub's ids in them.

An event without an id in it passes byte for byte; so does all but the id of one that has some.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from typing_extensions import override

from routing.adapters import sse
from routing.adapters.jsonio import dict_of, dumps, loads, text_of
from routing.adapters.openai_responses.stream import MAX_EVENT_BYTES
from routing.adapters.whole_events import WholeEvents
from routing.core.errors import HubError
from routing.surfaces import openai_envelope
from routing.surfaces.base import VoiceStream
from routing.surfaces.responses.native import Renaming
from routing.surfaces.responses.request import MOVED
from routing.surfaces.responses.store import Item

Event = dict[str, Any]
Keep = Callable[[dict[str, Any]], Awaitable[None]]

# Quotes inside of a JSON string are escaped, so these cannot be found in what a model says.
_ITEM_ID = re.compile(rb'("item_id"\s*:\s*")([^"\\]+)(?=")')
_SEQUENCE = re.compile(rb'"sequence_number"\s*:\s*(\d{1,12})')
_HOLDS_MORE = (b'"response"', b'"item"')
_LAST = ("response.completed", "response.incomplete")


class NativeResponsesStream(VoiceStream):
    """Fed with whole events. `keep` is told the response before the client sees its end."""

    def __init__(self, base: dict[str, Any], keep: Keep) -> None:
        self._base = base
        self._keep = keep
        self._ids = Renaming(base["id"])
        self._events = WholeEvents()
        self._so_far: dict[str, Any] = {**base, "store": False}
        self._items: dict[int, Item] = {}  # by their place in the output
        self._next_no = 0
        self._begun = False
        self._last: Event | None = None  # held back until the response is kept
        self._ended = False

    @override
    def feed(self, data: bytes) -> bytes:
        return b"".join(map(self._pass_on, self._events.feed(data)))

    @override
    def close(self) -> bytes:
        return self._end()

    @override
    async def end(self) -> bytes:
        if self._last is not None:
            await self._keep(self._last["response"])
        return self._end()

    @override
    def broken(self, error: HubError) -> bytes:
        """The hub's own code in an `error` event, then the end that every client waits for."""
        if self._ended:
            return b""
        self._ended = True
        items = [self._items[place] for place in sorted(self._items)]
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        failed = {
            **self._so_far,
            "status": "failed",
            "error": {"code": code, "message": error.message},
            "output": [_broken_off(item) for item in items],
        }
        param = openai_envelope.renamed(error.param, MOVED)
        told = {"code": error.code, "message": error.message, "param": param}
        opening = b""
        if not self._begun:
            fresh = {**self._so_far, "status": "in_progress", "output": []}
            opening = self._say("response.created", {"response": fresh})
        return (
            opening + self._say("error", told) + self._say("response.failed", {"response": failed})
        )

    def _end(self) -> bytes:
        last, self._last = self._last, None
        self._ended = True
        return _encoded(last) if last is not None else b""

    def _say(self, kind: str, fields: Event) -> bytes:
        event = {"type": kind, "sequence_number": self._next_no, **fields}
        self._next_no += 1
        return _encoded(event)

    # --- the provider's events ----------------------------------------------------------------

    def _pass_on(self, raw: bytes) -> bytes:
        number = _SEQUENCE.search(raw)
        if number is not None:
            self._next_no = int(number[1]) + 1
        if any(mark in raw for mark in _HOLDS_MORE):
            event = _event_in(raw)
            if isinstance(event.get("response"), dict):
                return self._with_response(event)
            if isinstance(event.get("item"), dict):
                return self._with_item(event)
        return _ITEM_ID.sub(self._renamed, raw)

    def _renamed(self, found: re.Match[bytes]) -> bytes:
        given = found[2].decode("utf-8", "replace")
        return found[1] + self._ids.known.get(given, given).encode()

    def _with_item(self, event: Event) -> bytes:
        place = event.get("output_index")
        index = place if type(place) is int else len(self._items)
        item = self._items[index] = self._ids.item(event["item"], index)
        return _encoded({**event, "item": item})

    def _with_response(self, event: Event) -> bytes:
        """Whether it is kept is known only at the end, so until then it says what was asked."""
        event = {**event, "response": self._ids.response(event["response"], self._base)}
        self._begun = True
        if text_of(event.get("type")) in _LAST:
            event["response"]["store"] = False
            self._last = event
            return b""
        self._so_far = {**event["response"], "store": False}
        return _encoded(event)


def _event_in(raw: bytes) -> Event:
    frames = sse.FrameSplitter(MAX_EVENT_BYTES).feed(raw)
    data = next((frame.data for frame in frames if frame.name != sse.COMMENT), b"")
    return dict_of(loads(data)) if data else {}


def _encoded(event: Event) -> bytes:
    kind = text_of(event.get("type")).encode("utf-8", "replace")
    return b"event: " + kind + b"\n" + sse.encode(dumps(event))


def _broken_off(item: Item) -> Item:
    return {**item, "status": "incomplete"} if item.get("status") == "in_progress" else item
