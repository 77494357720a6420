"""What is measured, in this order, and what one measurement of one server is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from bench import bodies
from bench.bodies import Body
from bench.load import Load, LoadReport, Shape
from bench.paths import LOGS, BenchError
from bench.processes import Clock, has_ended, read_clock, resident_mb, used_us
from bench.servers import ANTHROPIC, OPENAI, Server

MEMORY_INTERVAL_S = 0.1
STREAMS_PATIENCE_S = 150  # LiteLLM takes more than a minute for 1,000 streams
MOST_FAILED_SHARE = 0.01


class Plan(msgspec.Struct, frozen=True):
    rounds: int
    seconds: float  # of a closed loop, each round
    connections: int
    latency_requests: int
    chunks: int
    delay_ms: int
    ramp_ms: int
    slow_s: float = 15.0  # a server that needs longer for a round gets one round of that stage


FULL = Plan(3, 4.0, 64, 300, 100, 50, 1000)
QUICK = Plan(1, 1.5, 64, 60, 20, 50, 500)


@dataclass(frozen=True)
class Stage:
    name: str
    title: str
    body: Body
    shape: Callable[[Plan], Shape]
    wire: str = OPENAI  # what the upstream speaks; clients always speak OpenAI's


class Sample(msgspec.Struct, frozen=True):
    server: str
    stage: str
    load: LoadReport
    cpu_us: dict[str, float]  # by part of the server
    resident_mb: dict[str, float]


def _closed_loop(plan: Plan) -> Shape:
    return Shape(plan.connections, plan.seconds)


def _one_by_one(plan: Plan) -> Shape:
    return Shape(1, 20, requests=plan.latency_requests)


def _streams(count: int) -> Callable[[Plan], Shape]:
    return lambda plan: Shape(count, STREAMS_PATIENCE_S, ramp_ms=plan.ramp_ms, one_each=True)


STAGES = (
    Stage("throughput", "short prompts, many connections", bodies.SHORT, _closed_loop),
    Stage("latency", "short prompts, 1 connection", bodies.SHORT, _one_by_one),
    Stage("streams-500", "500 streams at once", bodies.SHORT_STREAM, _streams(500)),
    Stage("streams-1000", "1,000 streams at once", bodies.SHORT_STREAM, _streams(1000)),
    Stage("prompts-100k", "prompts of 100 KB, many connections", bodies.LONG, _closed_loop),
    Stage(
        "claude",
        "OpenAI's chat translated for an Anthropic upstream, short prompts",
        bodies.CLAUDE,
        _closed_loop,
        ANTHROPIC,
    ),
    Stage(
        "claude-streams",
        "the same, 300 streams at once",
        bodies.CLAUDE_STREAM,
        _streams(300),
        ANTHROPIC,
    ),
)
STAGE_BY_NAME = {stage.name: stage for stage in STAGES}


class Meter:
    """CPU used by the parts of a server between `__init__` and `read`, and their most memory."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parts = dict(server.parts())
        self._before: dict[str, Clock] = {p: read_clock(pid) for p, pid in self._parts.items()}
        self._most_mb = dict.fromkeys(self._parts, 0.0)

    def watch_memory(self) -> None:
        for part, pid in self._parts.items():
            self._most_mb[part] = max(self._most_mb[part], resident_mb(pid))

    def read(self) -> tuple[dict[str, float], dict[str, float]]:
        """Raises BenchError when a part ended meanwhile: its figures would be too low."""
        ended = [part for part, pid in self._parts.items() if has_ended(pid)]
        if ended:
            raise BenchError(f"{', '.join(ended)} ended while it was measured; see {LOGS}")
        self._server.settle()
        cpu = {p: used_us(self._before[p], read_clock(pid)) for p, pid in self._parts.items()}
        return cpu, self._most_mb


def measure(server: Server, stage: Stage, plan: Plan) -> Sample:
    """Raises BenchError when the figures would mean nothing."""
    meter = Meter(server)
    load = Load(server.port, server.headers[stage.wire], stage.body, stage.shape(plan))
    while load.running:
        meter.watch_memory()
        time.sleep(MEMORY_INTERVAL_S)
    report = load.wait()
    cpu_us, mb = meter.read()
    check(report, plan.chunks if stage.body.stream else 0)
    return Sample(server.name, stage.name, report, cpu_us, mb)


def check(report: LoadReport, chunks_each: int) -> None:
    """Failed requests cost less than good ones, and lost chunks nothing."""
    if report.errors > MOST_FAILED_SHARE * report.done:
        sent = report.errors + report.done
        raise BenchError(f"{report.errors} of {sent} requests failed: {report.first_error}")
    if report.chunks < chunks_each * report.done:
        wanted = chunks_each * report.done
        raise BenchError(f"{report.chunks} of {wanted} chunks arrived")


def warm_up(server: Server, stage: Stage) -> None:
    """Raises BenchError if it gives no good answer."""
    shape = Shape(connections=8, seconds=1.5, requests=200)
    report = Load(server.port, server.headers[stage.wire], stage.body.warm_up, shape).wait()
    if not report.done:
        reason = report.first_error or "no connection"
        raise BenchError(f"it gives no answer ({reason}); its output is in {LOGS}")
