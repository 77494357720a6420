"""A gateway whose places are all taken, through its ASGI app."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import httpx
import orjson
import pytest

from routing.core.deadlines import Deadlines
from routing.core.policies import Shadow
from routing.core.record import Outcome, RequestDone
from routing.gateway import waiting_room
from routing.gateway.app import GatewayApp
from routing.gateway.draining import drain
from tests.routing.factories import MODEL
from tests.routing.gateway.scripted import (
    JSON,
    TOKEN,
    WHOLE,
    Bench,
    Client,
    ScriptedAnswer,
    plain,
    plain_answer,
    stream,
)
from tests.routing.gateway.test_hot_protocol import serving

PATIENCE_S = 5.0


class Upstream:
    """Answers each request once it is let go, in any order."""

    def __init__(self) -> None:
        self.gates: list[asyncio.Event] = []
        self.asked: list[str] = []
        self.at_once = False

    async def send(self, request: Any) -> Any:
        body = orjson.loads(request.body)
        self.asked.append(body["messages"][0]["content"])
        gate = asyncio.Event()
        self.gates.append(gate)
        if self.at_once:
            gate.set()
        if body.get("stream"):
            return stream(gate, *WHOLE)
        return ScriptedAnswer(200, JSON, [gate, plain_answer()])

    async def aclose(self) -> None:
        pass


class Full:
    """A gateway of so many places, and clients that are told apart by what they say."""

    def __init__(self, places: int, **settings: Any) -> None:
        self.bench = Bench(max_running=places, **settings)
        self.gateway = self.bench.gateway
        self.upstream = Upstream()
        self.gateway.upstream = self.upstream
        self.tasks: dict[str, asyncio.Task[Client]] = {}
        self.clients: dict[str, Client] = {}

    async def ask(self, name: str, **body: Any) -> None:
        client = self.bench.client(messages=[{"role": "user", "content": name}], **body)
        self.clients[name] = client
        self.tasks[name] = asyncio.create_task(self.bench.send(client))
        await asyncio.sleep(0.002)

    async def answer_to(self, name: str) -> Client:
        return await asyncio.wait_for(self.tasks[name], PATIENCE_S)

    async def fill(self) -> None:
        for n in range(self.gateway.settings.max_running):
            await self.ask(f"place {n}")
        await self.until(lambda: len(self.gateway.running) >= self.gateway.settings.max_running)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110  # another task has to bring it about
                await asyncio.sleep(0.001)

    async def free_one(self) -> None:
        """The one that began first ends, and another one begins."""
        asked = len(self.upstream.asked)
        self.upstream.gates.pop(0).set()
        await self.until(lambda: len(self.upstream.asked) > asked)

    async def free_one_for_nobody(self) -> None:
        running = len(self.gateway.running)
        self.upstream.gates.pop(0).set()
        await self.until(lambda: len(self.gateway.running) < running)
        await asyncio.sleep(0.02)

    @property
    def served(self) -> list[str]:
        return [name for name in self.upstream.asked if not name.startswith("place")]

    def row_of(self, outcome: Outcome) -> RequestDone:
        (row,) = [one for one in self.bench.spool.of(RequestDone) if one.outcome is outcome]
        assert isinstance(row, RequestDone)
        return row


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with something else shall not decide who is served."""
    monkeypatch.setattr(waiting_room, "LONGEST_WAIT_S", 4.0)


@asynccontextmanager
async def full(places: int, **settings: Any) -> AsyncIterator[Full]:
    """All places are taken. At the end everything is let go, and every place is free again."""
    hub = Full(places, **settings)
    await hub.gateway.start()
    try:
        await hub.fill()
        yield hub
    finally:
        hub.upstream.at_once = True
        for gate in hub.upstream.gates:
            gate.set()
        await asyncio.gather(*hub.tasks.values(), return_exceptions=True)
        await hub.until(lambda: hub.gateway.room == places)
        await hub.until(lambda: not hub.gateway.running)
        assert not len(hub.gateway.waiting)
        await hub.gateway.stop(drain_s=0)


async def test_a_request_waits_a_moment_for_a_place_instead_of_being_refused() -> None:
    async with full(4) as hub:
        await hub.ask("late")
        await asyncio.sleep(0.02)
        assert hub.served == []
        await hub.free_one()
        assert hub.served == ["late"]
        assert len(hub.gateway.running) == 4


async def test_with_room_nobody_waits_and_nothing_is_started_for_it() -> None:
    hub = Full(4)
    hub.upstream.at_once = True
    tasks = len(asyncio.all_tasks())
    await hub.ask("first")
    assert (await hub.answer_to("first")).status == 200
    assert len(asyncio.all_tasks()) == tasks
    assert hub.gateway.room == 4


async def test_who_has_waited_long_enough_is_told_when_to_come_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waiting_room, "LONGEST_WAIT_S", 0.05)
    async with full(4) as hub:
        with caplog.at_level(logging.WARNING, "panelboard.gateway"):
            await hub.ask("late")
            client = await hub.answer_to("late")
        assert (client.status, client.error["code"]) == (503, "gateway_busy")
        assert "limit of 4 running requests" in client.error["message"]
        assert 1 <= int(client.headers[b"retry-after"]) <= 30
        assert client.headers[b"x-should-retry"] == b"true"
        assert hub.gateway.waiting.turned_away == 1
        assert "turned away 1 requests (whole 1): all 4 places are taken" in caplog.text
        row = hub.row_of(Outcome.HUB_ERROR)
        assert (row.http_status, row.error_code) == (503, "gateway_busy")


async def test_whole_answers_are_served_before_streams() -> None:
    async with full(8) as hub:
        await hub.ask("stream", stream=True)
        await hub.ask("whole")
        await hub.free_one()
        await hub.free_one()
        assert hub.served == ["whole", "stream"]


async def test_the_line_is_a_quarter_of_the_places_and_the_oldest_stream_goes_first() -> None:
    async with full(8) as hub:
        await hub.ask("first", stream=True)
        first = hub.tasks["first"]
        await hub.ask("second", stream=True)
        await hub.ask("third")
        assert (await first).status == 503
        assert len(hub.gateway.waiting) == 2


async def test_nobody_overtakes_those_who_wait() -> None:
    async with full(8) as hub:
        await hub.ask("first")
        await hub.ask("second")
        hub.upstream.gates.pop(0).set()
        for _ in range(20):
            await asyncio.sleep(0)  # the place is free now, and nobody has looked yet
        await hub.ask("third", stream=True)
        await hub.until(lambda: hub.served)
        assert hub.served == ["second"]  # of a line that is more than half full the newest


async def test_a_client_that_leaves_while_it_waits_leaves_the_line() -> None:
    async with full(4) as hub:
        await hub.ask("late")
        task = hub.tasks["late"]
        hub.clients["late"].leave()
        await task
        assert len(hub.gateway.waiting) == 0
        assert hub.row_of(Outcome.CLIENT_CANCELLED).http_status == 499
        await hub.free_one_for_nobody()
        assert hub.served == []


async def test_a_client_that_leaves_after_it_was_called_is_noticed_too() -> None:
    async with full(4) as hub:
        await hub.ask("late")
        task = hub.tasks["late"]
        await hub.free_one()
        hub.clients["late"].leave()
        await task
        assert len(hub.gateway.running) == 3
        assert hub.row_of(Outcome.CLIENT_CANCELLED).http_status == 499


async def test_a_request_that_the_server_cancels_leaves_the_line() -> None:
    async with full(4) as hub:
        await hub.ask("late")
        task = hub.tasks["late"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(hub.gateway.waiting) == 0


async def test_a_place_is_not_lost_to_a_request_that_cannot_be_read() -> None:
    async with full(4) as hub:
        hub.tasks["bad"] = asyncio.create_task(hub.bench.send(Client(b"{}")))
        await asyncio.sleep(0.002)
        await hub.free_one_for_nobody()
        assert (await hub.tasks["bad"]).status == 400
        await hub.ask("next")
        await hub.until(lambda: hub.served == ["next"])


async def test_a_gateway_that_stops_tells_those_who_wait_at_once() -> None:
    async with full(4) as hub:
        await hub.ask("late")
        task = hub.tasks["late"]
        draining = asyncio.create_task(drain(hub.gateway, seconds=0.5))
        client = await task
        assert (client.status, client.error["code"]) == (503, "gateway_stopping")
        assert not draining.done()  # the others may finish
        await draining


async def test_nobody_waits_for_a_gateway_that_takes_no_more_requests() -> None:
    async with full(4) as hub:
        await hub.ask("late")
        hub.gateway.is_draining = True
        client = await hub.answer_to("late")
        assert client.error["code"] == "gateway_stopping"


async def test_a_shorter_deadline_is_a_shorter_wait() -> None:
    async with full(4, deadlines=Deadlines(total_s=0.05), tick_s=60.0) as hub:
        await hub.ask("late")
        client = await hub.answer_to("late")
        assert client.error["code"] == "gateway_busy"
        assert client.headers[b"retry-after"]


async def test_one_who_would_wait_in_vain_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting_room, "LONGEST_WAIT_S", 2.0)
    async with full(40) as hub:
        await hub.ask("first")
        await asyncio.sleep(0.6)  # in which no place became free
        await hub.ask("second")
        client = await hub.answer_to("second")
        assert client.error["code"] == "gateway_busy"
        assert len(hub.gateway.waiting) == 1


async def test_other_kinds_of_requests_wait_in_the_same_line() -> None:
    async with full(4) as hub:
        body = {"model": "openai/gpt-oss-120b", "input": "late"}
        client = Client(orjson.dumps(body))
        scope = {
            "type": "http",
            "path": "/v1/embeddings",
            "method": "POST",
            "headers": [(b"authorization", b"Bearer " + TOKEN)],
        }
        app = GatewayApp(hub.gateway)
        hub.tasks["other"] = asyncio.create_task(_answered(app, scope, client))
        await hub.until(lambda: len(hub.gateway.waiting) == 1)


async def _answered(app: GatewayApp, scope: Any, client: Client) -> Client:
    await app(scope, client.receive, client.send)
    return client


async def test_shadows_take_no_places_and_none_are_sent_while_the_gateway_is_full() -> None:
    rules = {"shadow": Shadow(provider="second", share=1.0)}
    async with full(2, rules=rules) as hub:
        await hub.until(lambda: len(hub.gateway.running) == 3)
        assert len(hub.gateway.shadows.running) == 1
        assert sorted(hub.upstream.asked) == ["place 0", "place 0", "place 1"]


@pytest.mark.parametrize("hot", [True, False], ids=["hot route", "ASGI route"])
async def test_over_sockets_they_wait_and_leave_the_line_in_the_same_way(hot: bool) -> None:
    gate = asyncio.Event()
    bench = Bench(ScriptedAnswer(200, JSON, [gate, plain_answer()]), *[plain()] * 3, max_running=1)
    waiting = bench.gateway.waiting
    async with serving(bench, hot=hot) as port, httpx.AsyncClient() as client:

        def send() -> asyncio.Task[httpx.Response]:
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
            headers = {"authorization": f"Bearer {TOKEN.decode()}"}
            return asyncio.create_task(client.post(url, json=body, headers=headers))

        async def until(condition: Any) -> None:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():  # noqa: ASYNC110  # another task has to bring it about
                    await asyncio.sleep(0.001)

        first = send()
        await until(lambda: bench.gateway.running)
        leaving = send()
        await until(lambda: len(waiting) == 1)
        leaving.cancel()
        await until(lambda: not len(waiting))
        patient = send()
        await until(lambda: len(waiting) == 1)
        gate.set()
        answers = [await first, await patient]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(bench.upstream.requests) == 2
    outcomes = [row.outcome for row in bench.spool.of(RequestDone)]
    assert sorted(outcomes) == [Outcome.CLIENT_CANCELLED, Outcome.OK, Outcome.OK]


@pytest.mark.parametrize("seed", range(6))
async def test_no_place_is_lost_whoever_leaves_and_whenever(seed: int) -> None:
    rng = Random(seed)
    async with full(6) as hub:
        for n in range(60):
            await hub.ask(f"guest {n}", stream=False)
            task = hub.tasks[f"guest {n}"]
            what = rng.random()
            if what < 0.25:
                await asyncio.sleep(rng.random() * 0.01)
                task.cancel()
            elif what < 0.5:
                await asyncio.sleep(rng.random() * 0.01)
                hub.clients[f"guest {n}"].leave()
            elif what < 0.9 and hub.upstream.gates:
                hub.upstream.gates.pop(rng.randrange(len(hub.upstream.gates))).set()
            assert len(hub.gateway.waiting) <= 1
            assert len(hub.gateway.running) <= 6
        assert hub.served
