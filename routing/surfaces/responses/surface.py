"""OpenAI's Responses dialect: `POST /v1/responses`."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from routing.adapters import sse
from routing.adapters.base import NativeCall
from routing.adapters.jsonio import dict_of, dumps, loads
from routing.core.errors import HubError
from routing.surfaces import openai_envelope
from routing.surfaces.base import Surface, Voice, VoiceStream
from routing.surfaces.responses.answer import Answer
from routing.surfaces.responses.echo import check_settings, response_base
from routing.surfaces.responses.ids import response_id_for
from routing.surfaces.responses.items import input_items
from routing.surfaces.responses.request import MOVED, chat_from
from routing.surfaces.responses.store import NO_HISTORY, History, Item, KeptResponse, Shelf

NATIVE_DIALECT = "openai_responses"
_HUB_FIELDS = ("provider", "models")


class ResponsesSurface(Surface):
    name = "responses"

    @override
    def read(
        self,
        body: dict[str, Any],
        request_id: str,
        now_unix_s: float,
        history: History = NO_HISTORY,
    ) -> ResponsesVoice:
        """`history` is what `Shelf.history` found for this body. Raises HubError 400."""
        check_settings(body)
        if body.get("previous_response_id") and history.previous is None:
            raise openai_envelope.refusal(
                "previous_response_id",
                "This hub keeps no responses: send the whole conversation as 'input'",
                "unsupported_parameter",
            )
        response_id = response_id_for(request_id)
        items = input_items(body, response_id, history)
        base = response_base(body, response_id, int(now_unix_s))
        return ResponsesVoice(body, items, base)

    @override
    def error_body(self, error: HubError, request_id: str) -> bytes:
        return openai_envelope.error_body(error, request_id, MOVED)


class ResponsesVoice(Voice):
    """`reply` and `VoiceStream.close` keep nothing; `finish` of both does, where it was asked."""

    def __init__(self, body: dict[str, Any], items: list[Item], base: dict[str, Any]) -> None:
        self.chat, self.uncarried = chat_from(body, items)
        self.native = NativeCall(NATIVE_DIALECT, _native_body(body, items))
        self.wants_keeping = body.get("store") is not False
        self.is_kept = False  # known after `finish`
        self._items = items
        self._base = base

    @override
    def reply(self, answer: bytes) -> bytes:
        return dumps(self._whole(answer))

    async def finish(self, answer: bytes, shelf: Shelf) -> bytes:
        """`reply`, and the response is kept before anybody can ask for it."""
        response = self._whole(answer)
        await self.keep(response, shelf)
        return dumps(response)

    def _whole(self, answer: bytes) -> dict[str, Any]:
        whole = Answer(dict(self._base))
        whole.take(dict_of(loads(answer)), "message")
        return whole.finish()

    async def keep(self, response: dict[str, Any], shelf: Shelf) -> None:
        """Sets `store` in the response to whether it can be found again."""
        if not self.wants_keeping:
            return
        response["store"] = True
        kept = KeptResponse(response["id"], response["created_at"], self._items, response)
        self.is_kept = response["store"] = await shelf.keep(kept)

    @override
    def open_stream(self) -> ResponsesStream:
        return ResponsesStream(self, {**self._base, "store": self.wants_keeping})


class ResponsesStream(VoiceStream):
    def __init__(self, voice: ResponsesVoice, base: dict[str, Any]) -> None:
        self._voice = voice
        self._frames = sse.FrameSplitter()
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

    async def finish(self, shelf: Shelf) -> bytes:
        """`close`, and the response is kept before the last event leaves."""
        if self._ended:
            return b""
        response = self._last_response()
        await self._voice.keep(response, shelf)
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


def _native_body(body: dict[str, Any], items: list[Item]) -> dict[str, Any]:
    """What the client wrote, with the earlier turns in it: a provider does not know our ids."""
    ours = {*_HUB_FIELDS, "previous_response_id", "store"}
    sent = {name: value for name, value in body.items() if name not in ours}
    return {**sent, "input": items, "store": False}
