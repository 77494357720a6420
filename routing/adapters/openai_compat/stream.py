"""Reading an OpenAI-compatible stream.

Most frames differ from the one before in one text only: they are recognised by the bytes around it
(`pattern.py`) and passed on as they came. Of the others, each is parsed once by a decoder that looks
only at what decides; only what is not plain text is looked at as objects, and written anew only if
something in it had to change.
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
from routing.adapters.openai_compat.answers import finish_word, mend_reasoning, tier_word
from routing.adapters.openai_compat.calls import CallBook
from routing.adapters.openai_compat.pattern import NO_STRING, Padded, Pattern, Patterns, read_string
from routing.adapters.openai_compat.text_chunk import read_chunk
from routing.adapters.stream import EventStream
from routing.adapters.usage import openai_usage, provider_cost
from routing.core.catalog import Endpoint
from routing.core.usage import NO_USAGE, Usage

_SOURCES = ("citations", "search_results")
_NULL_USAGE = (b',"usage":null', b', "usage": null')


_RENAMED = "reasoning_content"  # as a text it looks like the field, which is then not renamed


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
        self._patterns = Patterns()
        self._pattern: Pattern | None = None  # both set only where they decide alone
        self._padded: Padded | None = None
        self._text = ""  # of the last frame, if that was all there was in it

    @override
    def feed(self, data: bytes) -> bytes:
        """Bytes of one whole text frame come back as the same object, the common case."""
        pattern = self._pattern
        if (
            pattern is None
            or not data.startswith(pattern.before)
            or not data.endswith(pattern.after)
        ):
            return self._feed_any(data)
        try:
            text = read_string(data[pattern.start : pattern.end])
        except NO_STRING:
            return self._feed_any(data)
        if not text or text == _RENAMED or len(data) >= sse.MAX_EVENT_BYTES:
            return self._feed_any(data)
        self.content_frames += 1
        self.output_chars += len(text)
        if not pattern.sent_before:
            return data
        string = data[pattern.start + 1 : pattern.end - 1]
        return b"".join((pattern.sent_before, string, pattern.sent_after))

    @override
    def close(self) -> bytes:
        self._pattern = self._padded = None
        return super().close()

    def _feed_any(self, data: bytes) -> bytes:
        if not self.content_started or not self._splitter.at_rest:
            out = super().feed(data)
        elif data.find(b"\n\n", 0, -2) >= 0:
            return b"".join(map(self.feed, _events_in(data)))
        else:
            out = self._feed_event(data)
        if self._splitter.at_rest and self.error is None and not self.done:
            self._pattern, self._padded = self._patterns.known, self._patterns.padded
        return out

    def _feed_event(self, data: bytes) -> bytes:
        """Not more than one event, after others that were complete."""
        if self._padded is not None and len(data) < sse.MAX_EVENT_BYTES:
            found = self._padded.fit(data)
            if found is not None and found[0] and found[0] != _RENAMED:
                self.content_frames += 1
                self.output_chars += len(found[0])
                return found[1]
        self._pattern = self._padded = None
        if self._is_over() or len(data) >= sse.MAX_EVENT_BYTES or not sse.is_one_frame(data):
            return super().feed(data)
        self._text = ""
        if b'"usage"' not in data and self._take_text(data[6:-2]):
            out = data
        else:
            out = self._take(sse.Frame(data[6:-2]))
        if self._text:
            self._patterns.learn(self.content_frames, data, out, self._text)
        return out

    @override
    def _on_frame(self, frame: sse.Frame) -> bytes:
        payload = frame.data
        if not self.content_started or frame.name:
            return self._on_any(frame.name, payload)
        if b'"usage"' in payload:
            payload = self._without_null_usage(payload)
        if self._is_more_text(payload):
            return sse.encode(payload)
        if self._renames_reasoning and b'"reasoning_content"' not in payload:
            payload = payload.replace(b'"reasoning":', b'"reasoning_content":', 1)
            if self._is_more_text(payload):
                return sse.encode(payload)
        return self._on_any(frame.name, payload)

    def _is_more_text(self, payload: bytes) -> bool:
        return b'"usage"' not in payload and self._take_text(payload)

    @staticmethod
    def _without_null_usage(payload: bytes) -> bytes:
        """Inside a JSON string the quotes would be escaped, so these bytes are always a field."""
        for field in _NULL_USAGE:
            payload = payload.replace(field, b"")
        return payload

    def _take_text(self, payload: bytes) -> bool:
        """True, and counted, for a chunk with more of text, reasoning or arguments, and no else."""
        try:
            chunk = read_chunk(payload)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return False
        if chunk.error is not None or len(chunk.choices) != 1:
            return False
        choice = chunk.choices[0]
        if choice.finish_reason is not None or choice.index not in self._open:
            return False
        delta = choice.delta
        if delta.reasoning or delta.reasoning_details:
            return False
        if delta.function_call or delta.refusal or delta.audio:
            return False
        text, thought = delta.content or "", delta.reasoning_content or ""
        chars = len(text) + len(thought)
        for call in delta.tool_calls or ():
            if call.id or call.function.name or not self._calls.knows(choice.index, call.index):
                return False  # not just more arguments of a call that is in order
            chars += len(call.function.arguments or "")
        if not chars and not delta.tool_calls:
            return False
        if text or delta.tool_calls:
            self.answer_started = True
        is_one_text = not delta.tool_calls and not (text and thought)
        self._text = (text or thought) if is_one_text else ""
        self.content_frames += 1
        self.output_chars += chars
        return True

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
        if not choices:  # usage goes out at the end; heartbeats and filter results say nothing
            return self._sources(chunk)
        for choice in choices:
            changed = self._take_choice(choice) or changed
            if self.error is not None:
                return b""
        return sse.encode(dumps(chunk) if changed else payload)

    def _sources(self, chunk: dict[str, Any]) -> bytes:
        """Sources that come after the text, on a chunk that clients can read like any other."""
        if not self.content_started or not any(chunk.get(field) for field in _SOURCES):
            return b""
        empty = {"index": 0, "delta": {}, "finish_reason": None}
        return sse.encode(dumps({**chunk, "choices": [empty]}))

    def _remember_head(self, chunk: dict[str, Any]) -> None:
        if not self.response_model:
            self.response_model = text_of(chunk.get("model"))
        self.service_tier = tier_word(chunk.get("service_tier")) or self.service_tier
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


def _events_in(data: bytes) -> list[bytes]:
    """Several events that came at once, and what of another one came with them."""
    *whole, rest = data.split(b"\n\n")
    events = [event + b"\n\n" for event in whole]
    return [*events, rest] if rest else events


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
