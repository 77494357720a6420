from __future__ import annotations

import asyncio
import math
import socket
from random import Random
from statistics import median

import httpx
import pytest

from routing.simulator.profiles import (
    PROFILES,
    Pace,
    draw_pace,
    load_effect,
    size_factor,
    speed_tps,
)
from routing.simulator.server import SimulatorServer
from routing.simulator.service import Options
from routing.simulator.wheel import Wheel
from routing.simulator.world import World
from tests.routing.simulator.plays import CATALOG


def _draws(name: str, n: int = 400, streams: int = 1) -> list[tuple[float, float]]:
    rng = Random(7)
    paces = [draw_pace("x", "m-70b", PROFILES[name], streams, 1.0, rng) for _ in range(n)]
    return [(pace.ttft_s * 1000, pace.speed_tps) for pace in paces]


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_met_by_its_median(name: str) -> None:
    draws = _draws(name)
    assert median(t for t, _ in draws) == pytest.approx(PROFILES[name].ttft_ms, rel=0.3)
    assert median(s for _, s in draws) == pytest.approx(PROFILES[name].speed_tps, rel=0.1)


def test_a_cold_start_takes_seconds_and_is_rare() -> None:
    cold = [ttft for ttft, _ in _draws("serverless") if ttft > 10_000]
    assert 5 <= len(cold) <= 60


def test_the_same_seed_draws_the_same_pace() -> None:
    assert _draws("gpu", 5) == _draws("gpu", 5)


def test_load_makes_the_first_token_later_and_the_rest_slower() -> None:
    effects = [load_effect(n) for n in (1, 8, 20, 64, 128, 256, 600)]
    assert effects == sorted(effects, key=lambda effect: effect[0])
    assert [share for _, share in effects] == sorted((s for _, s in effects), reverse=True)
    assert effects[0] == (0.0, 1.0)
    assert effects[3] == (0.35, 0.61)


def test_smaller_models_are_faster_and_measured_ones_as_measured() -> None:
    assert size_factor("a/m-8b") > size_factor("a/m-70b") == 1.0 > size_factor("a/m-405b")
    assert size_factor("Qwen/Qwen3-235B-A22B") > 1.0
    assert speed_tps("groq", "meta-llama/Llama-3.3-70B-Instruct", PROFILES["lpu"]) == 330


@pytest.mark.parametrize(
    ("speed_tps", "seconds", "made"),
    [
        (10.0, 1.0, 0),
        (10.0, 1.55, 5),
        (10.0, 99.0, 40),
        (math.inf, 0.5, 0),
        (math.inf, 1.0, 0),
        (math.inf, 1.01, 40),
    ],
)
def test_who_leaves_early_is_billed_for_what_was_made_by_then(
    speed_tps: float, seconds: float, made: int
) -> None:
    assert Pace(1.0, speed_tps, (1, 1)).pieces_by(seconds, 40) == made


def test_instant_mode_waits_for_nothing() -> None:
    pace = draw_pace("x", "m", PROFILES["serverless"], 600, 0, Random(1))
    assert pace.due_s(10_000) == 0.0


async def test_a_stream_takes_the_time_of_its_pace() -> None:
    server = SimulatorServer([CATALOG], Options(speed=20, seed=3))
    await server.start()
    await _stream(server, "Write 80 words.")
    (row,) = server.service.journal.since(0)
    await server.stop()
    assert row.ended_at is not None
    # 90 tokens a second, drawn at most half faster, twenty times
    assert row.ended_at - row.time >= row.output_tokens / (90 * 1.5 * 20)


async def test_hundreds_of_streams_at_once_all_end_well() -> None:
    server = SimulatorServer([CATALOG], Options(speed=50))
    await server.start()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:
        await asyncio.gather(*(_stream(server, f"Question {n}", client) for n in range(150)))
    rows = server.service.journal.since(0)
    assert {row.closed_by for row in rows} == {"server"}
    assert len(rows) == 150
    assert server.service.running == set()
    await server.stop()


async def _stream(
    server: SimulatorServer, text: str, client: httpx.AsyncClient | None = None
) -> None:
    body = {
        "model": "openai/gpt-oss-120b",
        "messages": [{"role": "user", "content": text}],
        "stream": True,
    }
    headers = {"authorization": f"Bearer {server.key('together')}"}
    url = server.base_url("together") + "/chat/completions"
    if client is None:
        async with httpx.AsyncClient(trust_env=False) as own:
            answer = await own.post(url, json=body, headers=headers)
    else:
        answer = await client.post(url, json=body, headers=headers)
    assert answer.text.rstrip().endswith("data: [DONE]")


def _fail() -> None:
    raise IndexError


async def test_the_wheel_calls_in_order_and_survives_a_failing_callback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    wheel, called = Wheel(loop), []
    now = wheel.now()
    wheel.at(now + 0.03, lambda: called.append("late"))
    wheel.at(now + 0.01, lambda: called.append("early"))
    wheel.at(now + 0.01, _fail)
    wheel.at(now + 0.01, lambda: called.append("beside"))
    await asyncio.sleep(0.06)
    assert called == ["early", "beside", "late"]
    assert "IndexError" in caplog.text
    wheel.at(wheel.now() + 0.01, lambda: called.append("never"))
    wheel.stop()
    await asyncio.sleep(0.03)
    assert "never" not in called


async def test_a_client_that_reads_slowly_holds_the_stream_back() -> None:
    server = SimulatorServer([CATALOG], Options(speed=0))
    await server.start()
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect((server.host, server.port))
    reader, writer = await asyncio.open_connection(sock=slow, limit=1024)
    body = (
        b'{"model":"openai/gpt-oss-120b","stream":true,"n":3,'
        b'"messages":[{"role":"user","content":"Write 20000 words."}]}'
    )
    writer.write(
        b"POST /together/v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
        b"authorization: Bearer sim-together-key\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(body), body)
    )
    await asyncio.sleep(0.2)
    (row,) = server.service.journal.since(0)
    assert row.closed_by == ""
    held_at = row.output_tokens, row.chunks
    assert row.chunks > 0
    await asyncio.sleep(0.05)
    assert (row.output_tokens, row.chunks) == held_at
    while b"[DONE]" not in await reader.read(65536):
        pass
    assert row.closed_by == "server"
    writer.close()
    await writer.wait_closed()
    await server.stop()


def test_the_shipped_catalog_is_played_in_full(shipped: World) -> None:
    assert len(shipped) >= 16
    assert sum(len(provider.endpoints) for provider in shipped.values()) >= 130
    assert {provider.dialect for provider in shipped.values()} == {
        "openai_compat",
        "anthropic",
        "gemini",
    }
