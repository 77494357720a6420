"""OpenAI chat completions, as some twenty hosts speak it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from routing.simulator.asks import Ask
from routing.simulator.dialects import openai_read, openai_write
from routing.simulator.http11 import Headers, Request
from routing.simulator.session import ENCODER, Frame, Session
from routing.simulator.world import Provider


class OpenAIDialect:
    stream_type = b"text/event-stream; charset=utf-8"

    def chat_model(self, provider: Provider, request: Request) -> str | None:
        expected = provider.base_path + provider.traits.chat_path
        return "" if request.path == f"/{provider.slug}{expected}" else None

    def read(self, provider: Provider, request: Request, body: dict[str, Any]) -> Ask:
        return openai_read.read(provider, body)

    def reply(self, session: Session) -> bytes:
        return openai_write.reply(session)

    def frames(self, session: Session) -> Iterator[Frame]:
        return openai_write.StreamWriter(session).frames()

    def error_frame(self, body: dict[str, Any] | list[Any]) -> bytes:
        return b"data: " + ENCODER.encode(body) + b"\n\n"

    def headers(self, provider: Provider, request_id: str) -> Headers:
        names = (name for name in provider.traits.request_id_headers if name != "inference-id")
        return [(name.lower().encode(), request_id.encode()) for name in names][:1]
