"""Chat answers to translate, and Anthropic's published types to hold the translation against."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx2
from anthropic import Anthropic
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import BaseModel, TypeAdapter

from routing.surfaces.messages.surface import MessagesSurface, MessagesVoice

REQUEST_ID = "01936f00-0000-7000-8000-000000000001"
MESSAGE_ID = "msg_" + REQUEST_ID.replace("-", "")
NOW = 1_790_000_000.0
ASKED: dict[str, Any] = {
    "model": "asked/model",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hi"}],
}
TOOL = {
    "name": "get_temp",
    "description": "Temperature of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
EPHEMERAL = {"type": "ephemeral", "ttl": "1h"}
HI = {"role": "user", "content": "hi"}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def voice_of(**more: Any) -> MessagesVoice:
    return MessagesSurface().read({**ASKED, **more}, REQUEST_ID, NOW)


def chat_of(**more: Any) -> dict[str, Any]:
    return voice_of(**more).chat


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


# --- what chat answers -------------------------------------------------------------------------


def completion(
    finish: str = "stop", usage: dict[str, Any] | None = None, **message: Any
) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, **message},
        "finish_reason": finish,
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(NOW),
        "model": "up/model",
        "choices": [choice],
        "usage": usage or {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    }


def call(id: str, name: str, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": id, "type": "function", "function": function, **more}


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish, **more}
    return frame({"choices": [choice]})


def usage_chunk(usage: dict[str, Any] | None = None) -> bytes:
    told = usage or {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    return frame({"choices": [], "usage": told})


def frame(fields: dict[str, Any]) -> bytes:
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "up/model",
    }
    return b"data: " + json.dumps({**head, **fields}).encode() + b"\n\n"


def chunks_of(answer: dict[str, Any]) -> list[bytes]:
    """The same answer as a stream, with texts in two pieces and calls one after the other."""
    choice = answer["choices"][0]
    message = choice["message"]
    out = [chunk({"role": "assistant", "content": ""})]
    fields = ("reasoning_content", "reasoning_details", "content", "refusal", "annotations")
    for field in fields:
        value = message.get(field) or ""
        halves = [value] if isinstance(value, list) else [value[:3], value[3:]]
        out += [chunk({field: half}) for half in halves if half]
    for index, made in enumerate(message.get("tool_calls") or []):
        arguments = made["function"]["arguments"]
        opening = {**made, "index": index, "function": {**made["function"], "arguments": ""}}
        pieces = [arguments[:4], arguments[4:]]
        out.append(chunk({"tool_calls": [opening]}))
        out += [
            chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
            for piece in pieces
            if piece
        ]
    more = {"stop_reason": choice["stop_reason"]} if "stop_reason" in choice else {}
    out.append(chunk({}, choice["finish_reason"], **more))
    return [*out, usage_chunk(answer["usage"]), b"data: [DONE]\n\n"]


# --- what the client gets ----------------------------------------------------------------------


def reply_to(voice: MessagesVoice, answer: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(voice.reply(json.dumps(answer).encode()))
    strictly(TypeAdapter(Message), message)
    return message


def streamed(voice: MessagesVoice, data: bytes, cuts: list[int] | None = None) -> bytes:
    stream = voice.open_stream()
    places = [0, *sorted(cuts or []), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    return b"".join(map(stream.feed, pieces)) + stream.close()


def events_in(data: bytes) -> list[dict[str, Any]]:
    """Each event, held against the published types; its name is its type."""
    events = []
    for piece in data.split(b"\n\n")[:-1]:
        name, payload = piece.split(b"\n")
        event = json.loads(payload.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        if event["type"] not in ("ping", "error"):
            strictly(_EVENT, event)
        events.append(event)
    return events


def in_order(events: list[dict[str, Any]]) -> bool:
    """start, then blocks that never overlap and count up, then the delta and the stop."""
    kinds = [event["type"] for event in events if event["type"] != "ping"]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    open_block, next_index = None, 0
    for event in events[1:-2]:
        kind = event["type"]
        if kind == "content_block_start":
            assert open_block is None
            assert event["index"] == next_index
            open_block, next_index = next_index, next_index + 1
        elif kind == "content_block_stop":
            assert event["index"] == open_block
            open_block = None
        elif kind != "ping":
            assert kind == "content_block_delta"
            assert event["index"] == open_block
    return open_block is None


def accumulated(data: bytes) -> dict[str, Any]:
    """The message that Anthropic's own client puts together from the events."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data)

    transport = httpx2.MockTransport(answer)
    with (
        httpx2.Client(transport=transport) as http,
        Anthropic(api_key="k", base_url="http://hub.test", http_client=http) as client,
        client.messages.stream(**ASKED) as stream,
    ):
        whole = stream.get_final_message().to_dict()
    return {name: value for name, value in whole.items() if name != "parsed_output"}


def strictly(adapter: TypeAdapter[Any], data: Any) -> None:
    """Nothing missing, nothing of another type, and nothing that the types do not know."""
    parsed = adapter.validate_python(data, strict=True)
    assert list(_unknown(parsed)) == []


def _unknown(value: Any) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from (f"{type(value).__name__}.{name}" for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from _unknown(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from _unknown(item)
