"""Asking the Responses surface, and holding its answers against OpenAI's published types."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_item_list import ResponseItemList
from pydantic import TypeAdapter

from routing.surfaces.base import Asker
from routing.surfaces.responses import (
    KeptResponse,
    ResponsesSurface,
    ResponseStore,
    ResponsesVoice,
    ResponseTooLarge,
    StoreUnavailable,
)

REQUEST_ID = "01945a3e-0000-7000-8000-00000000abcd"
NOW_S = 1_790_000_000.25
MODEL = "openai/gpt-oss-120b"
SURFACE = ResponsesSurface()
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 8},
}
TOOL = {
    "type": "function",
    "name": "get_temp",
    "description": "degrees",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
SSE_DONE = b"data: [DONE]\n\n"

_event_type: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


class MemoryStore:
    """Keeps in a dictionary; `broken` plays a database that does not answer."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], KeptResponse] = {}
        self.asked = 0
        self.broken = False
        self.too_large = False

    async def get(self, response_id: str, project_id: int) -> KeptResponse | None:
        self._look()
        return self.rows.get((response_id, project_id))

    async def put(self, kept: KeptResponse, project_id: int) -> None:
        self._look()
        if self.too_large:
            raise ResponseTooLarge("too large")
        # as a real store does: nothing is shared with what the caller holds
        copy = json.loads(json.dumps([kept.input, kept.response]))
        self.rows[kept.id, project_id] = KeptResponse(kept.id, kept.created_at, *copy)

    async def delete(self, response_id: str, project_id: int) -> bool:
        self._look()
        return self.rows.pop((response_id, project_id), None) is not None

    def _look(self) -> None:
        self.asked += 1
        if self.broken:
            raise StoreUnavailable("down")


def request(input: Any = "hello", **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": input, **more}


def voice_of(input: Any = "hello", **more: Any) -> ResponsesVoice:
    return SURFACE.read(request(input, **more), REQUEST_ID, NOW_S)


def request_id(no: int) -> str:
    return f"01945a3e-0000-7000-8000-{no:012x}"


async def asked(
    body: dict[str, Any], store: ResponseStore | None, no: int, project_id: int = 1
) -> ResponsesVoice:
    asker = Asker(request_id(no), NOW_S, project_id, [])
    return await ResponsesSurface(store).open(body, asker)


# --- what providers answer -------------------------------------------------------------------


def chat_answer(message: dict[str, Any] | str, finish: str = "stop", **more: Any) -> dict[str, Any]:
    said = {"content": message} if isinstance(message, str) else message
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **said}}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "choices": [choice],
        "usage": USAGE,
        **more,
    }


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **choice: Any) -> bytes:
    body = {"index": 0, "delta": delta or {}, "finish_reason": finish, **choice}
    return frame({"choices": [body]})


def frame(fields: dict[str, Any]) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-1"}
    return b"data: " + json.dumps({**head, **fields}).encode() + b"\n\n"


def tool_delta(index: int, arguments: str, id: str = "", name: str = "", **more: Any) -> bytes:
    head = {"id": id, "type": "function"} if id else {}
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return chunk({"tool_calls": [{"index": index, **head, "function": function, **more}]})


USAGE_CHUNK = frame({"choices": [], "usage": USAGE})


def chat_stream(*chunks: bytes, finish: str = "stop") -> bytes:
    role = chunk({"role": "assistant", "content": ""})
    return b"".join([role, *chunks, chunk({}, finish), USAGE_CHUNK, SSE_DONE])


# --- what clients get ------------------------------------------------------------------------


def reply_to(voice: ResponsesVoice, answer: dict[str, Any]) -> dict[str, Any]:
    return checked_response(voice.reply(json.dumps(answer).encode()))


def checked_response(body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body)
    Response.model_validate(document, strict=True)
    return document


def checked_items(body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body)
    ResponseItemList.model_validate(document, strict=True)
    return document


def stream_to(voice: ResponsesVoice, *slices: bytes) -> list[dict[str, Any]]:
    stream = voice.open_stream()
    return checked_events(b"".join([*map(stream.feed, slices), stream.close()]))


def checked_events(data: bytes) -> list[dict[str, Any]]:
    """Each event by its own type, numbered without a gap, named as in its data."""
    events = []
    for block in data.decode().split("\n\n"):
        if not block or block.startswith(":"):
            continue
        name, _, payload = block.partition("\n")
        event = json.loads(payload.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        _event_type.validate_python(event, strict=True)
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def kinds(events: Iterable[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def joined(events: Iterable[dict[str, Any]], kind: str, item_id: str) -> str:
    return "".join(
        event["delta"]
        for event in events
        if event["type"] == f"response.{kind}.delta" and event["item_id"] == item_id
    )
