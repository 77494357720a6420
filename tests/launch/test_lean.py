"""A gateway and a recorder of their own: real processes, which serve and write without Django."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.db import connection

from analytics.models import Attempt, RequestLog
from routing.models import Credential, Provider
from routing.services import credentials, keys, limits
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from tests.routing.edge import documents
from tests.support.database import database_url
from tests.support.running_hub import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_S = 60.0
CHAT = {"model": documents.BIG, "messages": [{"role": "user", "content": "Say hello."}]}


@pytest.fixture(scope="module")
def simulator() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator([documents.document()], Options(speed=0)) as running:
        yield running


@pytest.fixture
def token(transactional_db: None, simulator: ThreadedSimulator) -> Iterator[str]:
    """A key of a project whose requests the simulator answers."""
    documents.load()
    for provider in Provider.objects.all():
        provider.simulated_base_url = simulator.base_url(provider.slug)
        provider.save()
        credentials.store_credential(
            provider=provider,
            name="simulator",
            secret=f"sim-{provider.slug}-key",
            origin=Credential.Origin.SIMULATOR,
        )
    key, plaintext = keys.create_key(project=documents.project(), name="app")
    limits.set_limit(key=key, requests_per_minute=100)
    yield plaintext
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE request_log, attempt, dirty_bucket")


@dataclass
class Running:
    process: subprocess.Popen[str]

    def stop(self) -> str:
        """In good order. What it wrote on standard output."""
        self.process.send_signal(signal.SIGINT)
        written, _ = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, written
        return written


@contextmanager
def lean(*arguments: str, spool: Path, fds: tuple[int, ...] = (), **more: str) -> Iterator[Running]:
    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "PANELBOARD_DATA": str(settings.DATA_DIR),
        "PANELBOARD_SPOOL_DIR": str(spool),
        "PANELBOARD_SERVE": "gateway",
        "PANELBOARD_PRIVATE_UPSTREAMS": "127.0.0.1",
        **more,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.launch.lean_process", *arguments],
        cwd=ROOT,
        env=environment,
        pass_fds=fds,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def gateway(spool: Path, token: str) -> Iterator[tuple[Running, httpx.Client]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd, port = listener.fileno(), listener.getsockname()[1]
        with (
            lean("serve", "--fd", str(fd), spool=spool, fds=(fd,)) as running,
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"authorization": f"Bearer {token}"},
                timeout=PATIENCE_S,
            ) as client,
        ):
            until(lambda: client.get("/readyz").status_code == httpx.codes.OK)
            yield running, client


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_gateway_alone_answers_and_its_rows_arrive_without_django(
    token: str, tmp_path: Path
) -> None:
    with gateway(tmp_path, token) as (serving, client), lean("recorder", spool=tmp_path) as writing:
        answer = client.post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == httpx.codes.OK, answer.text
        assert answer.headers["x-ratelimit-limit-requests"] == "100"
        until(RequestLog.objects.exists)
        assert Attempt.objects.get().outcome == "ok"
        assert serving.stop() == "loaded:\n"
        assert writing.stop() == "loaded:\n"


def test_a_gateway_alone_keeps_responses_and_finds_them_again(token: str, tmp_path: Path) -> None:
    with gateway(tmp_path, token) as (serving, client):
        asked = {"model": documents.BIG, "input": "Say hello.", "store": True}
        kept = client.post("/v1/responses", json=asked).json()
        assert kept["store"] is True
        assert client.get(f"/v1/responses/{kept['id']}").json()["output"] == kept["output"]
        assert client.delete(f"/v1/responses/{kept['id']}").json()["deleted"] is True
        assert client.get(f"/v1/responses/{kept['id']}").status_code == httpx.codes.NOT_FOUND
        assert serving.stop() == "loaded:\n"


def test_a_gateway_alone_has_no_pages(token: str, tmp_path: Path) -> None:
    with gateway(tmp_path, token) as (_, client):
        refused = client.get("/login/")
    assert (refused.status_code, refused.json()) == (
        httpx.codes.NOT_FOUND,
        {"error": "this process serves /v1/ only"},
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"DATABASE_URL": "mysql://u:geheim@h/x"}, "DATABASE_URL must begin with postgresql://"),
        ({"DATABASE_URL": "postgresql://u@h:99999/x"}, "DATABASE_URL has a port"),
        ({"PANELBOARD_MAX_STREAMS": "many"}, "PANELBOARD_MAX_STREAMS must be a whole number"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "recorder"])
def test_a_wrong_setting_stops_the_start_with_one_line(
    command: str, wrong: dict[str, str], said: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "dashboard.launch", command],
        cwd=ROOT,
        env=os.environ
        | {"PANELBOARD_SERVE": "gateway", "PORT": "0", "PANELBOARD_DATA": str(tmp_path)}
        | wrong,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"panelboard: {said}")
    assert len(ended.stderr.splitlines()) == 1
    assert "geheim" not in ended.stderr
