"""Provider mocks that others wrote, as processes of their own on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dashboard.launch.preflight import port_beside
from tests.clients.environments import node_folder, python_of

UP_WITHIN_S = 30.0
SENTENCES = "A panelboard takes one feed and spreads it over many circuits. " * 6
CUT_OFF, BROKEN_OFF = "cut this off", "break this off"
# What aimock says. The two ends of a stream are per answer there, not per server.
ANSWERS = {
    "fixtures": [
        {
            "match": {"userMessage": CUT_OFF},
            "response": {"content": SENTENCES},
            "latency": 50,
            "truncateAfterChunks": 4,
        },
        {
            "match": {"userMessage": BROKEN_OFF},
            "response": {"content": SENTENCES},
            "latency": 50,
            "disconnectAfterMs": 180,
        },
        {"match": {}, "response": {"content": SENTENCES}},
    ]
}


@dataclass(frozen=True)
class LlMock:
    """PyPI's llmock: faults are queued, and it judges the client by what it saw."""

    url: str
    http: httpx.Client

    def script(self, *faults: dict[str, Any]) -> None:
        self.http.post("/_llmock/scenario", json={"behaviors": list(faults)}).raise_for_status()

    def clear(self) -> None:
        self.http.delete("/_llmock/scenario").raise_for_status()

    def requests(self, model: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.http.get("/_llmock/requests").json()["requests"]
        return [row for row in rows if row["model"] == model]

    def verdict(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/_llmock/verdict").json()
        return found


@dataclass(frozen=True)
class AiMock:
    """npm's aimock: rates of faults, or the next answer's error."""

    url: str
    http: httpx.Client

    @contextmanager
    def chaos(self, **rates: float) -> Iterator[None]:
        self.http.post("/__aimock/chaos", json=rates).raise_for_status()
        try:
            yield
        finally:
            self.http.delete("/__aimock/chaos").raise_for_status()

    def fail_once(self, status: int, message: str) -> None:
        error = {"status": status, "body": {"message": message, "type": "server_error"}}
        self.http.post("/__aimock/error", json=error).raise_for_status()


@contextmanager
def llmock(*options: str) -> Iterator[LlMock]:
    """Raises NotInstallable."""
    program = python_of("llmock").parent / "llmock"
    port = port_beside(0, 0)
    # Slow enough to notice that the hub leaves a stream that it found broken.
    command = [str(program), "serve", "--port", str(port), "--stream-chunk-delay-ms", "10"]
    command += options
    with _running(command, f"http://127.0.0.1:{port}", "/health") as http:
        yield LlMock(str(http.base_url).rstrip("/"), http)


@contextmanager
def aimock(folder: Path) -> Iterator[AiMock]:
    """Raises NotInstallable. `folder` is for its fixtures."""
    program = node_folder() / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    answers = folder / "answers.json"
    answers.write_text(json.dumps(ANSWERS))
    port = port_beside(0, 0)
    command = ["node", str(program), "-p", str(port), "-f", str(answers), "-c", "16"]
    with _running(command, f"http://127.0.0.1:{port}", "/__aimock/health") as http:
        yield AiMock(str(http.base_url).rstrip("/"), http)


@contextmanager
def _running(command: Sequence[str], url: str, health: str) -> Iterator[httpx.Client]:
    process = subprocess.Popen(
        command,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as http:
            _wait_until_up(process, http, health)
            yield http
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], http: httpx.Client, health: str) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    while True:
        try:
            if http.get(health).is_success:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{process.args!r} does not answer at {health}"
        time.sleep(0.1)
