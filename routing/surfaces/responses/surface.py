"""OpenAI's Responses dialect: `POST /v1/responses`."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from routing.adapters import sse
from routing.adapters.base import NativeCall
from routing.adapters.content import content_chars
from routing.adapters.estimate import estimated_usage
from routing.adapters.jsonio import dict_of, dicts_in, dumps, loads
from routing.adapters.usage import openai_usage_object
from routing.core.errors import HubError
from routing.surfaces import openai_envelope
from routing.surfaces.base import LONGEST_CHUNK_BYTES, Asker, Surface, Voice, VoiceStream
from routing.surfaces.responses.answer import Answer
from routing.surfaces.responses.echo import check_settings, response_base
from routing.surfaces.responses.ids import response_id_for
from routing.surfaces.responses.items import input_items
from routing.surfaces.responses.native import Renaming, native_call
from routing.surfaces.responses.native_stream import NativeResponsesStream
from routing.surfaces.responses.request import (
    CHAT_ONLY,
    MOVED,
    Translation,
    chat_from,
    refuse_impossible,
)
from routing.surfaces.responses.store import (
    NO_HISTORY,
    History,
    Item,
    KeptResponse,
    ResponseStore,
    Shelf,
)


class ResponsesSurface(Surface):
    """`store` keeps what clients want kept; without one nothing is, and responses say so."""

    name = "responses"

    def __init__(self, store: ResponseStore | None = None) -> None:
        self._store = store

    def shelf_of(self, project_id: int) -> Shelf:
        return Shelf(self._store, project_id)

    @override
    async def open(self, body: dict[str, Any], asker: Asker) -> ResponsesVoice:
        shelf = self.shelf_of(asker.project_id)
        check_settings(body)
        history = await shelf.history(body)
        return _voice_of(body, asker.request_id, asker.now_unix_s, history, shelf)

    @override
    def read(self, body: dict[str, Any], request_id: str, now_unix_s: float) -> ResponsesVoice:
        """Of a request that refers to nothing; its response is not kept."""
        check_settings(body)
        if body.get("previous_response_id"):
            raise openai_envelope.refusal(
                "previous_response_id",
                "Nothing is kept here: send the whole conversation as 'input'",
                "unsupported_parameter",
            )
        return _voice_of(body, request_id, now_unix_s, NO_HISTORY, Shelf(None, 0))

    @override
    def error_body(self, error: HubError, request_id: str) -> bytes:
        return openai_envelope.error_body(error, request_id, MOVED)


def _voice_of(
    body: dict[str, Any], request_id: str, now_unix_s: float, history: History, shelf: Shelf
) -> ResponsesVoice:
    refuse_impossible(body)
    response_id = response_id_for(request_id)
    items = input_items(body, response_id, history)
    base = response_base(body, response_id, int(now_unix_s))
    translation = chat_from(body, items)
    native = None
    if translation.essential or CHAT_ONLY.isdisjoint(body):
        native = native_call(body, items)
    return ResponsesVoice(translation, native, items, base, shelf)


class ResponsesVoice(Voice):
    """`deliver` and a stream's `end` keep the response; `reply` and `close` keep nothing."""

    def __init__(
        self,
        translation: Translation,
        native: NativeCall | None,
        items: list[Item],
        base: dict[str, Any],
        shelf: Shelf,
    ) -> None:
        self.chat = translation.chat
        self.uncarried = translation.uncarried
        self.essential = translation.essential
        self.native = native
        self._items = items
        self._base = base
        self._shelf = shelf

    @override
    def reply(self, answer: bytes) -> bytes:
        return dumps(self._whole(answer))

    @override
    async def deliver(self, answer: bytes) -> bytes:
        response = self._whole(answer)
        await self.keep(response)
        return dumps(response)

    def _whole(self, answer: bytes) -> dict[str, Any]:
        document = dict_of(loads(answer))
        whole = Answer({**self._base, "store": False})
        whole.take(document, "message")
        if not document.get("usage"):
            whole.take({"usage": self._estimate(document)}, "message")
        return whole.finish()

    def _estimate(self, document: dict[str, Any]) -> dict[str, Any]:
        """Clients of this dialect count on usage; streams have an estimate too where it lacks."""
        choices = dicts_in(document.get("choices"))
        chars = sum(content_chars(dict_of(choice.get("message"))) for choice in choices)
        return openai_usage_object(estimated_usage(self.chat, chars))

    async def keep(self, response: dict[str, Any]) -> None:
        """Sets `store` in the response to whether it can be found again."""
        if not self._base["store"]:
            return
        response["store"] = True
        kept = KeptResponse(response["id"], self._base["created_at"], self._items, response)
        response["store"] = await self._shelf.keep(kept)

    @override
    async def deliver_native(self, answer: bytes) -> bytes:
        response = Renaming(self._base["id"]).response(dict_of(loads(answer)), self._base)
        response["store"] = False
        await self.keep(response)
        return dumps(response)

    @override
    def open_stream(self) -> ResponsesStream:
        return ResponsesStream(self, dict(self._base))

    @override
    def open_native_stream(self) -> NativeResponsesStream:
        return NativeResponsesStream(self._base, self.keep)


class ResponsesStream(VoiceStream):
    def __init__(self, voice: ResponsesVoice, base: dict[str, Any]) -> None:
        self._voice = voice
        self._frames = sse.FrameSplitter(LONGEST_CHUNK_BYTES)
        self._out: list[bytes] = []
        self._sequence = 0
        self._answer = Answer(base, self._emit)
        self._begun = False
        self._ended = False

    @override
    def feed(self, data: bytes) -> bytes:
        for frame in self._frames.feed(data):
            if frame.name == sse.COMMENT:
                self._out.append(sse.KEEP_ALIVE)
            elif frame.data and frame.data.strip() != b"[DONE]":
                chunk = dict_of(loads(frame.data))
                self._begin(chunk)
                self._answer.take(chunk, "delta")
        return self._taken()

    @override
    def close(self) -> bytes:
        return self._end(self._last_response()) if not self._ended else b""

    @override
    async def end(self) -> bytes:
        if self._ended:
            return b""
        response = self._last_response()
        await self._voice.keep(response)
        return self._end(response)

    def _last_response(self) -> dict[str, Any]:
        self._begin({})
        return {**self._answer.finish(), "store": False}

    def _end(self, response: dict[str, Any]) -> bytes:
        self._ended = True
        self._emit(f"response.{response['status']}", {"response": response})
        return self._taken()

    @override
    def broken(self, error: HubError) -> bytes:
        """The hub's own code in an `error` event, then the end that every client waits for."""
        if self._ended:
            return b""
        self._begin({})
        param = openai_envelope.renamed(error.param, MOVED)
        told = {"code": error.code, "message": error.message, "param": param}
        self._emit("error", told)
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        failed = self._answer.fail({"code": code, "message": error.message})
        return self._end({**failed, "store": False})

    def _begin(self, first: dict[str, Any]) -> None:
        if self._begun:
            return
        self._begun = True
        self._answer.take({name: first[name] for name in _HEAD if name in first}, "delta")
        response = self._answer.response("in_progress")
        for event in ("response.created", "response.in_progress"):
            self._emit(event, {"response": response})

    def _emit(self, event: str, fields: dict[str, Any]) -> None:
        payload = dumps({"type": event, "sequence_number": self._sequence, **fields})
        self._out.append(b"event: " + event.encode() + b"\n" + sse.encode(payload))
        self._sequence += 1

    def _taken(self) -> bytes:
        out, self._out = b"".join(self._out), []
        return out


_HEAD = ("model", "service_tier")
