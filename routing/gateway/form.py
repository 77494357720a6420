"""Looks at the form of answers that were to have one: tool calls, or JSON by a schema.

Only for requests that need it, after the client has its last byte, and only at answers that came to
an end of their own: one that a limit or a stop word cut short says nothing of its endpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, cast

import msgspec

from routing.adapters.base import ChatCall, Reply, StreamReader
from routing.adapters.forms import response_format_kind, schema_of, tool_wish
from routing.adapters.jsonio import BadJson, dict_of, dumps, list_of, loads, text_of
from routing.adapters.sse import COMMENT, FrameSplitter
from routing.core.validity import (
    NEEDS_FORM,
    Schema,
    arguments_are_sound,
    reply_is_sound,
    tool_calls_are_sound,
)
from routing.gateway.attempt import Attempt
from routing.gateway.scribe import Scribe

MOST_BYTES = 2 * 2**20  # of an answer; a longer one is not looked at
ASIDE_BYTES = 64 * 2**10  # a longer one is looked at on a thread
MUST_CALL = frozenset({"required", "any", "named"})
JSON_KINDS = frozenset({"json_object", "json_schema"})
ENDED_WELL = frozenset(
    {"stop", "tool_calls", "function_call", "end_turn", "tool_use", "stop_sequence", "completed"}
)


class Asked(msgspec.Struct, frozen=True):
    """The form that an answer is to have."""

    tools: dict[str, Schema | None]  # the parameters' schema of each function by its name
    only_these: bool = True  # no other tools were offered
    must_call: bool = False
    is_json: bool = False
    schema: Schema | None = None


class Call(msgspec.Struct):
    name: str = ""
    arguments: str | None = ""  # None: not even a text


class Answer(msgspec.Struct):
    """One choice of an answer, whichever dialect it came in."""

    finish: str = ""
    text: str = ""
    calls: dict[int | str, Call] = {}
    is_other: bool = False  # a refusal, sound, a call of another kind: not to be judged

    def call(self, place: int | str) -> Call:
        return self.calls.setdefault(place, Call())


class Overheard:
    """A stream reader whose output is kept besides, until it is too much."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self.pieces: list[bytes] = []
        self.size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def feed(self, data: bytes) -> bytes:
        return self._kept(self._reader.feed(data))

    def close(self) -> bytes:
        return self._kept(self._reader.close())

    def _kept(self, out: bytes) -> bytes:
        self.size += len(out)
        if self.size <= MOST_BYTES:
            self.pieces.append(out)
        else:
            self.pieces.clear()
        return out


# --- what an attempt asks for ---------------------------------------------------------------------
def overhear(reader: StreamReader, scribe: Scribe, *, goes_on: bool) -> StreamReader:
    """To be read instead of `reader`, where the answer's form is to be looked at later.

    An answer that goes on with what another attempt began is no whole answer.
    """
    attempt = scribe.attempt
    assert attempt is not None
    if goes_on or scribe.facts.needs.isdisjoint(NEEDS_FORM):
        attempt.overheard = None
        return reader
    attempt.overheard = overheard = Overheard(reader)
    return cast(StreamReader, overheard)


def look_at_stream(scribe: Scribe, call: ChatCall, attempt: Attempt) -> None:
    """Of an attempt that `overhear` was asked for."""
    overheard = attempt.overheard
    if isinstance(overheard, Overheard) and overheard.pieces:
        _look(scribe, call, attempt, overheard.pieces, overheard.size, is_stream=True)


def look_at_reply(scribe: Scribe, call: ChatCall, attempt: Attempt, reply: Reply) -> None:
    if not scribe.facts.needs.isdisjoint(NEEDS_FORM) and len(reply.raw) <= MOST_BYTES:
        _look(scribe, call, attempt, [reply.raw], len(reply.raw), is_stream=False)


def _look(
    scribe: Scribe,
    call: ChatCall,
    attempt: Attempt,
    pieces: Sequence[bytes],
    size: int,
    *,
    is_stream: bool,
) -> None:
    asked = asked_of(call.body, attempt.dropped)
    if asked is None:
        return
    judge = partial(verdict, asked, pieces, is_stream=is_stream)
    note = partial(_note, scribe, attempt.endpoint.id)
    if size <= ASIDE_BYTES:
        note(judge())
        return
    work = asyncio.get_running_loop().run_in_executor(None, judge)
    work.add_done_callback(lambda done: None if done.cancelled() else note(done.result()))


def _note(scribe: Scribe, endpoint_id: int, is_sound: bool | None) -> None:
    if is_sound is not None:
        gateway = scribe.gateway
        gateway.health.on_form(endpoint_id, gateway.monotonic(), is_sound)


# --- what was asked for ---------------------------------------------------------------------------
def asked_of(body: dict[str, Any], dropped: Sequence[str] = ()) -> Asked | None:
    """None where nothing can be held against an answer. `dropped` was not sent on."""
    lost = {name.partition(".")[0] for name in dropped}
    if body.get("stop") or "tools" in lost:
        return None  # it may be cut anywhere; the tools are unknown to whoever answered
    tools: dict[str, Schema | None] = {}
    offered = list_of(body.get("tools"))
    for tool in map(dict_of, offered):
        function = dict_of(tool.get("function"))
        if tool.get("type") == "function" and isinstance(function.get("name"), str):
            tools[function["name"]] = dict_of(function.get("parameters")) or None
    is_json = _wants_json(body) and "response_format" not in lost
    wish = tool_wish(body)
    if not is_json and (not offered or wish.mode == "none"):
        return None
    return Asked(
        tools,
        only_these=len(tools) == len(offered),
        must_call=wish.mode in MUST_CALL and "tool_choice" not in lost,
        is_json=is_json,
        schema=(schema_of(body) or None) if is_json else None,
    )


def _wants_json(body: dict[str, Any]) -> bool:
    """An answer that goes on with what the client began is not whole JSON by itself."""
    messages = list_of(body.get("messages"))
    goes_on = bool(messages) and dict_of(messages[-1]).get("role") == "assistant"
    return response_format_kind(body) in JSON_KINDS and not goes_on


# --- what came ------------------------------------------------------------------------------------
def verdict(asked: Asked, pieces: Sequence[bytes], *, is_stream: bool) -> bool | None:
    """None where there is nothing to be said of the form."""
    try:
        answers = _streamed(pieces) if is_stream else _whole(loads(b"".join(pieces)))
    except BadJson:
        return None
    found = [one for one in (_judged(asked, answer) for answer in answers) if one is not None]
    return all(found) if found else None


def _judged(asked: Asked, answer: Answer) -> bool | None:
    if answer.is_other or answer.finish not in ENDED_WELL:
        return None
    if answer.calls:
        return all(_is_sound(asked, call) for call in answer.calls.values())
    if asked.must_call:
        return False
    return reply_is_sound(answer.text, asked.schema) if asked.is_json else None


def _is_sound(asked: Asked, call: Call) -> bool:
    if call.arguments is None:
        return False
    if asked.only_these or call.name in asked.tools:
        return tool_calls_are_sound([(call.name, call.arguments)], asked.tools)
    return arguments_are_sound(call.arguments, None)


def _whole(body: Any) -> Iterable[Answer]:
    """By its shape, because a provider of the client's dialect answers in that."""
    document = dict_of(body)
    if "choices" in document:
        return map(_chat_answer, map(dict_of, list_of(document["choices"])))
    if document.get("object") == "response":
        return [_response(document)]
    if document.get("type") == "message":
        return [_message(document)]
    return []


def _chat_answer(choice: dict[str, Any]) -> Answer:
    answer, said = Answer(), dict_of(choice.get("message"))
    _take_chat(answer, choice, said)
    for number, given in enumerate(map(dict_of, list_of(said.get("tool_calls")))):
        _take_call(answer, number, given)
    return answer


def _take_chat(answer: Answer, choice: dict[str, Any], said: dict[str, Any]) -> None:
    """A whole message, or a piece of one."""
    answer.finish = text_of(choice.get("finish_reason")) or answer.finish
    answer.text += text_of(said.get("content"))
    answer.is_other |= bool(said.get("refusal") or said.get("audio") or said.get("function_call"))


def _take_call(answer: Answer, place: int | str, given: dict[str, Any]) -> None:
    function = dict_of(given.get("function"))
    answer.is_other |= given.get("type") not in (None, "", "function")
    call = answer.call(place)
    call.name = call.name or text_of(function.get("name"))
    _add_arguments(call, function.get("arguments"))


def _add_arguments(call: Call, given: object) -> None:
    if given is None:
        return
    if isinstance(given, str) and call.arguments is not None:
        call.arguments += given
    else:
        call.arguments = None


def _message(document: dict[str, Any]) -> Answer:
    """Of the Messages dialect."""
    answer = Answer(text_of(document.get("stop_reason")))
    for place, block in enumerate(map(dict_of, list_of(document.get("content")))):
        _take_block(answer, place, block)
    return answer


def _take_block(answer: Answer, place: int | str, block: dict[str, Any]) -> None:
    if block.get("type") == "tool_use":
        call = answer.call(place)
        call.name = text_of(block.get("name"))
        given = block.get("input")
        call.arguments = dumps(given).decode() if given else ""
    answer.text += text_of(block.get("text"))


def _response(document: dict[str, Any]) -> Answer:
    """Of the Responses dialect."""
    answer = Answer(text_of(document.get("status")))
    for place, item in enumerate(map(dict_of, list_of(document.get("output")))):
        if item.get("type") == "function_call":
            call = answer.call(place)
            call.name = text_of(item.get("name"))
            _add_arguments(call, item.get("arguments"))
        for part in map(dict_of, list_of(item.get("content"))):
            answer.is_other |= part.get("type") == "refusal"
            if part.get("type") == "output_text":
                answer.text += text_of(part.get("text"))
    return answer


Answers = dict[int | str, Answer]  # by the index of the choice


def _streamed(pieces: Sequence[bytes]) -> Iterable[Answer]:
    answers: Answers = {}
    frames = FrameSplitter()
    for frame in [*frames.feed(b"".join(pieces)), *frames.close()]:
        if frame.name == COMMENT or not frame.data.startswith(b"{"):
            continue
        event = dict_of(loads(frame.data))
        take = _EVENTS.get(text_of(event.get("type")), _take_chunk)
        take(answers, event)
    return answers.values()


def _take_chunk(answers: Answers, event: dict[str, Any]) -> None:
    for choice in map(dict_of, list_of(event.get("choices"))):
        answer, said = _at(answers, choice.get("index")), dict_of(choice.get("delta"))
        _take_chat(answer, choice, said)
        for given in map(dict_of, list_of(said.get("tool_calls"))):
            _take_call(answer, _place(answer, given), given)


def _at(answers: Answers, index: object) -> Answer:
    return answers.setdefault(index if isinstance(index, int) else 0, Answer())


def _place(answer: Answer, given: dict[str, Any]) -> int | str:
    """Where there is no index, an id begins a call, and what has none goes on with the last."""
    index = given.get("index")
    if isinstance(index, int):
        return index
    return text_of(given.get("id")) or next(reversed(answer.calls), 0)


def _begin_block(answers: Answers, event: dict[str, Any]) -> None:
    _take_block(_at(answers, 0), _block(event), dict_of(event.get("content_block")))


def _take_delta(answers: Answers, event: dict[str, Any]) -> None:
    answer, delta = _at(answers, 0), dict_of(event.get("delta"))
    answer.text += text_of(delta.get("text"))
    if delta.get("type") == "input_json_delta" and _block(event) in answer.calls:
        _add_arguments(answer.call(_block(event)), delta.get("partial_json"))


def _block(event: dict[str, Any]) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else 0


def _end_message(answers: Answers, event: dict[str, Any]) -> None:
    answer = _at(answers, 0)
    answer.finish = text_of(dict_of(event.get("delta")).get("stop_reason")) or answer.finish


def _take_response(answers: Answers, event: dict[str, Any]) -> None:
    answers[0] = _response(dict_of(event.get("response")))


_EVENTS = {
    "content_block_start": _begin_block,
    "content_block_delta": _take_delta,
    "message_delta": _end_message,
    "response.completed": _take_response,
}
