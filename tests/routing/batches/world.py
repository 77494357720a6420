"""A gateway that serves files and batches, its worker, and a provider that the test plays."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any
from uuid import UUID

import httpx
import orjson
from asgiref.sync import sync_to_async
from django.conf import settings

from routing.batches.native import NativeBatches
from routing.batches.native_takeover import Tools
from routing.batches.providers.carrier import Carrier
from routing.batches.service import BatchService
from routing.batches.work import Settings, Worker
from routing.core.catalog import Caller, Snapshot
from routing.core.cursor import Cursor
from routing.core.ids import uuid7
from routing.core.record import Finish, RequestDone
from routing.gateway.app import GatewayApp
from routing.gateway.service import Gateway
from routing.gateway.settings import GatewaySettings
from routing.gateway.upstream.base import UpstreamClient, UpstreamRequest
from routing.gateway.upstream.guard import AllowList
from routing.models import ApiKey, Organization, Project
from routing.services import keys
from routing.services.credentials import keyring
from routing.services.database_work import DatabaseTransactions
from routing.surfaces.completions import CompletionsSurface
from routing.surfaces.messages.surface import MessagesSurface
from routing.surfaces.responses import ResponsesSurface
from tests.routing.edge.plainly import DATABASE
from tests.routing.factories import MODEL, endpoint, policy, provider, snapshot
from tests.routing.gateway.scripted import (
    JSON,
    MemorySpool,
    ScriptedAnswer,
    Snapshots,
    plain_answer,
)

CHAT = "/v1/chat/completions"
MIB = 2**20
HOMES = tuple(
    endpoint(slug, number, at=provider(slug, number, simulated=False))
    for number, slug in enumerate(("first", "second"), 1)
)
PATIENCE_S = 10.0
Answer = Callable[[str], ScriptedAnswer | Exception]


class PlayedProvider:
    """Answers each prompt with itself, unless the test says otherwise. Knows what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Answer | None = None
        self.answers_after_s = 0.0
        self.open = asyncio.Event()  # nobody is answered before
        self.open.set()

    async def send(self, request: UpstreamRequest) -> ScriptedAnswer:
        prompt = orjson.loads(request.body)["messages"][-1]["content"]
        self.asked.append(prompt)
        await self.open.wait()
        await asyncio.sleep(self.answers_after_s)
        told = self.answer(prompt) if self.answer is not None else echo(prompt)
        if isinstance(told, Exception):
            raise told
        return told

    async def aclose(self) -> None:
        pass


def echo(prompt: str) -> ScriptedAnswer:
    whole = orjson.loads(plain_answer())
    whole["choices"][0]["message"]["content"] = prompt
    return ScriptedAnswer(200, JSON, [orjson.dumps(whole, option=orjson.OPT_INDENT_2)])


def status(code: int, **headers: str) -> ScriptedAnswer:
    body = {"error": {"message": "no", "type": "t", "code": None}}
    lines = [*JSON, *((name.encode(), value.encode()) for name, value in headers.items())]
    return ScriptedAnswer(code, lines, [orjson.dumps(body)])


class World:
    provider: PlayedProvider
    spool: MemorySpool
    gateway: Gateway
    client: httpx.AsyncClient

    @classmethod
    @asynccontextmanager
    async def open(cls, **more: Any) -> AsyncIterator[World]:
        world = cls()
        world.key, world.token = await sync_to_async(make_key)("default")
        world.random = Random(5)
        async with world.serving(**more):
            yield world

    key: ApiKey
    token: str
    random: Random

    @asynccontextmanager
    async def serving(
        self,
        max_file_bytes: int = MIB,
        new_upstream: Callable[[], UpstreamClient] | None = None,
        snapshots: Any = None,
        **more: Any,
    ) -> AsyncIterator[None]:
        """A gateway process, from its start to its end in good order."""
        before = dict(vars(self))
        self.provider, self.spool = PlayedProvider(), MemorySpool()
        self.new_upstream = new_upstream or (lambda: self.provider)
        self.gateway = gateway = Gateway(
            snapshots=snapshots or await sync_to_async(self._snapshots)(),
            upstream=self.new_upstream(),
            spool=self.spool,
            settings=GatewaySettings(
                pepper=settings.PANELBOARD_PEPPER, max_body_bytes=64 * 1024, **more
            ),
            rng=self.random,
        )
        self.surfaces = surfaces = {
            "/v1/messages": MessagesSurface(),
            "/v1/completions": CompletionsSurface(),
            "/v1/responses": ResponsesSurface(),
        }
        service = BatchService(gateway, surfaces, DATABASE, keyring(), max_file_bytes)
        await gateway.start()
        await service.start()
        mounted = dict.fromkeys(service.paths, service)
        self.app = GatewayApp(self.gateway, surfaces, mounted=mounted)
        async with self.client_of(self.token) as self.client:
            try:
                yield
            finally:
                await gateway.stop(drain_s=0)
                await service.stop()
                vars(self).update(before)

    def _snapshots(self) -> Snapshots:
        rules = policy(objective="ordered", order=("first", "second"))
        made = Snapshots(HOMES, rules)
        callers = {bytes(key.digest): caller_of(key) for key in ApiKey.objects.all()}
        made.current = snapshot(*HOMES, callers=callers)
        return made

    def client_of(self, token: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)  # type: ignore[arg-type]
        headers = {"authorization": f"Bearer {token}"}
        return httpx.AsyncClient(transport=transport, base_url="http://hub", headers=headers)

    # --- what clients do ----------------------------------------------------------------------------
    async def upload(self, text: str | bytes, **fields: str) -> httpx.Response:
        data = text.encode() if isinstance(text, str) else text
        return await self.client.post(
            "/v1/files",
            files={"file": ("lines.jsonl", data, "application/jsonl")},
            data={"purpose": "batch", **fields},
        )

    async def begin(self, *lines: str, url: str = CHAT, **more: Any) -> str:
        """The id of a batch of these lines."""
        file = await self.upload("".join(lines))
        assert file.status_code == 200, file.text
        body = {
            "input_file_id": file.json()["id"],
            "endpoint": url,
            "completion_window": "24h",
            **more,
        }
        made = await self.client.post("/v1/batches", json=body)
        assert made.status_code == 200, made.text
        assert made.json()["status"] == "validating"
        return str(made.json()["id"])

    async def batch(self, batch_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/batches/{batch_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def content(self, file_id: str) -> list[dict[str, Any]]:
        answer = await self.client.get(f"/v1/files/{file_id}/content")
        assert answer.status_code == 200, answer.text
        assert int(answer.headers["content-length"]) == len(answer.content)
        return [json.loads(line) for line in answer.text.splitlines()]

    # --- what the hub does --------------------------------------------------------------------------
    async def worker(self, lines_at_once: int = 4) -> Worker:
        """In the first place, whoever had it before."""
        place = (1, self.new_id())
        await run_sql("DELETE FROM routing_batchrunner")
        await run_sql("INSERT INTO routing_batchrunner VALUES (%s, %s, now())", *place)
        return Worker(
            Settings("http://hub", settings.PANELBOARD_PEPPER, lines_at_once, 64 * 1024),
            DATABASE,
            keyring(),
            self.new_id,
            place,
            self._natives,
            transport=httpx.ASGITransport(app=self.app),  # type: ignore[arg-type]
        )

    def _natives(self, threads: DatabaseTransactions) -> NativeBatches:
        tools = Tools(
            threads, keyring(), self._recording, loopback_carrier, self.surfaces, self.new_id
        )
        return NativeBatches(tools, lambda _: self.gateway.snapshot)

    def _recording(self, snapshot: Snapshot) -> Gateway:
        """Of a worker that does a step of a batch at a provider."""
        return Gateway(
            snapshots=self.gateway.snapshots,
            upstream=self.new_upstream(),
            spool=self.spool,
            settings=self.gateway.settings,
            rng=self.random,
        )

    async def work(self, turn_s: float = 20.0) -> None:
        """One turn of a worker: until nothing is left to do."""
        await (await self.worker()).run(turn_s)

    async def in_database(self, work: Callable[[Cursor], Any]) -> Any:
        return await asyncio.to_thread(in_transaction, work)

    def new_id(self) -> UUID:
        return uuid7(int(time.time() * 1000), self.random.getrandbits)

    @property
    def charged(self) -> list[Finish]:
        return [one for one in self.spool.finishes if one.cost_usd]

    @property
    def ended(self) -> list[RequestDone]:
        return self.spool.of(RequestDone)


def loopback_carrier() -> Carrier:
    return Carrier(AllowList.parse(["127.0.0.1"]))


def make_key(slug: str) -> tuple[ApiKey, str]:
    organization, _ = Organization.objects.get_or_create(slug="o", defaults={"name": "O"})
    project, _ = Project.objects.get_or_create(
        organization=organization, slug=slug, defaults={"name": slug}
    )
    return keys.create_key(project=project, name=f"key of {slug}")


def caller_of(key: ApiKey) -> Caller:
    return Caller(
        key_id=key.pk,
        key_name=key.name,
        project_id=key.project_id,
        organization_id=key.project.organization_id,
    )


def in_transaction(work: Callable[[Cursor], Any]) -> Any:
    with (
        DATABASE.connect_blocking() as connection,
        connection.transaction(),
        connection.cursor() as cursor,
    ):
        return work(cursor)


async def run_sql(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    def work(cursor: Cursor) -> list[tuple[Any, ...]]:
        found = cursor.execute(statement, list(values))
        return cursor.fetchall() if found.description else []

    found: list[tuple[Any, ...]] = await asyncio.to_thread(in_transaction, work)
    return found


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def line(name: str, url: str = CHAT, **body: Any) -> str:
    """A field that is None is left out."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": name}], **body}
    asked = {key: value for key, value in asked.items() if value is not None}
    return json.dumps({"custom_id": name, "method": "POST", "url": url, "body": asked}) + "\n"
