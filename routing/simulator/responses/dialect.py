"""`POST /responses`, beside the chat completions of a provider that has both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from routing.simulator.asks import Ask
from routing.simulator.dialects.openai import OpenAIDialect
from routing.simulator.http11 import Headers, Request
from routing.simulator.responses import read, write
from routing.simulator.session import ENCODER, Frame, Session
from routing.simulator.world import Provider


class ResponsesDialect:
    stream_type = b"text/event-stream; charset=utf-8"

    def chat_model(self, provider: Provider, request: Request) -> str | None:
        path = provider.traits.responses_path
        here = path and request.path == f"/{provider.slug}{provider.base_path}{path}"
        return "" if here else None

    def read(self, provider: Provider, request: Request, body: dict[str, Any]) -> Ask:
        return read.read(provider, body)

    def reply(self, session: Session) -> bytes:
        return write.reply(session)

    def frames(self, session: Session) -> Iterator[Frame]:
        return write.Writer(session).frames()

    def error_frame(self, body: dict[str, Any] | list[Any]) -> bytes:
        """Flat, as the events of this dialect are."""
        told = body.get("error") if isinstance(body, dict) else None
        fields = told if isinstance(told, dict) else {}
        event: dict[str, Any] = {name: fields.get(name) for name in ("code", "message", "param")}
        event = {"type": "error", "sequence_number": 0, **event}
        return b"event: error\ndata: " + ENCODER.encode(event) + b"\n\n"

    def headers(self, provider: Provider, request_id: str) -> Headers:
        return OpenAIDialect().headers(provider, request_id)


RESPONSES = ResponsesDialect()
