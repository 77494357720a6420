"""A stream that was cut goes on at another endpoint, where its client asked for that.

The next attempt gets the text so far and is asked to go on from there. The client is told where one
answer ends and the other begins, by a chunk without choices (`panelboard.resumed`), or by a comment
in dialects that know no such thing. Only plain text can go on: calls of tools, several choices and
answers bound to a schema cannot be continued by somebody else.

Each attempt is booked for itself. The usage that the client is told at the end is that of all
attempts which the answer was made of, and so is its cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from routing.adapters import sse
from routing.adapters.base import ChatCall, StreamReader
from routing.adapters.jsonio import dict_of, dicts_in
from routing.core.catalog import Endpoint
from routing.core.errors import UpstreamError
from routing.core.kinds import CHAT
from routing.core.policies import PolicyDocument
from routing.core.usage import estimated_output_tokens
from routing.gateway.money import Money
from routing.gateway.recording import decimal_text
from routing.gateway.scribe import Scribe
from routing.gateway.tally import NO_TALLY

if TYPE_CHECKING:
    from routing.gateway.trying import Trying

GO_ON = (
    "Your answer above was cut off by a fault of the network. Go on with it exactly where it "
    "stops: repeat nothing of it, add nothing before it, and do not mention this."
)
CAPS = ("max_completion_tokens", "max_tokens")
SCHEMA_TYPES = ("json_object", "json_schema")
DONE = b"[DONE]"

Feed = Callable[[bytes], bytes]
Chunk = dict[str, Any]


def can_be_resumed(call: ChatCall) -> bool:
    body = call.body
    wanted = body.get("response_format")
    is_bound = isinstance(wanted, dict) and wanted.get("type") in SCHEMA_TYPES
    return call.stream and call.kind == CHAT and not is_bound and body.get("n") in (None, 1)


def resumer_for(scribe: Scribe, call: ChatCall, settings: PolicyDocument | None) -> Resumer | None:
    """None where neither the request nor its policy asks for it, or it could not be done."""
    by_request = scribe.wishes is not None and scribe.wishes.resume
    by_policy = settings is not None and settings.resume
    return Resumer(call, scribe) if (by_request or by_policy) and can_be_resumed(call) else None


class Resumer:
    """Of one request: what the client has got so far, and how it goes on."""

    __slots__ = (
        "_asked_tokens",
        "_broken",
        "_call",
        "_due",
        "_id",
        "_is_spoiled",
        "_scribe",
        "_so_far",
        "_text",
    )

    def __init__(self, call: ChatCall, scribe: Scribe) -> None:
        self._call = call  # as the client asked
        self._scribe = scribe
        self._asked_tokens: int | None = None  # of the client's own prompt
        self._so_far = NO_TALLY
        self._text: list[str] = []
        self._id = ""  # of the chunks: it stays the same
        self._is_spoiled = False
        self._broken: dict[str, Any] = {}  # about the attempt that was cut
        self._due = b""

    # --- listening ----------------------------------------------------------------------------
    def words(self, trying: Trying, reader: StreamReader) -> tuple[Feed, Callable[[], bytes]]:
        """As Trying asks for them: `feed` and `close`, in the client's dialect."""
        attempt, goes_on, voice = trying.scribe.attempt, trying.sink.started, trying.voice
        assert attempt is not None
        feed, close = self.hear(
            reader, attempt.endpoint, attempt.no, goes_on=goes_on, in_comment=voice is not None
        )
        if voice is None:
            trying.speech = None
        elif reader.is_native:
            trying.speech = voice.open_native_stream()
        elif trying.speech is None or not goes_on:
            trying.speech = voice.open_stream()
        if trying.speech is None:
            return (lambda data: self._marked(feed(data))), lambda: self._marked(close(b""))
        speak = trying.speech.feed
        return (
            lambda data: self._marked(speak(feed(data))),
            lambda: self._marked(speak(close(b""))),
        )

    def hear(
        self, reader: StreamReader, endpoint: Endpoint, no: int, *, goes_on: bool, in_comment: bool
    ) -> tuple[Feed, Feed]:
        """The reader's `feed`, and what `close` does, given any bytes."""
        if reader.is_native:
            self._is_spoiled = True  # in words that are not looked into
            return reader.feed, lambda _: reader.close()
        if not goes_on:
            self._text.clear()
            self._is_spoiled = False
            return self._listening(reader.feed), self._listening(lambda _: reader.close())
        mark = self._mark(endpoint, no, in_comment=in_comment)
        splice = _Splice(reader, self, mark)
        return splice.feed, splice.close

    def _listening(self, feed: Feed) -> Feed:
        frames = sse.FrameSplitter()

        def listen(data: bytes) -> bytes:
            out = feed(data)
            for frame in frames.feed(out):
                chunk = _chunk_of(frame)
                if chunk is not None:
                    self.note(chunk)
            return out

        return listen

    def note(self, chunk: Chunk) -> None:
        """What the client gets with this chunk."""
        self._id = self._id or str(chunk.get("id") or "")
        for choice in dicts_in(chunk.get("choices")):
            delta = dict_of(choice.get("delta"))
            text = delta.get("content")
            if isinstance(text, str):
                self._text.append(text)
            others = any(delta.get(name) for name in ("tool_calls", "function_call", "refusal"))
            if others or choice.get("index") or choice.get("finish_reason"):
                self._is_spoiled = True

    def in_all(self, usage: Chunk) -> Chunk:
        """What the client is told, with what the attempts before have used."""
        return self._so_far.added_to(usage)

    def same_id(self, chunk: Chunk) -> Chunk:
        return {**chunk, "id": self._id} if self._id else chunk

    def mark_is_due(self, mark: bytes) -> None:
        self._due = mark

    def _marked(self, out: bytes) -> bytes:
        """`out`, after the mark where one is due."""
        due, self._due = self._due, b""
        return due + out

    # --- going on -------------------------------------------------------------------------------
    def again(
        self, endpoint: Endpoint, error: UpstreamError, money: Money | None
    ) -> ChatCall | None:
        """The request that goes on where this attempt was cut; None where none can."""
        if self._is_spoiled:
            return None
        text = "".join(self._text)
        self._so_far = self._so_far.plus(money)
        self._expect_longer_prompt(text)
        self._broken = {
            "after_chars": len(text),
            "cause": error.code or str(error.failure),
            "from_provider": endpoint.provider.slug,
            "from_cost_usd": "0"
            if money is None
            else decimal_text(money.charge.amount_usd).decode(),
        }
        body = dict(self._call.body)
        if text:
            said = {"role": "assistant", "content": text}
            body["messages"] = [*body["messages"], said, {"role": "user", "content": GO_ON}]
        for name in CAPS:
            if isinstance(body.get(name), int):
                body[name] = max(body[name] - estimated_output_tokens(len(text)), 1)
        return msgspec.structs.replace(self._call, body=body, raw=b"", is_plain=False, native=None)

    def _expect_longer_prompt(self, text: str) -> None:
        """For the next attempt's estimate, where its provider does not say what it read."""
        facts = self._scribe.facts
        if self._asked_tokens is None:
            self._asked_tokens = facts.input_tokens
        more = estimated_output_tokens(len(text) + len(GO_ON)) if text else 0
        self._scribe.facts = msgspec.structs.replace(facts, input_tokens=self._asked_tokens + more)

    def _mark(self, endpoint: Endpoint, no: int, *, in_comment: bool) -> bytes:
        resumed = {"attempt": no, "provider": endpoint.provider.slug, **self._broken}
        if in_comment:
            return b": panelboard-resumed " + orjson.dumps(resumed) + b"\n\n"
        chunk = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": 0,
            "model": endpoint.model.name,
            "choices": [],
            "panelboard": {"resumed": resumed},
        }
        return _data(chunk)


class _Splice:
    """The stream that goes on: held until its first content, without a second beginning."""

    def __init__(self, reader: StreamReader, resumer: Resumer, mark: bytes) -> None:
        self._reader = reader
        self._resumer = resumer
        self._mark = mark
        self._frames = sse.FrameSplitter()
        self._held: list[bytes] = []
        self._is_open = False

    def feed(self, data: bytes) -> bytes:
        return self._passed(self._frames.feed(self._reader.feed(data)))

    def close(self, _: bytes) -> bytes:
        return self._passed(self._frames.feed(self._reader.close()))

    def _passed(self, frames: list[sse.Frame]) -> bytes:
        self._held += filter(None, map(self._rewritten, frames))
        if not self._is_open:
            if not self._reader.content_started and not self._reader.done:
                return b""
            self._is_open = True
            self._resumer.mark_is_due(self._mark)
        out = b"".join(self._held)
        self._held.clear()
        return out

    def _rewritten(self, frame: sse.Frame) -> bytes:
        chunk = _chunk_of(frame)
        if chunk is None:
            return b"data: " + frame.data + b"\n\n" if frame.data == DONE else b""
        if _only_begins(chunk):
            return b""
        self._resumer.note(chunk)
        if isinstance(chunk.get("usage"), dict):
            chunk["usage"] = self._resumer.in_all(chunk["usage"])
        return _data(self._resumer.same_id(chunk))


def _only_begins(chunk: Chunk) -> bool:
    choices = dicts_in(chunk.get("choices"))
    return bool(choices) and all(
        not choice.get("finish_reason")
        and not any(value for name, value in dict_of(choice.get("delta")).items() if name != "role")
        for choice in choices
    )


def _chunk_of(frame: sse.Frame) -> Chunk | None:
    """None for anything but a chunk of an answer."""
    if frame.name == sse.COMMENT or frame.data == DONE:
        return None
    try:
        chunk = orjson.loads(frame.data)
    except orjson.JSONDecodeError:
        return None
    return chunk if isinstance(chunk, dict) and "error" not in chunk else None


def _data(chunk: Chunk) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
