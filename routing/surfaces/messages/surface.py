"""`/v1/messages`: Anthropic's clients, in their own words."""

from __future__ import annotations

from typing import Any

import msgspec
from typing_extensions import override

from routing.adapters.anthropic.native import BETA_HEADER, DIALECT, carried_headers
from routing.adapters.base import Headers, NativeCall
from routing.adapters.jsonio import dict_of, dumps, loads
from routing.core.errors import HubError
from routing.surfaces.base import Asker, Surface, Voice
from routing.surfaces.messages.errors import error_body
from routing.surfaces.messages.reply import message_from
from routing.surfaces.messages.request import to_chat
from routing.surfaces.messages.stream import MessagesStream

_OF_THE_HUB = ("provider", "models")


class MessagesVoice(Voice):
    """`essential` names those of `uncarried` without which the answer is to another question.

    Only a provider of the dialect itself should get a request that has some.
    """

    request_id_name = b"request-id"
    native: NativeCall  # always given: whatever a client writes here, Anthropic can be sent

    def __init__(self, body: dict[str, Any], request_id: str) -> None:
        translation = to_chat(body)
        self.chat = translation.chat
        self.uncarried = translation.losses.names
        self.essential = translation.losses.essentials
        own = {name: value for name, value in body.items() if name not in _OF_THE_HUB}
        self.native = NativeCall(DIALECT, own)
        self._request_id = request_id
        self._model: str = body["model"]
        self._stops: list[str] = self.chat.get("stop") or []

    def take_headers(self, headers: Headers) -> None:
        """The client's own version and betas, for providers of this dialect."""
        carried = carried_headers(headers)
        self.native = msgspec.structs.replace(self.native, headers=carried)
        if any(name == BETA_HEADER for name, _ in carried):
            self.uncarried = (*self.uncarried, BETA_HEADER.decode())

    @override
    def reply(self, answer: bytes) -> bytes:
        document = dict_of(loads(answer))
        return dumps(message_from(document, self._request_id, self._model, self._stops))

    @override
    def open_stream(self) -> MessagesStream:
        return MessagesStream(self._request_id, self._model, self._stops)


class MessagesSurface(Surface):
    name = "messages"
    request_id_name = b"request-id"

    @override
    async def open(self, body: dict[str, Any], asker: Asker) -> MessagesVoice:
        voice = self.read(body, asker.request_id, asker.now_unix_s)
        voice.take_headers(asker.headers)
        return voice

    @override
    def read(self, body: dict[str, Any], request_id: str, now_unix_s: float) -> MessagesVoice:
        return MessagesVoice(body, request_id)

    @override
    def error_body(self, error: HubError, request_id: str) -> bytes:
        return error_body(error, request_id)
