"""Copies to a second provider: unseen by the client, booked apart, capped, and never in the way."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from routing.core.decision import Decision
from routing.core.errors import ConnectFailed
from routing.core.policies import Shadow
from routing.core.pricing import PICO_PER_USD
from routing.core.record import Outcome, RequestDone
from routing.gateway.app import GatewayApp
from tests.routing.gateway.scripted import (
    TOKEN,
    WHOLE,
    Bench,
    Client,
    ScriptedAnswer,
    plain,
    plain_answer,
    stream,
)


def bench_with(*answers: ScriptedAnswer | Exception, **shadow: Any) -> Bench:
    wanted = Shadow(**{"provider": "second", "share": 1.0, **shadow})
    return Bench(*answers, rules={"shadow": wanted})


async def ask(bench: Bench, **body: Any) -> Client:
    """Waits for the copies too."""
    client = bench.client(**body)
    await bench.gateway.start()
    scope = {
        "type": "http",
        "path": "/v1/chat/completions",
        "method": "POST",
        "headers": [(b"authorization", b"Bearer " + TOKEN)],
    }
    await GatewayApp(bench.gateway)(scope, client.receive, client.send)
    if bench.gateway.shadows.running:
        await asyncio.wait(bench.gateway.shadows.running, timeout=5)
    await bench.gateway.stop(drain_s=0)
    return client


async def test_a_copy_goes_to_the_second_provider_and_the_client_sees_the_first() -> None:
    bench = bench_with(plain(), plain(plain_answer(10, 400)))
    client = await ask(bench)
    assert client.status == 200
    assert client.headers[b"x-panelboard-provider"] == b"first"
    assert client.headers[b"x-panelboard-attempts"] == b"1"
    first, second = bench.upstream.requests
    assert first.url != second.url
    assert first.body == second.body


async def test_a_copy_is_a_request_of_its_own_of_another_kind() -> None:
    bench = bench_with(plain(), plain(plain_answer(10, 400)))
    await ask(bench)
    kinds = {intent.request_id: intent.kind for intent in bench.spool.intents}
    assert sorted(kinds.values()) == ["shadow", "traffic"]
    costs = {kinds[finish.request_id]: finish.cost_usd for finish in bench.spool.finishes}
    assert costs["shadow"] > costs["traffic"]
    assert [done.outcome for done in bench.spool.of(RequestDone)] == [Outcome.OK] * 2


async def test_a_stream_is_copied_as_a_stream() -> None:
    bench = bench_with(stream(*WHOLE), stream(*WHOLE))
    client = await ask(bench, stream=True)
    assert b"Hello" in b"".join(client.pieces)
    assert [finish.outcome for finish in bench.spool.finishes] == [Outcome.OK] * 2


async def test_a_copy_that_fails_changes_nothing_for_the_client() -> None:
    bench = bench_with(plain(), ConnectFailed("nobody there"))
    client = await ask(bench)
    assert client.status == 200
    outcomes = {finish.outcome for finish in bench.spool.finishes}
    assert outcomes == {Outcome.OK, Outcome.PROVIDER_ERROR}


@pytest.mark.parametrize("limit", [{"share": 0.0}, {"max_usd_per_day": "0"}])
async def test_no_copy_is_sent_beyond_the_share_or_the_cap(limit: dict[str, Any]) -> None:
    bench = bench_with(plain(), plain(), **limit)
    await ask(bench)
    assert len(bench.upstream.requests) == 1


@pytest.mark.parametrize(("processes", "requests"), [(1, 2), (2, 1)])
async def test_processes_share_what_may_be_spent(processes: int, requests: int) -> None:
    bench = bench_with(plain(), plain())
    await ask(bench)
    traffic = next(one for one in bench.spool.of(RequestDone) if one.kind == "traffic")
    (_, second) = msgspec.json.decode(traffic.decision, type=Decision).candidates
    enough_for_one = Decimal(second.cost_pico) / PICO_PER_USD * Decimal("1.5")
    bench = bench_with(plain(), plain(), max_usd_per_day=f"{enough_for_one:f}")
    bench.gateway.learning.meet(processes)
    await ask(bench)
    assert len(bench.upstream.requests) == requests


async def test_nothing_is_copied_to_the_provider_that_answers() -> None:
    bench = bench_with(plain(), plain(), provider="first")
    await ask(bench)
    assert len(bench.upstream.requests) == 1


async def test_a_gateway_that_stops_books_the_copies_it_cuts_off() -> None:
    bench = bench_with(plain(), stream(60.0))
    client = bench.client()
    await bench.ask(client)
    assert client.status == 200
    assert not bench.gateway.shadows.running
    assert len(bench.spool.finishes) == 2
