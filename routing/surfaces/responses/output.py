"""The items of a response as they grow, and the events that tell of it.

A whole answer goes through here too, with an `emit` that tells nobody: so both give the same items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typing_extensions import override

from routing.adapters.jsonio import BadJson, loads
from routing.surfaces.responses.carried import pack

Item = dict[str, Any]
Emit = Callable[[str, dict[str, Any]], None]


def is_whole_object(text: str) -> bool:
    """Nothing can follow a JSON object; a number or a word might still go on."""
    try:
        return isinstance(loads(text.encode("utf-8", "surrogatepass")), dict)
    except BadJson:
        return False


class OpenItem:
    """An item that may still grow. What it holds is in `item` after `settle`."""

    def __init__(self, item: Item, index: int, emit: Emit) -> None:
        self.item = item
        self.index = index
        self.is_open = True
        self._emit = emit
        emit("response.output_item.added", {"output_index": index, "item": item})

    def _say(self, event: str, fields: dict[str, Any]) -> None:
        place = {"item_id": self.item["id"], "output_index": self.index}
        self._emit(f"response.{event}", {**place, **fields})

    def settle(self, status: str) -> None:
        """Writes what came so far into the item, without a word to the client."""
        self.item["status"] = status

    def close(self, status: str) -> None:
        self.is_open = False
        self._end_parts()
        self.settle(status)
        self._emit("response.output_item.done", {"output_index": self.index, "item": self.item})

    def _end_parts(self) -> None:
        """Tells that what is inside is complete."""


class MessageItem(OpenItem):
    def __init__(self, id: str, index: int, emit: Emit) -> None:
        item = {"id": id, "type": "message", "role": "assistant", "content": []}
        super().__init__({**item, "status": "in_progress"}, index, emit)
        self._pieces: list[str] = []  # of the open part
        self._logprobs: list[dict[str, Any]] = []
        self._field = ""  # text or refusal; "" when no part is open

    def text(self, delta: str, logprobs: list[dict[str, Any]]) -> None:
        self._open_part("text", {"type": "output_text", "annotations": [], "logprobs": []})
        self._pieces.append(delta)
        self._logprobs += logprobs
        shown = [_for_event(entry) for entry in logprobs]
        self._say("output_text.delta", {**self._place(), "delta": delta, "logprobs": shown})

    def refusal(self, delta: str) -> None:
        self._open_part("refusal", {"type": "refusal"})
        self._pieces.append(delta)
        self._say("refusal.delta", {**self._place(), "delta": delta})

    def annotate(self, annotation: dict[str, Any]) -> None:
        self._open_part("text", {"type": "output_text", "annotations": [], "logprobs": []})
        found = self.item["content"][-1]["annotations"]
        found.append(annotation)
        fields = {"annotation_index": len(found) - 1, "annotation": annotation}
        self._say("output_text.annotation.added", {**self._place(), **fields})

    def _place(self) -> dict[str, Any]:
        return {"content_index": len(self.item["content"]) - 1}

    def _open_part(self, field: str, part: dict[str, Any]) -> None:
        if field == self._field:
            return
        self._end_parts()
        self._field = field
        self.item["content"].append({**part, field: ""})
        self._say("content_part.added", {**self._place(), "part": self.item["content"][-1]})

    @override
    def settle(self, status: str) -> None:
        super().settle(status)
        if self._field:
            part = self.item["content"][-1]
            part[self._field] = "".join(self._pieces)
            if self._field == "text":
                part["logprobs"] = list(self._logprobs)

    @override
    def _end_parts(self) -> None:
        if not self._field:
            return
        self.settle("in_progress")
        part, place = self.item["content"][-1], self._place()
        if self._field == "text":
            shown = [_for_event(entry) for entry in self._logprobs]
            self._say("output_text.done", {**place, "text": part["text"], "logprobs": shown})
        else:
            self._say("refusal.done", {**place, "refusal": part["refusal"]})
        self._say("content_part.done", {**place, "part": part})
        self._pieces, self._logprobs, self._field = [], [], ""


class ReasoningItem(OpenItem):
    """`style` is summary where the client asked for one, else content: the thoughts as they are."""

    def __init__(self, id: str, index: int, emit: Emit, style: str) -> None:
        super().__init__({"id": id, "type": "reasoning", "summary": []}, index, emit)
        self._style = style
        self._pieces: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._calls: dict[str, Any] = {}

    def think(self, delta: str) -> None:
        if not self._pieces:
            self._open_part()
        self._pieces.append(delta)
        event = "reasoning_summary_text" if self._style == "summary" else "reasoning_text"
        self._say(f"{event}.delta", {**self._place(), "delta": delta})

    def carry(self, details: list[dict[str, Any]]) -> None:
        self._details += details

    def carry_call(self, call_id: str, extra: Any) -> None:
        self._calls[call_id] = extra

    def _place(self) -> dict[str, Any]:
        return {f"{self._style}_index": 0}

    def _part(self, text: str) -> dict[str, Any]:
        kind = "summary_text" if self._style == "summary" else "reasoning_text"
        return {"type": kind, "text": text}

    def _open_part(self) -> None:
        event = "reasoning_summary_part" if self._style == "summary" else "content_part"
        self._say(f"{event}.added", {**self._place(), "part": self._part("")})

    @override
    def settle(self, status: str) -> None:
        if self._pieces:
            self.item[self._style] = [self._part("".join(self._pieces))]
        if self._details or self._calls:
            self.item["encrypted_content"] = pack(self._details, self._calls)

    @override
    def _end_parts(self) -> None:
        if not self._pieces:
            return
        text, place = "".join(self._pieces), self._place()
        is_summary = self._style == "summary"
        event = "reasoning_summary_text" if is_summary else "reasoning_text"
        self._say(f"{event}.done", {**place, "text": text})
        event = "reasoning_summary_part" if is_summary else "content_part"
        self._say(f"{event}.done", {**place, "part": self._part(text)})


_CALLS = {
    # kind of item -> field that grows, its event
    "function_call": ("arguments", "function_call_arguments"),
    "custom_tool_call": ("input", "custom_tool_call_input"),
}


class CallItem(OpenItem):
    def __init__(self, head: Item, index: int, emit: Emit) -> None:
        self._field, self._event = _CALLS[head["type"]]
        super().__init__({**head, self._field: "", "status": "in_progress"}, index, emit)
        self._pieces: list[str] = []

    def grow(self, delta: str) -> None:
        """After its end a call takes no more: its arguments were a whole object already."""
        if delta and self.is_open:
            self._pieces.append(delta)
            self._say(f"{self._event}.delta", {"delta": delta})

    def is_whole(self) -> bool:
        """No more can come: only then may it be closed before the answer ends."""
        return self._field == "arguments" and is_whole_object("".join(self._pieces))

    @override
    def settle(self, status: str) -> None:
        super().settle(status)
        self.item[self._field] = "".join(self._pieces)

    @override
    def _end_parts(self) -> None:
        fields = {self._field: "".join(self._pieces), "name": self.item["name"]}
        self._say(f"{self._event}.done", fields)


def _for_event(entry: dict[str, Any]) -> dict[str, Any]:
    """Events show logprobs without the bytes of the token."""
    top = [{"token": t["token"], "logprob": t["logprob"]} for t in entry["top_logprobs"]]
    return {"token": entry["token"], "logprob": entry["logprob"], "top_logprobs": top}
