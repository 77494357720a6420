from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from routing.simulator.checks import credential_header
from routing.simulator.faults import Fault
from routing.simulator.server import SimulatorServer, ThreadedSimulator
from routing.simulator.service import Options
from routing.simulator.world import BadCatalog, build_world, read_documents
from tests.routing.simulator.plays import CATALOG, Player, provider

Play = Callable[[str], Player]
ROOT = Path(__file__).resolve().parents[3]


def test_base_urls_keep_the_path_of_the_real_one(simulator: ThreadedSimulator) -> None:
    root = simulator.root_url()
    assert simulator.base_url("groq") == f"{root}/groq/openai/v1"
    assert simulator.base_url("anthropic") == f"{root}/anthropic"
    assert simulator.base_url("gemini") == f"{root}/gemini/v1beta"
    assert simulator.key("groq") == "sim-groq-key"


def test_a_key_can_be_configured(http: httpx.Client) -> None:
    with ThreadedSimulator([CATALOG], keys={"groq": "mine"}) as simulator:
        play = Player(simulator, http, "groq")
        assert play.headers() == {"authorization": "Bearer mine"}
        assert play.ask().status_code == 200


def test_health_and_providers_are_told(simulator: ThreadedSimulator, http: httpx.Client) -> None:
    health = http.get(simulator.root_url() + "/_control/health").json()
    assert health["status"] == "ok"
    assert health["providers"] == len(CATALOG["providers"])
    told = {p["slug"]: p for p in http.get(simulator.root_url() + "/_control/providers").json()}
    assert told["groq"]["path"] == "/groq/openai/v1"
    assert "openai/gpt-oss-120b" in told["groq"]["models"]
    lost = http.get(simulator.root_url() + "/_control/nothing")
    assert lost.status_code == 404
    assert "GET /_control/journal" in lost.json()["error"]


def test_received_bodies_are_kept_only_when_asked(
    player: Play, simulator: ThreadedSimulator, http: httpx.Client
) -> None:
    player("groq").ask(service_tier="flex")
    (kept,) = http.get(simulator.root_url() + "/_control/requests").json()["requests"]
    assert kept["body"]["service_tier"] == "flex"
    assert "authorization" not in kept["headers"]
    with ThreadedSimulator([CATALOG]) as other:
        answer = http.get(other.root_url() + "/_control/requests")
        assert answer.status_code == 400
        assert other.received() == []


def test_violations_are_read_and_cleared_over_the_control_address(
    player: Play, simulator: ThreadedSimulator, http: httpx.Client
) -> None:
    url = simulator.root_url() + "/_control/violations"
    player("groq").ask(headers={"x-panelboard-x": "1"})
    (told,) = http.get(url).json()["violations"]
    assert told["provider"] == "groq"
    assert http.delete(url).json() == {"violations": []}
    assert http.get(url).json() == {"violations": []}


def test_rate_limit_headers_are_named_and_counted_as_the_catalog_says(player: Play) -> None:
    first, second = player("groq").ask(), player("groq").ask()
    left = [int(a.headers["x-ratelimit-remaining-requests"]) for a in (first, second)]
    assert left[0] - left[1] == 1
    assert re.fullmatch(r"(\d+h)?(\d+m)?[\d.]+(ms|s)", first.headers["x-ratelimit-reset-requests"])
    assert "x-ratelimit-limit-requests" not in player("together").ask().headers


def test_a_limit_can_be_enforced(
    player: Play, simulator: ThreadedSimulator, http: httpx.Client
) -> None:
    url = simulator.root_url() + "/_control/limits"
    http.post(url, json={"provider": "groq", "requests_per_minute": 2})
    statuses = [player("groq").ask().status_code for _ in range(3)]
    refused = player("groq").ask()
    assert statuses == [200, 200, 429]
    assert 0 < int(refused.headers["retry-after"]) <= 60
    http.post(url, json={"provider": "groq", "requests_per_minute": None})
    assert player("groq").ask().status_code == 200
    assert http.post(url, json={"provider": "nobody"}).status_code == 400


def test_answers_carry_headers_that_nobody_may_pass_on(player: Play) -> None:
    headers = player("groq").ask().headers
    assert {"set-cookie", "x-organization", "server"} <= set(headers)


# --- HTTP/1.1 --------------------------------------------------------------------------------------------


def _raw(simulator: ThreadedSimulator, *pieces: bytes) -> bytes:
    address = (simulator.server.host, simulator.server.port)
    with socket.create_connection(address, timeout=5) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR) if not pieces else None
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


HEALTH = b"GET /_control/health HTTP/1.1\r\nhost: x\r\n"


def test_requests_in_a_row_are_answered_in_order(simulator: ThreadedSimulator) -> None:
    answers = _raw(
        simulator,
        HEALTH + b"\r\n" + b"GET /nobody HTTP/1.1\r\nhost: x\r\n\r\n",
        HEALTH + b"connection: close\r\n\r\n",
    )
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"200", b"404", b"200"]


def test_an_expected_continue_is_given(simulator: ThreadedSimulator) -> None:
    body = json.dumps({"provider": "groq", "requests_per_minute": None}).encode()
    head = (
        b"POST /_control/limits HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
        b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    )
    assert _raw(simulator, head, body).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello there\r\n\r\n", b"400"),
        (HEALTH + b"upgrade: websocket\r\nconnection: upgrade\r\n\r\n", b"200"),
        (HEALTH + b"".join(b"h%d: x\r\n" % n for n in range(201)) + b"\r\n", b"431"),
    ],
)
def test_what_is_not_a_request_gets_one_clear_answer(
    simulator: ThreadedSimulator, sent: bytes, status: bytes
) -> None:
    assert _raw(simulator, sent).startswith(b"HTTP/1.1 " + status)


def test_a_request_in_single_bytes_is_read_the_same(simulator: ThreadedSimulator) -> None:
    whole = HEALTH + b"connection: close\r\n\r\n"
    assert b'"status":"ok"' in _raw(simulator, *(whole[n : n + 1] for n in range(len(whole))))


# --- starting and stopping -----------------------------------------------------------------------------


async def test_it_runs_in_a_loop_of_ones_own_and_stops_with_streams_open() -> None:
    server = SimulatorServer([CATALOG], Options(speed=0))
    await server.start()
    server.service.faults.add(Fault("stall", provider="groq"))
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.send(_endless_request(server), stream=True)
        await server.stop()
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await answer.aread()
    (row,) = server.service.journal.since(0)
    assert row.closed_by == "shutdown"


def _endless_request(server: SimulatorServer) -> httpx.Request:
    body = {
        "model": "openai/gpt-oss-120b",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
    }
    headers = {"authorization": f"Bearer {server.key('groq')}"}
    url = server.base_url("groq") + "/chat/completions"
    return httpx.Request("POST", url, json=body, headers=headers)


def test_a_taken_port_is_said_at_once(simulator: ThreadedSimulator) -> None:
    other = ThreadedSimulator([CATALOG])
    with pytest.raises(OSError, match="in use"):
        other.start(port=simulator.server.port)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), "simulate_providers", *arguments]


def test_the_command_announces_itself_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    process = subprocess.Popen(
        _command("--port", "0", "--speed", "0", "--journal", str(journal)),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        found = re.search(r"playing (\d+) providers with \d+ endpoints at (http://\S+)", told)
        assert found is not None, told
        assert int(found[1]) >= 16
        with httpx.Client(trust_env=False) as http:
            assert http.get(found[2] + "/_control/health").json()["status"] == "ok"
            http.post(
                found[2] + "/groq/openai/v1/chat/completions",
                json={"model": "x", "messages": [{"role": "user", "content": "my secret"}]},
                headers={"authorization": "Bearer sim-groq-key", "x-request-id": "r-9"},
            )
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "violation at groq: unknown model 'x' (request r-9)" in rest
    assert "my secret" not in rest
    assert len(journal.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--catalog", "/nowhere.json"], "cannot be read as JSON"),
        (["--catalog", "/nowhere"], "cannot be read as JSON"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], message: str) -> None:
    done = subprocess.run(
        _command(*arguments), capture_output=True, text=True, cwd=ROOT, timeout=30, check=False
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


# --- catalogs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"providers": [provider("a", "http://x", "klingon")]}, "dialect 'klingon'"),
        ({"providers": [provider("a", "http://x", quirks={"n_max": "two"})]}, "provider a: quirks"),
        ({"endpoints": [{"provider": "a", "model": "m", "upstream_model": "m"}]}, "'a' is not"),
    ],
)
def test_a_catalog_that_cannot_be_played_says_which_record(
    document: dict[str, object], message: str
) -> None:
    with pytest.raises(BadCatalog, match=message):
        build_world([document])


def test_a_folder_without_catalogs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(BadCatalog, match="no catalog document"):
        read_documents(tmp_path)


def test_every_shipped_endpoint_answers_streamed_and_whole() -> None:
    with (
        ThreadedSimulator(options=Options(speed=0)) as simulator,
        httpx.Client(timeout=10, trust_env=False) as http,
    ):
        for slug, spec in simulator.server.world.items():
            name, prefix = credential_header(spec)
            play = Player(simulator, http, slug)
            extra = {name.decode(): prefix + spec.key}
            chats = [model for model, row in spec.endpoints.items() if row.kind == "chat"]
            for model in chats:
                play.model = model
                for stream in (False, True):
                    answer = play.ask(stream=stream, headers=extra)
                    assert answer.status_code == 200, (slug, model, answer.text)
        assert simulator.violations() == []
        rows = simulator.journal()
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    assert len(pairs) >= 130
    assert all(whole.cost_usd == streamed.cost_usd for whole, streamed in pairs)
