"""Runs the load client (load.c) and reads its report."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import msgspec

from bench.paths import LOAD, RUN, BenchError
from bench.processes import LOAD_CORE, on_core

MODEL = "bench-model"
_PROMPT = (
    "Summarise the following notes for someone who was not there. Keep names and numbers. "
    "The release moved to Thursday because two checks were red on the storage branch. "
    "Mira takes the migration, Jonas the rollback plan, and both meet at ten. "
)


class LoadReport(msgspec.Struct, frozen=True):
    seconds: float
    done: int
    errors: int
    chunks: int
    latency_p50_us: float
    latency_p99_us: float
    first_byte_p50_us: float
    chunk_delay_p50_us: float
    chunk_delay_p99_us: float
    first_error: str

    @property
    def requests_per_s(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0


def write_bodies() -> None:
    RUN.mkdir(parents=True, exist_ok=True)
    body = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "You are brief."},
            {"role": "user", "content": _PROMPT * 3},
        ],
        "temperature": 0.7,
        "max_tokens": 256,
    }
    body_file(stream=False).write_text(json.dumps(body))
    body_file(stream=True).write_text(json.dumps({**body, "stream": True}))


def body_file(*, stream: bool) -> Path:
    return RUN / ("stream.json" if stream else "plain.json")


class Load:
    """One run of the client, started at once. `wait` gives its report."""

    def __init__(
        self,
        port: int,
        headers: tuple[str, ...],
        *,
        connections: int,
        seconds: float,
        requests: int = 0,
        stream: bool = False,
        ramp_ms: int = 0,
        one_each: bool = False,
    ) -> None:
        command = [str(LOAD), "--port", str(port), "--body", str(body_file(stream=stream))]
        for header in headers:
            command += ["--header", header]
        command += ["--connections", str(connections), "--seconds", str(seconds)]
        command += ["--requests", str(requests), "--ramp-ms", str(ramp_ms)]
        if one_each:
            command.append("--one-each")
        self._process = subprocess.Popen(
            on_core(LOAD_CORE, command),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> LoadReport:
        out, err = self._process.communicate()
        if self._process.returncode:
            raise BenchError(f"the load client failed: {err.decode().strip()}")
        return msgspec.json.decode(out, type=LoadReport)
