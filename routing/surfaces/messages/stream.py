"""Chat completion chunks as a Messages event stream.

Blocks never overlap here, while chat may mix the pieces of several tool calls: one call is passed
on as it comes, the others wait until its arguments are complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from routing.adapters import sse
from routing.adapters.anthropic.citations import citation_of
from routing.adapters.anthropic.foreign import UNSIGNED
from routing.adapters.chunks import stable_call_id
from routing.adapters.jsonio import BadJson, dict_of, dicts_in, dig, dumps, loads, text_of
from routing.core.errors import HubError
from routing.surfaces.base import LONGEST_CHUNK_BYTES, VoiceStream
from routing.surfaces.messages.errors import error_event
from routing.surfaces.messages.reasoning import (
    cargo_block,
    is_signed,
    opaque_block,
    reasoning_text,
)
from routing.surfaces.messages.reply import empty_message, named_pages
from routing.surfaces.messages.words import (
    ending_of,
    text_block,
    thinking_block,
    tool_use_block,
    usage_of,
)

PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + dumps({"type": kind, **fields}) + b"\n\n"


class _Call:
    """A tool call whose pieces are coming in."""

    def __init__(self, spare_id: str) -> None:
        self.id = ""
        self.spare_id = spare_id
        self.name = ""
        self.arguments = ""
        self.waiting = ""  # arguments not yet passed on
        self.cargo: dict[str, Any] = {}

    def take(self, piece: dict[str, Any]) -> None:
        self.id = self.id or text_of(piece.get("id"))
        self.name = self.name or text_of(dig(piece, "function.name"))
        arguments = text_of(dig(piece, "function.arguments"))
        self.arguments += arguments
        self.waiting += arguments
        self.cargo |= piece

    def is_complete(self) -> bool:
        try:
            return isinstance(loads(self.arguments.encode("utf-8", "surrogatepass")), dict)
        except BadJson:
            return False


class MessagesStream(VoiceStream):
    """Events of one answer. `close` or `broken` comes last, and once."""

    def __init__(self, request_id: str, model: str, stops: Sequence[str]) -> None:
        self._request_id = request_id
        self._model = model
        self._stops = stops
        self._splitter = sse.FrameSplitter(LONGEST_CHUNK_BYTES)
        self._started = False
        self._ended = False
        self._index = -1  # of the newest block
        self._open = ""  # kind of the open block, "" between blocks
        self._calls: dict[int, _Call] = {}
        self._current: int | None = None  # the call whose block is open
        self._closed_calls: set[int] = set()
        self._said = ""  # all text so far
        self._late_text = ""  # came in the middle of a call
        self._choice: dict[str, Any] = {}  # the one with the finish reason
        self._usage: Any = None
        self._pages: set[str] = set()  # that were listed beside the text
        self._has_annotations = False

    @override
    def feed(self, data: bytes) -> bytes:
        return b"".join(map(self._take, self._splitter.feed(data)))

    @override
    def close(self) -> bytes:
        if self._ended:
            return b""
        last = b"".join(map(self._take, self._splitter.close()))
        out = [last, self._start(), self._remaining_calls(), self._text(self._late_text)]
        out += [self._close_block(), self._message_delta(), event("message_stop")]
        self._ended = True
        return b"".join(out)

    @override
    def broken(self, error: HubError) -> bytes:
        if self._ended:
            return b""
        self._ended = True
        return error_event(error, self._request_id)

    def _take(self, frame: sse.Frame) -> bytes:
        if self._ended:
            return b""
        if frame.name == sse.COMMENT:
            return PING if self._started else b""
        try:
            chunk = dict_of(loads(frame.data))
        except BadJson:  # [DONE]
            return b""
        return self._take_chunk(chunk)

    def _take_chunk(self, chunk: dict[str, Any]) -> bytes:
        self._model = text_of(chunk.get("model")) or self._model
        self._usage = chunk.get("usage") or self._usage
        out = [self._start(chunk.get("service_tier"))]
        for choice in dicts_in(chunk.get("choices")):
            if choice.get("index", 0) == 0:
                out.append(self._take_delta(dict_of(choice.get("delta"))))
                if choice.get("finish_reason"):
                    self._choice = choice
        out += [self._citation(page) for page in named_pages(chunk) if self._is_news(page)]
        return b"".join(out)

    def _is_news(self, page: dict[str, Any]) -> bool:
        """Some hosts list all their pages with every chunk, and cite them in the text besides."""
        url = page["url_citation"]["url"]
        is_known = url in self._pages or self._has_annotations
        self._pages.add(url)
        return not is_known

    def _start(self, service_tier: Any = None) -> bytes:
        if self._started:
            return b""
        self._started = True
        message = empty_message(self._request_id, self._model, service_tier)
        return event("message_start", message=message)

    def _take_delta(self, delta: dict[str, Any]) -> bytes:
        out = [self._thought(reasoning_text(delta))]
        out += [self._detail(detail) for detail in dicts_in(delta.get("reasoning_details"))]
        out.append(self._text(text_of(delta.get("content")) or text_of(delta.get("refusal"))))
        out += [self._citation(each) for each in dicts_in(delta.get("annotations"))]
        out += [self._piece_of_call(piece) for piece in dicts_in(delta.get("tool_calls"))]
        return b"".join(out)

    # --- thinking and text --------------------------------------------------------------------

    def _thought(self, text: str) -> bytes:
        if not text or not self._may_leave_call():
            return b""
        opened = self._open_block("thinking", thinking_block("", ""))
        return opened + self._delta("thinking_delta", thinking=text)

    def _detail(self, detail: dict[str, Any]) -> bytes:
        if not self._may_leave_call():
            return b""
        if is_signed(detail):
            return self._signed(detail)
        block = opaque_block(detail)
        return self._whole_block(block) if block is not None else b""

    def _signed(self, detail: dict[str, Any]) -> bytes:
        """The text came before; where it is withheld, the signature stands alone."""
        opened = b""
        if self._open != "thinking":
            opened = self._open_block("thinking", thinking_block("", ""))
            text = text_of(detail.get("text"))
            opened += self._delta("thinking_delta", thinking=text) if text else b""
        return opened + self._close_block(detail["signature"])

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        if not self._may_leave_call():
            self._late_text += text
            return b""
        self._said += text
        return self._open_block("text", text_block("")) + self._delta("text_delta", text=text)

    def _citation(self, annotation: dict[str, Any]) -> bytes:
        """Stands beside the text that it is about, so only while that is open."""
        self._has_annotations = self._has_annotations or "start_index" in dict_of(
            annotation.get("url_citation")
        )
        citation = citation_of(annotation, self._said)
        if citation is None or self._open != "text":
            return b""
        return self._delta("citations_delta", citation=citation)

    # --- tool calls ---------------------------------------------------------------------------

    def _piece_of_call(self, piece: dict[str, Any]) -> bytes:
        index = piece.get("index")
        index = index if type(index) is int else len(self._calls)
        spare_id = stable_call_id(self._request_id, index)
        call = self._calls.setdefault(index, _Call(spare_id))
        call.take(piece)
        return self._pass_on(index) if index == self._current else self._next_call()

    def _next_call(self) -> bytes:
        """In their order, so that the blocks stand as they do in a whole message."""
        if not self._may_leave_call():
            return b""
        index = next(iter(self._waiting_calls()), None)
        return self._pass_on(index) if index is not None and self._calls[index].name else b""

    def _waiting_calls(self) -> list[int]:
        done = {*self._closed_calls, self._current}
        return [index for index in sorted(self._calls) if index not in done]

    def _pass_on(self, index: int) -> bytes:
        call = self._calls[index]
        out = b"" if self._current == index else self._open_call(index, call)
        if call.waiting:
            out += self._delta("input_json_delta", partial_json=call.waiting)
            call.waiting = ""
        return out

    def _open_call(self, index: int, call: _Call) -> bytes:
        cargo = cargo_block(call.cargo)
        before = self._whole_block(cargo) if cargo is not None else b""
        block = tool_use_block(call.id or call.spare_id, call.name, {})
        opened = self._open_block("tool_use", block, is_new=True)
        self._current = index
        return before + opened

    def _may_leave_call(self) -> bool:
        """Complete arguments get no further pieces."""
        return self._current is None or self._calls[self._current].is_complete()

    def _remaining_calls(self) -> bytes:
        return b"".join(map(self._pass_on, self._waiting_calls()))

    # --- blocks -------------------------------------------------------------------------------

    def _open_block(self, kind: str, block: dict[str, Any], *, is_new: bool = False) -> bytes:
        if self._open == kind and not is_new:
            return b""
        closed = self._close_block()
        self._index += 1
        self._open = kind
        return closed + event("content_block_start", index=self._index, content_block=block)

    def _whole_block(self, block: dict[str, Any]) -> bytes:
        return self._open_block(block["type"], block, is_new=True) + self._close_block()

    def _delta(self, kind: str, **fields: Any) -> bytes:
        delta = {"type": kind, **fields}
        return event("content_block_delta", index=self._index, delta=delta)

    def _close_block(self, signature: str = UNSIGNED) -> bytes:
        if not self._open:
            return b""
        signed = b""
        if self._open == "thinking":
            signed = self._delta("signature_delta", signature=signature)
        if self._current is not None:
            self._closed_calls.add(self._current)
            self._current = None
        self._open = ""
        return signed + event("content_block_stop", index=self._index)

    def _message_delta(self) -> bytes:
        ending = ending_of(self._choice, self._stops, has_calls=bool(self._calls))
        return event("message_delta", delta=ending.fields(), usage=usage_of(self._usage))
