"""Writes OpenAI chat answers, whole and streamed, with each provider's habits."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

from routing.simulator.answers import Choice, Part
from routing.simulator.session import ENCODER, Frame, Kind, Session, groups_of
from routing.simulator.tokens import pieces_of
from routing.simulator.usage_shapes import place, time_info, usage_object

DONE = b"data: [DONE]\n\n"
_MARK = "\u0001cut\u0001"
_MARK_BYTES = ENCODER.encode(_MARK)


def finish_word(session: Session, finish: str) -> str:
    """The provider's own word for an OpenAI finish reason."""
    finish = "stop" if finish == "stop_sequence" else finish
    return session.provider.persona.finish_words.get(finish, finish)


def call_id(session: Session, choice_no: int, call_no: int) -> str:
    """Stable for the response; in the provider's own format."""
    source = f"{session.response_id}/{choice_no}/{call_no}".encode()
    digest = hashlib.sha256(source).hexdigest()
    formats = {"call": f"call_{digest[:24]}", "nine": digest[:9], "bare": digest[:12]}
    return formats[session.provider.persona.call_id]


def whole_call(session: Session, choice_no: int, part: Part) -> dict[str, Any]:
    return {
        "id": call_id(session, choice_no, part.call_no),
        "type": "function",
        "function": {"name": part.tool, "arguments": part.text},
    }


def reply(session: Session) -> bytes:
    output = sum(choice.tokens() for choice in session.choices)
    reasoning = sum(choice.tokens("reasoning") for choice in session.choices)
    body: dict[str, Any] = {
        "id": session.response_id,
        "object": "chat.completion",
        "created": session.created,
        "model": session.response_model,
        "choices": [_whole_choice(session, no, c) for no, c in enumerate(session.choices)],
    }
    if session.ask.service_tier:
        body["service_tier"] = session.ask.service_tier
    _add_usage(body, session, output, reasoning)
    _add_times(body, session)
    lead = b"\n\n" if session.provider.traits.ignore_leading_blank else b""
    return lead + ENCODER.encode(body)


def _whole_choice(session: Session, number: int, choice: Choice) -> dict[str, Any]:
    calls = [whole_call(session, number, part) for part in choice.parts if part.kind == "call"]
    message: dict[str, Any] = {"role": "assistant", "content": choice.text("text") or None}
    if calls:
        message["tool_calls"] = calls
    reasoning, field = choice.text("reasoning"), session.provider.traits.reasoning_field_out
    if reasoning and field != "none":
        message[field] = reasoning
    return {
        "index": number,
        "message": message,
        "logprobs": _logprobs(session, choice),
        "finish_reason": finish_word(session, choice.finish),
    }


def _logprobs(session: Session, choice: Choice) -> dict[str, Any] | None:
    if not session.ask.logprobs or not session.endpoint.can("logprobs"):
        return None
    pieces = [piece for part in choice.parts if part.kind == "text" for piece in part.pieces]
    return {"content": [logprob(piece) for piece in pieces], "refusal": None}


def logprob(piece: str) -> dict[str, Any]:
    value = -round(math.log1p(len(piece)) / 4, 6)
    return {"token": piece, "bytes": list(piece.encode()), "logprob": value, "top_logprobs": []}


def _add_usage(body: dict[str, Any], session: Session, output: int, reasoning: int) -> None:
    usage = usage_object(session, output, reasoning)
    # In a whole answer usage stands at the top, wherever a stream has it.
    place(body, ("usage",), usage)
    body |= _own_id(session)


def _own_id(session: Session) -> dict[str, Any]:
    """Groq names the request in a field of its own, in which a stream later has the usage."""
    if any(path.startswith("x_groq") for path in session.provider.traits.usage_paths):
        return {"x_groq": {"id": f"req_{session.response_id[-24:]}"}}
    return {}


def _add_times(body: dict[str, Any], session: Session) -> None:
    if "time_info" in session.provider.persona.usage_extras:
        body["time_info"] = {**time_info(session), "created": session.created}


# --- streams ---------------------------------------------------------------------------------------


class StreamWriter:
    """Yields the frames of one stream; counts what it has yielded for cumulative usage."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.mode = session.provider.traits.usage_mode
        self.asked = session.ask.include_usage
        self.output = 0
        self.reasoning = 0

    def frames(self) -> Iterator[Frame]:
        yield from self._heads()
        for number, choice in enumerate(self.session.choices):
            for part in choice.parts:
                yield from self._part(number, part)
            yield self._finish(number, choice)
        if self._trailing_usage():
            yield self._usage()
        if self.session.provider.traits.done_required:
            yield Frame(Kind.DONE, DONE)

    def _heads(self) -> Iterator[Frame]:
        comment = self.session.provider.persona.keep_alive_comment
        if comment:
            yield Frame(Kind.HEAD, comment.encode() + b"\n\n")
        for number in range(len(self.session.choices)):
            chunk = self._chunk(number, {"role": "assistant", "content": ""})
            yield Frame(Kind.HEAD, self._event(chunk | _own_id(self.session)))

    def _part(self, number: int, part: Part) -> Iterator[Frame]:
        if part.kind == "call":
            yield from self._call(number, part)
        elif part.kind == "text":
            yield from self._text(number, "content", part)
        else:
            yield from self._reasoning(number, part)

    def _reasoning(self, number: int, part: Part) -> Iterator[Frame]:
        field = self.session.provider.traits.reasoning_field_out
        if field != "none":
            yield from self._text(number, field, part)
        else:
            self.output += part.tokens
            self.reasoning += part.tokens
            yield Frame(Kind.CONTENT, b"", part.tokens, part.tokens)

    def _text(self, number: int, field: str, part: Part) -> Iterator[Frame]:
        persona = self.session.provider.persona
        delta: dict[str, Any] = {"role": "assistant"} if persona.role_everywhere else {}
        delta[field] = _MARK
        if persona.empty_tool_lists:
            delta["tool_calls"] = []
        wants_logprobs = field == "content" and self.session.ask.logprobs
        changing = wants_logprobs or self.mode == "every_chunk"
        before, after = self._event(self._chunk(number, delta)).split(_MARK_BYTES)
        for pieces in groups_of(part.pieces, self.session.pieces_per_chunk):
            tokens = len(pieces)
            thought = tokens if part.kind == "reasoning" else 0
            self.output += tokens
            self.reasoning += thought
            text = "".join(pieces)
            if changing:
                data = self._event(self._chunk(number, {**delta, field: text}, pieces=pieces))
            else:
                data = before + ENCODER.encode(text) + after
            yield Frame(Kind.CONTENT, data, tokens, thought)

    def _call(self, number: int, part: Part) -> Iterator[Frame]:
        style = self.session.provider.persona.tool_style
        call = whole_call(self.session, number, part)
        self.output += part.tokens
        if style in {"whole", "whole_bare"}:
            delta = {"index": part.call_no, **call}
            if style == "whole_bare":
                delta = {"id": call["id"], "function": call["function"]}
            yield self._call_frame(number, delta, part.tokens)
            return
        opening = {**call, "function": {"name": part.tool, "arguments": ""}}
        first = len(pieces_of(part.tool))
        yield self._call_frame(number, {"index": part.call_no, **opening}, first)
        for pieces in groups_of(part.pieces, self.session.pieces_per_chunk):
            function: dict[str, Any] = {"arguments": "".join(pieces)}
            delta = {"index": part.call_no, "function": function}
            if style == "repeat":
                delta |= {"id": call["id"], "type": "function"}
                function["name"] = part.tool
            yield self._call_frame(number, delta, len(pieces))

    def _call_frame(self, number: int, call_delta: dict[str, Any], tokens: int) -> Frame:
        chunk = self._chunk(number, {"tool_calls": [call_delta]})
        return Frame(Kind.CONTENT, self._event(chunk), tokens)

    def _finish(self, number: int, choice: Choice) -> Frame:
        chunk = self._chunk(number, {}, finish=finish_word(self.session, choice.finish))
        last = number == len(self.session.choices) - 1
        if last and (self.mode == "finish_chunk" or self._always_with_finish()):
            self._place_usage(chunk)
        if last:
            _add_times(chunk, self.session)
        return Frame(Kind.FINISH, self._event(chunk))

    def _trailing_usage(self) -> bool:
        if self.mode in {"always", "events"}:
            return self.asked or not self._always_with_finish()
        return self.asked and self.mode == "include_usage"

    def _always_with_finish(self) -> bool:
        return self.mode == "always" and self.session.provider.persona.usage_with_finish

    def _usage(self) -> Frame:
        chunk = {**self._chunk(0, {}), "choices": []}
        self._place_usage(chunk)
        _add_times(chunk, self.session)
        return Frame(Kind.USAGE, self._event(chunk))

    def _place_usage(self, chunk: dict[str, Any]) -> None:
        usage = usage_object(self.session, self.output, self.reasoning)
        paths = self.session.provider.traits.usage_paths
        if not chunk["choices"]:
            paths = tuple(p for p in paths if not p.startswith("choices")) or ("usage",)
        place(chunk, paths, usage)

    def _chunk(
        self,
        number: int,
        delta: dict[str, Any],
        finish: str = "",
        pieces: list[str] | None = None,
    ) -> dict[str, Any]:
        session = self.session
        not_yet = "" if session.provider.persona.empty_finish else None
        choice: dict[str, Any] = {
            "index": number,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish or not_yet,
        }
        if pieces is not None and session.ask.logprobs and session.endpoint.can("logprobs"):
            choice["logprobs"] = {"content": [logprob(piece) for piece in pieces]}
        chunk: dict[str, Any] = {
            "id": session.response_id,
            "object": "chat.completion.chunk",
            "created": session.created,
            "model": session.response_model,
            "choices": [choice],
        }
        if self.mode == "every_chunk":
            self._place_usage(chunk)
        elif self.asked and self.mode == "include_usage":
            chunk["usage"] = None
        return chunk

    def _event(self, chunk: dict[str, Any]) -> bytes:
        return b"data: " + ENCODER.encode(chunk) + b"\n\n"
