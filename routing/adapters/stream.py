"""What the stream readers of all dialects share: framing, the end, errors, the usage chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from typing_extensions import override

from routing.adapters import errors, sse
from routing.adapters.base import ChatCall
from routing.adapters.chunks import ChunkWriter
from routing.adapters.estimate import estimated_usage
from routing.adapters.jsonio import BadJson, dumps, loads
from routing.adapters.quirks import Quirks
from routing.adapters.usage import NoteUsage, noted, openai_usage_object
from routing.compiled.marks import mypyc_attr
from routing.core.catalog import Endpoint
from routing.core.errors import BrokenAnswer, UpstreamError
from routing.core.usage import NO_USAGE, Usage

_HEAD_BYTES = 8192


@mypyc_attr(allow_interpreted_subclasses=True)
class EventStream(ABC):
    """Base of the readers. A subclass says what a frame means (`_on_frame`).

    Set `note` to have the hub's cost written into the client's usage chunk. Where the provider
    gave no usage and the client asked for it, that chunk shows `estimated_usage`; the attribute
    `usage` stays what the provider said.
    """

    most_event_bytes: ClassVar[int] = sse.MAX_EVENT_BYTES

    def __init__(self, call: ChatCall, endpoint: Endpoint) -> None:
        self.content_started = False
        self.answer_started = False
        self.done = False
        self.error: UpstreamError | None = None
        self.usage: Usage = NO_USAGE
        self.usage_raw = b""
        self.finish_reason = ""
        self.response_model = ""
        self.service_tier = ""
        self.output_chars = 0
        self.content_frames = 0
        self.is_native = False
        self.note: NoteUsage | None = None
        self._call = call
        self._quirks: Quirks = endpoint.provider.quirks
        self._splitter = sse.FrameSplitter(self.most_event_bytes)
        self._head = b""  # the first bytes, as long as no frame was found in them
        self._saw_frame = False

    def feed(self, data: bytes) -> bytes:
        if self._is_over():
            return b""
        if not self._saw_frame and len(self._head) < _HEAD_BYTES:
            self._head += data[:_HEAD_BYTES]
        return self._relay(self._splitter.feed(data))

    def close(self) -> bytes:
        """EOF. Sets `error` (code `truncated`) unless the answer had ended properly."""
        if self._is_over():
            return b""
        out = self._relay(self._splitter.close())
        return out if self._is_over() else out + self._at_eof()

    def _is_over(self) -> bool:
        return self.done or self.error is not None

    def _relay(self, frames: list[sse.Frame]) -> bytes:
        if len(frames) == 1 and not self._splitter.overflow:
            return self._take(frames[0])
        out = []
        for frame in frames:
            out.append(self._take(frame))
            if self._is_over():
                break
        if self._splitter.overflow and not self._is_over():
            self._too_large()
        return b"".join(out)

    def _take(self, frame: sse.Frame) -> bytes:
        self._saw_frame = True
        if frame.name == sse.COMMENT:
            return sse.KEEP_ALIVE if self.content_started else b""
        if not frame.data:
            return b""
        try:
            return self._on_frame(frame)
        except BadJson:
            return self._fail(
                "malformed_frame", "The provider sent an event that is not a JSON object."
            )

    @abstractmethod
    def _on_frame(self, frame: sse.Frame) -> bytes:
        """Client bytes for one event with data. May raise BadJson."""

    @abstractmethod
    def _ended(self) -> bool:
        """Did the answer itself come to its end, so that EOF is no truncation?"""

    def _shown_usage(self) -> tuple[Usage, dict[str, Any]]:
        """Usage for the client's chunk, and its JSON form."""
        usage = self.usage
        if usage == NO_USAGE:
            usage = estimated_usage(self._call.body, self.output_chars)
        return usage, openai_usage_object(usage)

    @abstractmethod
    def _usage_chunk(self, shown: dict[str, Any]) -> bytes:
        """The OpenAI-style chunk without choices that carries `shown`."""

    def _at_eof(self) -> bytes:
        if self._ended():
            return self._finish()
        if self._saw_frame or not self._head.strip():
            return self._truncated()
        self.error = self._error_in_body()
        return b""

    def _error_in_body(self) -> UpstreamError:
        """The answer was no event stream at all: an error object, or a web page."""
        try:
            document = loads(self._head)
        except BadJson:
            return errors.not_an_answer(self._head)
        if errors.is_error(document):
            return errors.refused(errors.facts_of(document), 200, self._quirks, body=self._head)
        return BrokenAnswer("not_a_stream", "The provider sent one document instead of a stream.")

    def _finish(self) -> bytes:
        """The proper end: the usage chunk if the client asked for one, then [DONE], once."""
        self.done = True
        if not self._call.wants_usage:
            return sse.DONE
        usage, shown = self._shown_usage()
        if self.note is not None:
            shown = noted(shown, self.note(usage))
        return self._usage_chunk(shown) + sse.DONE

    def _fail(self, code: str, message: str) -> bytes:
        self.error = BrokenAnswer(code, message)
        return b""

    def _too_large(self) -> bytes:
        most_mib = self.most_event_bytes // 2**20
        return self._fail(
            "event_too_large", f"The provider sent an event of more than {most_mib} MiB."
        )

    def _truncated(self) -> bytes:
        return self._fail(
            "truncated", "The provider's stream ended before the answer was complete."
        )

    def _refuse(self, document: Any) -> bytes:
        """The provider reports an error inside the stream."""
        facts = errors.facts_of(document)
        self.error = errors.refused(facts, 200, self._quirks, body=dumps(document))
        return b""

    def _count(self, chars: int, *, is_answer: bool) -> None:
        """One frame with content: `chars` of text, reasoning or tool arguments."""
        self.content_started = True
        self.answer_started = self.answer_started or is_answer
        self.content_frames += 1
        self.output_chars += chars


@mypyc_attr(allow_interpreted_subclasses=True)
class TranslatedStream(EventStream):
    """Base for dialects whose events become OpenAI chunks."""

    def __init__(self, call: ChatCall, endpoint: Endpoint, created: int) -> None:
        super().__init__(call, endpoint)
        self._write = ChunkWriter(created, model=endpoint.upstream_model)

    @override
    def _usage_chunk(self, shown: dict[str, Any]) -> bytes:
        return self._write.usage(shown)
