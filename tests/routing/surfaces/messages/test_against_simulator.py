"""Anthropic's own client, with every played provider behind the translation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic
from anthropic.types import Message
from pydantic import TypeAdapter

from routing.adapters.base import ChatCall
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from routing.surfaces.messages.surface import MessagesSurface
from tests.routing.adapters.test_against_simulator import (
    Desk,
    catalog,
    desk_for,
    providers_with,
)
from tests.routing.surfaces.messages.support import (
    NOW,
    REQUEST_ID,
    TOOL,
    events_in,
    in_order,
    strictly,
)

EPHEMERAL = {"type": "ephemeral", "ttl": "1h"}
USUAL: dict[str, Any] = {
    "model": "m",
    "max_tokens": 400,
    "system": [{"type": "text", "text": "be brief", "cache_control": EPHEMERAL}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "How cold is Oslo?"}]}],
    "stop_sequences": ["END"],
    "metadata": {"user_id": "u"},
    "extra_body": {"temperature": 0.5},
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(catalog(), Options(speed=0)) as running:
        yield running


class PlayedHub(httpx2.BaseTransport):
    """Reads Anthropic's words, asks one provider, and answers in Anthropic's words."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.answers: list[bytes] = []
        self.native_answer: bytes | None = None  # what a provider of the dialect said itself

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.read())
        voice = MessagesSurface().read(body, REQUEST_ID, NOW)
        voice.take_headers([(k.lower(), v) for k, v in request.headers.raw])
        stream = body.get("stream") is True
        call = ChatCall(voice.chat, stream, wants_usage=True, native=voice.native)
        response = self.desk.send(call)
        if self.desk.adapter.dialect == "anthropic":
            self.native_answer = response.content
        headers = [(k.lower(), v) for k, v in response.headers.raw]
        if stream:
            answer = self._streamed(voice, call, response.content)
        else:
            reply = self.desk.adapter.read_reply(
                call, self.desk.endpoint, headers, response.content
            )
            answer = reply.raw if reply.is_native else voice.reply(reply.raw)
        self.answers.append(answer)
        kind = "text/event-stream" if stream else "application/json"
        return httpx2.Response(200, headers={"content-type": kind}, content=answer)

    def _streamed(self, voice: Any, call: ChatCall, data: bytes) -> bytes:
        reader = self.desk.adapter.open_stream(call, self.desk.endpoint)
        out = reader.feed(data) + reader.close()
        assert reader.error is None
        if reader.is_native:
            return out
        speech = voice.open_stream()
        spoken: bytes = speech.feed(out) + speech.close()
        return spoken


def ask(hub: PlayedHub, **body: Any) -> Message:
    with httpx2.Client(transport=hub) as http:
        client = Anthropic(api_key="k", base_url="http://hub.test", http_client=http)
        message: Message = client.messages.create(**{**USUAL, **body})
    assert hub.native_answer in (None, hub.answers[-1])
    strictly(TypeAdapter(Message), json.loads(hub.answers[-1]))
    return message


def ask_streamed(hub: PlayedHub, **body: Any) -> Message:
    with httpx2.Client(transport=hub) as http:
        client = Anthropic(api_key="k", base_url="http://hub.test", http_client=http)
        with client.messages.stream(**{**USUAL, **body}) as stream:
            message: Message = stream.get_final_message()
    assert hub.native_answer in (None, hub.answers[-1])
    if hub.native_answer is None:  # else the words are the provider's own
        assert in_order(events_in(hub.answers[-1]))
    return message


def said_in(message: Message) -> list[tuple[str, Any]]:
    """Kind and matter of each block; signatures and ids are each answer's own."""
    matter = {"text": "text", "thinking": "thinking", "tool_use": "input"}
    return [(b.type, getattr(b, matter.get(b.type, "type"))) for b in message.content]


@pytest.mark.parametrize("slug", providers_with())
def test_every_provider_answers_anthropics_client_plain_and_streamed(
    simulator: ThreadedSimulator, slug: str
) -> None:
    hub = PlayedHub(desk_for(simulator, slug))
    plain, streamed = ask(hub), ask_streamed(hub)
    assert said_in(plain) == said_in(streamed)
    assert [kind for kind, _ in said_in(plain)][-1] == "text"
    assert (plain.stop_reason, streamed.stop_reason) == ("end_turn", "end_turn")
    assert plain.usage.output_tokens == streamed.usage.output_tokens > 0


@pytest.mark.parametrize("slug", providers_with("tools"))
def test_every_provider_takes_part_in_a_tool_loop(simulator: ThreadedSimulator, slug: str) -> None:
    hub = PlayedHub(desk_for(simulator, slug, "tools"))
    question = {"role": "user", "content": "Use the tool get_temp for Oslo."}
    asked: dict[str, Any] = {"tools": [TOOL], "tool_choice": {"type": "auto"}}
    for answer in (ask, ask_streamed):
        message = answer(hub, messages=[question], **asked)
        assert message.stop_reason == "tool_use"
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "4 C", "is_error": False}
            for block in message.content
            if block.type == "tool_use"
        ]
        turns = [question, message.to_param(), {"role": "user", "content": results}]
        assert answer(hub, messages=turns, **asked).content


def test_at_anthropic_the_cache_is_marked_written_and_read(simulator: ThreadedSimulator) -> None:
    hub = PlayedHub(desk_for(simulator, "anthropic"))
    long = [{"type": "text", "text": "be brief " * 3000, "cache_control": EPHEMERAL}]
    written, read = ask(hub, system=long).usage, ask(hub, system=long).usage
    assert written.cache_creation is not None
    assert written.cache_creation.ephemeral_1h_input_tokens > 0
    assert read.cache_read_input_tokens == written.cache_creation_input_tokens
    assert read.cache_creation_input_tokens in (0, None)
