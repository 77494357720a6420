from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from routing.simulator.journal import Journal, Row
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from tests.routing.simulator.plays import CATALOG, Player, usage_in

Play = Callable[[str], Player]


def test_a_row_holds_what_was_told_and_billed(player: Play, simulator: ThreadedSimulator) -> None:
    play = player("together")
    answer = play.ask(headers={"x-request-id": "req-7-1"})
    (row,) = simulator.journal()
    told = usage_in(play.dialect, [answer.json()])
    assert (row.input_tokens, row.output_tokens) == told
    assert (row.provider, row.model, row.stream) == ("together", "openai/gpt-oss-120b", False)
    assert (row.request_id, row.inference_id, row.status) == ("req-7-1", "req-7-1", 200)
    assert (row.closed_by, row.fault, row.violations, row.accepted) == ("server", "", [], True)
    expected = told[0] * Decimal("0.15") + told[1] * Decimal("0.6")
    assert Decimal(row.cost_usd) == expected / 1_000_000


@pytest.mark.parametrize("slug", [row["slug"] for row in CATALOG["providers"]])
def test_streams_are_billed_like_whole_answers(
    player: Play, simulator: ThreadedSimulator, slug: str
) -> None:
    player(slug).ask()
    player(slug).ask(stream=True)
    whole, streamed = simulator.journal()
    assert streamed.output_tokens == whole.output_tokens > 0
    assert streamed.reasoning_tokens == whole.reasoning_tokens
    assert streamed.cost_usd == whole.cost_usd
    assert streamed.chunks > whole.chunks == 1


def test_the_inference_id_is_the_senders_request_id_or_one_of_its_own(player: Play) -> None:
    play = player("together")
    assert play.ask(headers={"x-request-id": "abc-1"}).headers["inference-id"] == "abc-1"
    own = play.ask().headers["inference-id"]
    assert len(own) == 36
    assert play.ask().headers["x-together-request-id"].startswith("req_")


def test_a_client_that_leaves_is_billed_for_what_was_produced(
    player: Play, simulator: ThreadedSimulator
) -> None:
    simulator.add_fault("pace", provider="together", seconds=0.01)
    play = player("together")
    body = play.body("Write 400 words.", stream=True)
    with play.http.stream("POST", play.url(), json=body, headers=play.headers()) as answer:
        arrived = answer.iter_text()
        while "simulat" not in next(arrived):
            pass
    row = _ended(simulator)
    assert (row.closed_by, row.status) == ("client", 200)
    assert 0 < row.output_tokens < 400
    assert row.output_tokens >= row.chunks > 0
    cost = row.input_tokens * Decimal("0.15") + row.output_tokens * Decimal("0.6")
    assert Decimal(row.cost_usd) == cost / 1_000_000


def test_a_running_request_is_in_the_journal_without_an_end(
    player: Play, simulator: ThreadedSimulator
) -> None:
    simulator.add_fault("stall", provider="together", after_chunks=1)
    play = player("together")
    body = play.body("hi", stream=True)
    with play.http.stream("POST", play.url(), json=body, headers=play.headers()):
        (row,) = simulator.journal()
        assert (row.accepted, row.closed_by, row.model) == (True, "", "openai/gpt-oss-120b")
        simulator.clear()
        assert [r.seq for r in simulator.journal()] == [row.seq]
    assert _ended(simulator).closed_by == "client"


def test_the_journal_is_read_and_cleared_over_the_control_address(
    player: Play, simulator: ThreadedSimulator, http: httpx.Client
) -> None:
    url = simulator.root_url() + "/_control/journal"
    for slug in ("groq", "together", "groq"):
        player(slug).ask()
    rows = http.get(url).json()["rows"]
    assert [row["provider"] for row in rows] == ["groq", "together", "groq"]
    later = http.get(url, params={"since": rows[0]["seq"], "provider": "groq"}).json()["rows"]
    assert [row["seq"] for row in later] == [rows[2]["seq"]]
    assert http.delete(url).json() == {"rows": []}
    assert http.get(url, params={"since": "soon"}).status_code == 400


def test_the_file_gets_a_line_at_the_start_and_one_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "journal.jsonl"
    with (
        ThreadedSimulator([CATALOG], Options(speed=0, journal=file)) as simulator,
        httpx.Client(trust_env=False) as http,
    ):
        Player(simulator, http, "groq").ask(stream=True, headers={"x-request-id": "r-1"})
        lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["closed_by"] for line in lines] == ["", "server"]
    assert lines[0]["model"] == lines[1]["model"] == "openai/gpt-oss-120b"
    assert "Tell me" not in file.read_text()


def test_a_restarted_simulator_still_knows_what_was_billed(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    journal = Journal(file)
    done = journal.begin(1.0, "groq", "r-1", "r-1")
    journal.accept(done)
    done.cost_usd = "0.5"
    journal.end(done, 2.0, "server")
    journal.accept(journal.begin(3.0, "groq", "r-2", "r-2"))
    journal.close()
    with file.open("ab") as cut_off:
        cut_off.write(b'{"seq":3,"ti')

    again = Journal(file)
    known = again.by_inference_id("r-1")
    assert known is not None
    assert known.cost_usd == "0.5"
    assert again.by_inference_id("r-2") is None
    assert again.begin(4.0, "groq", "r-3", "r-3").seq == 3
    again.close()


def _ended(simulator: ThreadedSimulator) -> Row:
    end = time.monotonic() + 3
    while not simulator.journal()[-1].closed_by:
        assert time.monotonic() < end, "the row did not end"
        time.sleep(0.01)
    return simulator.journal()[-1]
