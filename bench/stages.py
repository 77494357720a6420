"""What is measured: throughput, latency and streams. Servers take turns, round by round."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from bench.load import Load, LoadReport
from bench.paths import LOGS, BenchError
from bench.processes import Clock, has_ended, read_clock, resident_mib, used_us
from bench.servers import Server

MIB_INTERVAL_S = 0.1


class Plan(msgspec.Struct, frozen=True):
    rounds: int
    seconds: float  # of the throughput stage, each round
    connections: int
    latency_requests: int
    streams: int
    chunks: int
    delay_ms: int


FULL = Plan(3, 4.0, 64, 300, 500, 100, 50)
QUICK = Plan(1, 1.5, 64, 60, 500, 20, 50)


class Sample(msgspec.Struct, frozen=True):
    server: str
    stage: str
    load: LoadReport
    cpu_us: dict[str, float]  # by part of the server
    resident_mib: dict[str, float]


class Meter:
    """CPU used by the parts of a server between `__init__` and `read`, and their most memory."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parts = dict(server.parts())
        self._before: dict[str, Clock] = {p: read_clock(pid) for p, pid in self._parts.items()}
        self._most_mib = dict.fromkeys(self._parts, 0.0)

    def watch_memory(self) -> None:
        for part, pid in self._parts.items():
            self._most_mib[part] = max(self._most_mib[part], resident_mib(pid))

    def read(self) -> tuple[dict[str, float], dict[str, float]]:
        """Raises BenchError when a part ended meanwhile: its figures would be too low."""
        ended = [part for part, pid in self._parts.items() if has_ended(pid)]
        if ended:
            raise BenchError(f"{', '.join(ended)} ended while it was measured; see {LOGS}")
        self._server.settle()
        cpu = {p: used_us(self._before[p], read_clock(pid)) for p, pid in self._parts.items()}
        return cpu, self._most_mib


def measure(server: Server, stage: str, start: Callable[[], Load]) -> Sample:
    meter = Meter(server)
    load = start()
    while load.running:
        meter.watch_memory()
        time.sleep(MIB_INTERVAL_S)
    report = load.wait()
    cpu_us, mib = meter.read()
    return Sample(server.name, stage, report, cpu_us, mib)


def warm_up(server: Server) -> LoadReport:
    """Also tells whether it answers at all: without one good answer it is not measured."""
    return Load(server.port, server.headers, connections=8, seconds=3, requests=200).wait()


def throughput(server: Server, plan: Plan) -> Sample:
    return measure(
        server,
        "throughput",
        lambda: Load(
            server.port, server.headers, connections=plan.connections, seconds=plan.seconds
        ),
    )


def latency(server: Server, plan: Plan) -> Sample:
    return measure(
        server,
        "latency",
        lambda: Load(
            server.port,
            server.headers,
            connections=1,
            seconds=20,
            requests=plan.latency_requests,
        ),
    )


def streams(server: Server, plan: Plan) -> Sample:
    return measure(
        server,
        "streams",
        lambda: Load(
            server.port,
            server.headers,
            connections=plan.streams,
            seconds=60,
            stream=True,
            ramp_ms=1000,
            one_each=True,
        ),
    )


STAGES: dict[str, Callable[[Server, Plan], Sample]] = {
    "throughput": throughput,
    "latency": latency,
    "streams": streams,
}


def run_all(
    servers: Sequence[Server], plan: Plan, say: Callable[[str], None]
) -> tuple[list[Sample], dict[str, str]]:
    """All samples, and why a server was given up. What it gave before does not count then."""
    samples: list[Sample] = []
    given_up: dict[str, str] = {}
    for stage, run in STAGES.items():
        for number in range(1, plan.rounds + 1):
            say(f"{stage}, round {number} of {plan.rounds}")
            for server in servers:
                if server.name in given_up:
                    continue
                try:
                    samples.append(run(server, plan))
                except BenchError as exc:
                    given_up[server.name] = f"given up in {stage}: {exc}"
    return [s for s in samples if s.server not in given_up], given_up
