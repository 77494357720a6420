"""A gateway whose providers follow a script, one step per attempt, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random
from typing import Any

import orjson

from routing.adapters.base import Headers, header
from routing.core.catalog import Caller, Endpoint, Policy
from routing.core.deadlines import Deadlines
from routing.core.record import Finish, Intent, Progress, Record, RequestDone, decode, encode
from routing.gateway.app import GatewayApp
from routing.gateway.asgi import Message
from routing.gateway.auth import digest_of
from routing.gateway.service import Gateway
from routing.gateway.settings import GatewaySettings
from routing.gateway.upstream.base import UpstreamRequest
from tests.routing.factories import MODEL, endpoint, policy, snapshot

PEPPER = b"p" * 32
TOKEN = b"pb_live_" + b"a" * 46
SSE: Headers = [(b"content-type", b"text/event-stream")]
JSON: Headers = [(b"content-type", b"application/json")]


def frame(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + orjson.dumps({**chunk, "choices": [choice], **more}) + b"\n\n"


def usage_frame(prompt: int = 10, completion: int = 4) -> bytes:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    chunk = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [],
    }
    return b"data: " + orjson.dumps({**chunk, "usage": usage}) + b"\n\n"


DONE = b"data: [DONE]\n\n"
ROLE = frame({"role": "assistant", "content": ""})
HELLO = frame({"content": "Hello"})
END = frame({}, "stop")
WHOLE = [ROLE, HELLO, frame({"content": " you"}), END, usage_frame(), DONE]


def plain_answer(prompt: int = 10, completion: int = 4) -> bytes:
    message = {"role": "assistant", "content": "Hello you"}
    return orjson.dumps(
        {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
            },
        }
    )


Step = bytes | Exception | asyncio.Event | float
"""Bytes to deliver, an error to raise, an event to wait for, or seconds to wait."""


class ScriptedAnswer:
    is_complete = False

    def __init__(self, status: int, headers: Headers, steps: Sequence[Step]) -> None:
        self.status = status
        self.headers = headers
        self.steps = steps
        self.closed = False
        self.delivered = 0

    def header(self, line: bytes) -> bytes:
        return header(self.headers, line[1:-2])

    def body_at_once(self, limit_bytes: int) -> bytes | None:
        return None

    async def read(self, limit_bytes: int) -> bytes:
        return b"".join([piece async for piece in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        for step in self.steps:
            if isinstance(step, bytes):
                self.delivered += 1
                yield step
                await asyncio.sleep(0)
            elif isinstance(step, Exception):
                raise step
            elif isinstance(step, asyncio.Event):
                await step.wait()
            else:
                await asyncio.sleep(step)

    def pour_into(
        self,
        pour: Callable[[bytes], bool],
        framed: Callable[[bytes, int], bool] | None = None,
    ) -> None:
        """Bytes come by `chunks` here."""

    async def aclose(self) -> None:
        self.closed = True


class ScriptedUpstream:
    """Each request takes the next answer, or raises it when it is an error."""

    def __init__(self, *answers: ScriptedAnswer | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[UpstreamRequest] = []

    async def send(self, request: UpstreamRequest) -> ScriptedAnswer:
        self.requests.append(request)
        answer = self.answers[len(self.requests) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None:
        pass


class MemorySpool:
    """Keeps what a disk would: encoded bytes, decoded again when asked."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.synced = 0
        self.room = True

    def append(self, record: Record) -> None:
        self.frames.append(encode(record))

    def append_end(self, finish: Finish, done: RequestDone) -> None:
        self.append(finish)
        self.append(done)

    def has_room(self) -> bool:
        return self.room

    def close(self) -> None:
        pass

    async def durable(self) -> None:
        self.synced = len(self.frames)

    def of(self, kind: type[Any]) -> list[Any]:
        return [record for record in map(decode, self.frames) if isinstance(record, kind)]

    @property
    def intents(self) -> list[Intent]:
        return self.of(Intent)

    @property
    def finishes(self) -> list[Finish]:
        return self.of(Finish)

    @property
    def done(self) -> RequestDone:
        (record,) = self.of(RequestDone)
        return record

    @property
    def progress(self) -> list[Progress]:
        return self.of(Progress)


class Snapshots:
    def __init__(self, endpoints: Sequence[Endpoint], rules: Policy) -> None:
        caller = Caller(key_id=5, key_name="k", project_id=6, organization_id=7, policy=rules)
        self.current = snapshot(*endpoints, callers={digest_of(TOKEN, PEPPER): caller})
        self.trouble = ""


class Client:
    """What the client saw. `leave()` closes its connection."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []
        self.complete = False
        self.left = asyncio.Event()
        self.on_piece: Callable[[Client], object] = lambda _: None
        self._asked = False

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self.body}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])
            return
        self.pieces.append(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        self.on_piece(self)

    def leave(self) -> None:
        self.left.set()

    @property
    def text(self) -> str:
        return b"".join(self.pieces).decode()

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.text)["error"]
        return found


class Bench:
    """Two endpoints in a fixed order: `first`, then `second`."""

    def __init__(self, *answers: ScriptedAnswer | Exception, **settings: Any) -> None:
        self.upstream = ScriptedUpstream(*answers)
        self.spool = MemorySpool()
        rules = policy(objective="ordered", order=("first", "second"), **settings.pop("rules", {}))
        endpoints = settings.pop("endpoints", (endpoint("first", 1), endpoint("second", 2)))
        self.gateway = Gateway(
            snapshots=Snapshots(endpoints, rules),
            upstream=self.upstream,
            spool=self.spool,
            settings=GatewaySettings(
                pepper=PEPPER,
                tick_s=settings.pop("tick_s", 0.01),
                deadlines=settings.pop("deadlines", Deadlines()),
                **settings,
            ),
            rng=Random(3),
        )

    async def ask(
        self, client: Client | None = None, headers: Headers | None = None, **body: Any
    ) -> Client:
        """One request in the life of this gateway."""
        await self.gateway.start()
        try:
            return await self.send(client, headers, **body)
        finally:
            await self.gateway.stop(drain_s=0)

    async def send(
        self, client: Client | None = None, headers: Headers | None = None, **body: Any
    ) -> Client:
        """One of many; nobody looks at the deadlines."""
        asking = client or self.client(**body)
        scope = {
            "type": "http",
            "path": "/v1/chat/completions",
            "method": "POST",
            "headers": [(b"authorization", b"Bearer " + TOKEN), *(headers or [])],
        }
        await GatewayApp(self.gateway)(scope, asking.receive, asking.send)
        return asking

    def client(self, **body: Any) -> Client:
        request = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **body}
        return Client(orjson.dumps(request))


def stream(*steps: Step) -> ScriptedAnswer:
    return ScriptedAnswer(200, SSE, steps)


def plain(body: bytes | None = None, status: int = 200, headers: Headers = JSON) -> ScriptedAnswer:
    return ScriptedAnswer(status, headers, [plain_answer() if body is None else body])
