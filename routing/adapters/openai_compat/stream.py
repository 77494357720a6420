"""Reading an OpenAI-compatible stream.

Each frame is parsed once, by a decoder that looks only at what decides (about 0.3 µs). A frame of
plain text is passed on as the bytes it came in; only the others are looked at as objects, and
written anew only if something in them had to change.
"""

from __future__ import annotations

from typing import Any

import msgspec
from typing_extensions import override

from routing.adapters import sse
from routing.adapters.base import ChatCall
from routing.adapters.content import content_chars, has_answer, has_reasoning
from routing.adapters.errors import is_error
from routing.adapters.jsonio import BadJson, dict_of, dicts_in, dig, dumps, loads, text_of
from routing.adapters.openai_compat.answers import finish_word, mend_reasoning
from routing.adapters.openai_compat.calls import CallBook
from routing.adapters.stream import EventStream
from routing.adapters.usage import openai_usage, provider_cost
from routing.core.catalog import Endpoint
from routing.core.usage import NO_USAGE, Usage

_NULL_USAGE = (b',"usage":null', b', "usage": null')


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int
    function: _Function
    id: str | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: list[_Call] | None = None
    function_call: Any = None
    refusal: Any = None
    audio: Any = None

    def others(self) -> bool:
        return bool(self.function_call or self.refusal or self.audio)


class _Choice(msgspec.Struct):
    delta: _Delta
    finish_reason: Any = None
    index: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    error: Any = None


_look = msgspec.json.Decoder(_Chunk).decode


class OpenAIStream(EventStream):
    def __init__(self, call: ChatCall, endpoint: Endpoint) -> None:
        super().__init__(call, endpoint)
        self._renames_reasoning = self._quirks.reasoning_field_out == "reasoning"
        self._template: dict[str, Any] = {}  # id, model, ... for a usage chunk of our own
        self._usage_object: dict[str, Any] = {}
        self._usage_came_last = False
        self._open: set[int] = set()  # choices with content and no finish_reason yet
        self._finished: set[int] = set()
        self._calls = CallBook()

    @override
    def feed(self, data: bytes) -> bytes:
        """Bytes of one whole text frame come back as the same object, the common case."""
        if (
            self.content_started
            and self._splitter.at_rest
            and not self._is_over()
            and b'"usage"' not in data
            and len(data) < sse.MAX_EVENT_BYTES
            and sse.is_one_frame(data)
            and self._take_text(data[6:-2])
        ):
            return data
        return super().feed(data)

    @override
    def _on_frame(self, frame: sse.Frame) -> bytes:
        payload = frame.data
        if not self.content_started or frame.name:
            return self._on_any(frame.name, payload)
        if b'"usage"' in payload:
            payload = self._without_null_usage(payload)
        if self._renames_reasoning and b'"reasoning_content"' not in payload:
            payload = payload.replace(b'"reasoning":', b'"reasoning_content":', 1)
        if b'"usage"' not in payload and self._take_text(payload):
            return sse.encode(payload)
        return self._on_any(frame.name, payload)

    @staticmethod
    def _without_null_usage(payload: bytes) -> bytes:
        """Inside a JSON string the quotes would be escaped, so these bytes are always a field."""
        for field in _NULL_USAGE:
            payload = payload.replace(field, b"")
        return payload

    def _take_text(self, payload: bytes) -> bool:
        """True, and counted, for a chunk with more of text, reasoning or arguments, and no else."""
        try:
            chunk = _look(payload)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return False
        if chunk.error is not None or len(chunk.choices) != 1:
            return False
        choice = chunk.choices[0]
        if choice.finish_reason is not None or choice.index not in self._open:
            return False
        delta = choice.delta
        if delta.reasoning or delta.reasoning_details or delta.others():
            return False
        text, thought = delta.content or "", delta.reasoning_content or ""
        chars = len(text) + len(thought)
        calls = delta.tool_calls
        if calls:
            if not self._are_continued(calls, choice.index):
                return False
            chars += sum(len(call.function.arguments or "") for call in calls)
        elif not chars:
            return False
        self.answer_started = self.answer_started or bool(text or calls)
        self.content_frames += 1
        self.output_chars += chars
        return True

    def _are_continued(self, calls: list[_Call], choice: int) -> bool:
        """Only more arguments for calls that are known, so nothing needs mending."""
        return all(
            not call.id and not call.function.name and self._calls.knows(choice, call.index)
            for call in calls
        )

    # --- everything that is not plain text ----------------------------------------------------

    def _on_any(self, name: bytes, payload: bytes) -> bytes:
        if payload.strip() == b"[DONE]":
            return self._on_done()
        document = loads(payload)
        if name == b"error" or is_error(document):
            return self._refuse(document)
        if not isinstance(document, dict):
            raise BadJson("an event is a JSON object")
        return self._on_chunk(document, payload)

    def _on_done(self) -> bytes:
        """[DONE] ends an answer that had ended; after half an answer it does not."""
        if self._ended() or (self.content_started and self._usage_came_last):
            return self._finish()
        return self._truncated()

    def _on_chunk(self, chunk: dict[str, Any], payload: bytes) -> bytes:
        self._remember_head(chunk)
        choices = dicts_in(chunk.get("choices"))
        changed = self._take_usage(chunk, has_choices=bool(choices))
        if not choices:
            return b""  # usage goes out at the end; heartbeats and filter results say nothing
        for choice in choices:
            changed = self._take_choice(choice) or changed
            if self.error is not None:
                return b""
        return sse.encode(dumps(chunk) if changed else payload)

    def _remember_head(self, chunk: dict[str, Any]) -> None:
        if not self.response_model:
            self.response_model = text_of(chunk.get("model"))
        if not self._template and chunk.get("id"):
            kept = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
            self._template = {field: chunk[field] for field in kept if field in chunk}

    def _take_choice(self, choice: dict[str, Any]) -> bool:
        delta = dict_of(choice.get("delta"))
        index = _index_of(choice)
        changed = mend_reasoning(delta, self._quirks)
        changed = self._calls.mend(delta, index, self._template.get("id")) or changed
        self._count_content(delta, index)
        word = text_of(choice.get("finish_reason"))
        if word:
            changed = self._take_finish(choice, word, index) or changed
        return changed

    def _count_content(self, delta: dict[str, Any], index: int) -> None:
        answers = has_answer(delta)
        if not answers and not has_reasoning(delta):
            return
        if index not in self._finished:
            self._open.add(index)
        self._count(content_chars(delta), is_answer=answers)

    def _take_finish(self, choice: dict[str, Any], word: str, index: int) -> bool:
        finish = finish_word(word, self._quirks, has_tools=self._calls.has_any(index))
        if finish == "error":
            self._refuse({"error": {"code": word, "message": "The provider broke the answer off."}})
            return False
        self._finished.add(index)
        self._open.discard(index)
        self.finish_reason = self.finish_reason or finish
        choice["finish_reason"] = finish
        return finish != word

    # --- usage --------------------------------------------------------------------------------

    def _take_usage(self, chunk: dict[str, Any], *, has_choices: bool) -> bool:
        """The last usage wins. It leaves the chunk: clients add up what they find, and some
        providers send it twice, so one who asked gets it in one chunk of its own at the end."""
        found = NO_USAGE
        for path in self._quirks.usage_paths:
            raw = dig(chunk, path)
            if isinstance(raw, dict):
                found = self._read_usage(raw, chunk) or found
        if found != NO_USAGE:
            self._usage_came_last = not has_choices
        removed = [_remove(chunk, path) for path in {*self._quirks.usage_paths, "usage"}]
        return any(removed)

    def _read_usage(self, raw: dict[str, Any], chunk: dict[str, Any]) -> Usage | None:
        usage = openai_usage(raw, self._quirks)
        usage = msgspec.structs.replace(usage, provider_cost_usd=provider_cost(chunk, self._quirks))
        if usage == NO_USAGE:
            return None
        self.usage, self.usage_raw, self._usage_object = usage, dumps(raw), raw
        return usage

    @override
    def _shown_usage(self) -> tuple[Usage, dict[str, Any]]:
        if self._usage_object:
            return self.usage, self._usage_object
        return super()._shown_usage()

    @override
    def _usage_chunk(self, shown: dict[str, Any]) -> bytes:
        head = self._template or {"id": "", "object": "chat.completion.chunk"}
        return sse.encode(dumps({**head, "choices": [], "usage": shown}))

    @override
    def _ended(self) -> bool:
        if self._finished:
            return not self._open
        return self.content_started and not self._quirks.done_required


def _index_of(choice: dict[str, Any]) -> int:
    index = choice.get("index")
    return index if type(index) is int else 0


def _remove(document: Any, path: str) -> bool:
    parent_path, _, field = path.rpartition(".")
    parent = dig(document, parent_path) if parent_path else document
    if isinstance(parent, dict) and field in parent:
        del parent[field]
        return True
    return False
