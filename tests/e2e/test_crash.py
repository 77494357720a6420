"""What is left after a process was killed or Postgres went away: every request, exactly once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.hub_tools import (
    MODEL,
    Rest,
    SimulatorControl,
    chat_body,
    money,
    raw_client,
    roll_up,
    signed_in,
)
from tests.support.running_hub import RunningHub, data_folder

pytestmark = pytest.mark.e2e

STREAMS = int(os.environ.get("PANELBOARD_TEST_STREAMS", "50"))
OUTAGE_S = float(os.environ.get("PANELBOARD_TEST_OUTAGE_S", "8"))
ALL_SENT_WITHIN_S = 30.0
WRITING_S = 1.5
SETTLED_WITHIN_S = 150.0
PAGES = ("/", "/requests/", "/models/", "/spend/", "/login/", "/admin/")
PAGES_WITHIN_S = 12.0
ASKED_FOR_COSTS = ("novita", "together", "deepinfra", "baseten")  # they answer it afterwards too


@pytest.fixture(scope="module")
def crash_hub() -> Iterator[RunningHub]:
    """Without probes, so that the journal holds the requests of these tests alone."""
    with data_folder() as folder:
        running = RunningHub(folder, {"PANELBOARD_PROBE_DAILY_USD": "0"})
        running.start()
        yield running
        running.stop()


@pytest.fixture(scope="module")
def crash_rest(crash_hub: RunningHub) -> Iterator[Rest]:
    with Rest(crash_hub) as rest:
        yield rest


async def stream_until_cut(client: httpx.AsyncClient, number: int) -> bool:
    """True when the stream came to its [DONE]."""
    body = chat_body(f"Write story number {number} in 300 words.", stream=True)
    body["model"] = f"{MODEL}:{ASKED_FOR_COSTS[number % len(ASKED_FOR_COSTS)]}"
    try:
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            text = ""
            async for piece in answer.aiter_text():
                text += piece
            return "[DONE]" in text
    except httpx.TransportError:
        return False


async def run_streams_and_kill(hub: RunningHub, simulator: SimulatorControl) -> list[bool]:
    """Killed when all of them have reached a provider, and write."""
    headers = {"authorization": f"Bearer {hub.api_key}"}
    limits = httpx.Limits(max_connections=STREAMS * 2)
    async with httpx.AsyncClient(
        base_url=hub.url, headers=headers, timeout=60, limits=limits
    ) as client:
        tasks = [asyncio.create_task(stream_until_cut(client, i)) for i in range(STREAMS)]
        deadline = time.monotonic() + ALL_SENT_WITHIN_S
        while len(accepted(simulator)) < STREAMS:
            assert time.monotonic() < deadline, "not all streams reached a provider"
            await asyncio.sleep(0.1)
        await asyncio.sleep(WRITING_S)
        os.kill(hub.pid_of("web"), signal.SIGKILL)
        return await asyncio.gather(*tasks)


def settled(rest: Rest, row: dict[str, Any]) -> tuple[int, Decimal]:
    """(how many attempt rows, what they cost with their corrections) for one journal row."""
    request_id, _, number = row["request_id"].rpartition("-")
    receipt = rest.receipt(request_id)
    attempts = [one for one in receipt["attempts"] if one["attempt_no"] == int(number)]
    corrections = [one for one in receipt["corrections"] if one["attempt_no"] == int(number)]
    total = sum((money(one["cost_usd"]) for one in attempts), Decimal(0))
    total += sum((money(one["delta_usd"]) for one in corrections), Decimal(0))
    return len(attempts), total


def test_every_stream_of_a_killed_gateway_is_settled_once_and_to_the_last_digit(
    crash_hub: RunningHub, crash_rest: Rest
) -> None:
    said = len(crash_hub.lines)
    with SimulatorControl(crash_hub.simulator_url) as simulator:
        simulator.http.delete("/_control/journal")
        finished = asyncio.run(run_streams_and_kill(crash_hub, simulator))
        crash_hub.wait_for_line("web is running again", 30, after=said)
        rows = ended_rows(simulator)
    assert sum(finished) < STREAMS, "the kill came too late to cut anything"
    assert len(rows) == STREAMS
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while off := [row for row in rows if settled(crash_rest, row) != (1, money(row["cost_usd"]))]:
        assert time.monotonic() < deadline, [(settled(crash_rest, row), row) for row in off]
        time.sleep(2)
    roll_up(crash_hub)
    billed = crash_rest.bill()
    assert {slug: billed[slug] for slug in ASKED_FOR_COSTS} == cost_by_provider(rows)
    assert _answers(crash_hub)


def cost_by_provider(rows: list[dict[str, Any]]) -> dict[str, Decimal]:
    costs = dict.fromkeys(ASKED_FOR_COSTS, Decimal(0))
    for row in rows:
        costs[row["provider"]] += money(row["cost_usd"])
    return costs


def accepted(simulator: SimulatorControl) -> list[dict[str, Any]]:
    return [row for row in simulator.journal() if row["accepted"]]


def ended_rows(simulator: SimulatorControl) -> list[dict[str, Any]]:
    """What the providers billed, once none of them is still writing."""
    deadline = time.monotonic() + 10
    while True:
        rows = accepted(simulator)
        if all(row["closed_by"] for row in rows):
            return rows
        assert time.monotonic() < deadline, "providers still write to the gateway that was killed"
        time.sleep(0.1)


def _answers(hub: RunningHub) -> bool:
    with raw_client(hub) as client:
        return client.post("/v1/chat/completions", json=chat_body()).status_code == httpx.codes.OK


def _postgres_pids(hub: RunningHub) -> list[int]:
    postmaster = hub.pid_of("postgres")
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


def _signal_postgres(hub: RunningHub, number: int) -> None:
    for pid in _postgres_pids(hub):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def test_a_hung_postgres_stops_no_known_key_and_loses_no_row(
    crash_hub: RunningHub, crash_rest: Rest
) -> None:
    """A stopped server accepts connections and never answers: worse than a dead one."""
    outcomes, ids = Counter[int](), list[str]()
    with raw_client(crash_hub) as client, signed_in(crash_hub) as browser:
        _signal_postgres(crash_hub, signal.SIGSTOP)
        try:
            until = time.monotonic() + OUTAGE_S
            while time.monotonic() < until:
                answer = client.post(
                    "/v1/chat/completions", json=chat_body(model=f"{MODEL}:groq", max_tokens=5)
                )
                outcomes[answer.status_code] += 1
                ids.append(answer.headers["x-request-id"])
            stranger = client.get(
                "/v1/models", headers={"authorization": "Bearer pb_live_" + "x" * 46}
            )
            asked_at = time.monotonic()
            with ThreadPoolExecutor(len(PAGES)) as at_once:
                pages = list(at_once.map(browser.get, PAGES))
            pages_took_s = time.monotonic() - asked_at
            ready = client.get("/readyz")
        finally:
            _signal_postgres(crash_hub, signal.SIGCONT)
    assert set(outcomes) == {200}
    assert len(ids) > OUTAGE_S
    assert stranger.status_code == 503
    for page in pages:
        assert page.status_code == 503
        assert "Postgres" in page.text
        assert "Traceback" not in page.text
    assert pages_took_s < PAGES_WITHIN_S
    assert ready.status_code == 200
    for request_id in ids:
        assert len(crash_rest.receipt(request_id)["attempts"]) == 1


def test_a_killed_postgres_comes_back_and_everything_goes_on(
    crash_hub: RunningHub, crash_rest: Rest
) -> None:
    said = len(crash_hub.lines)
    os.kill(crash_hub.pid_of("postgres"), signal.SIGKILL)
    with raw_client(crash_hub) as client:
        answers = [
            client.post("/v1/chat/completions", json=chat_body(model=f"{MODEL}:groq", max_tokens=5))
            for _ in range(10)
        ]
    crash_hub.wait_for_line("postgres is running again", 30, after=said)
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        assert crash_rest.receipt(answer.headers["x-request-id"])["outcome"] == "ok"
