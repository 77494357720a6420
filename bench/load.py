"""Runs the load client (load.c) and reads its report."""

from __future__ import annotations

import subprocess

import msgspec

from bench.bodies import Body
from bench.paths import LOAD, BenchError
from bench.processes import LOAD_CORE, on_core


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


class Shape(msgspec.Struct, frozen=True):
    """How the requests come. Each connection sends its next one when the last is answered."""

    connections: int
    seconds: float  # no request begins later
    requests: int = 0  # at most so many; 0 is no limit
    ramp_ms: int = 0  # the connections are opened over this time
    one_each: bool = False  # one request per connection


class Load:
    """One run of the client, started at once. `wait` gives its report."""

    def __init__(self, port: int, headers: tuple[str, ...], body: Body, shape: Shape) -> None:
        command = [str(LOAD), "--port", str(port), "--body", str(body.file)]
        for header in headers:
            command += ["--header", header]
        command += ["--connections", str(shape.connections), "--seconds", str(shape.seconds)]
        command += ["--requests", str(shape.requests), "--ramp-ms", str(shape.ramp_ms)]
        if shape.one_each:
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
