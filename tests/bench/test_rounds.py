"""Who is measured in which stage, and what becomes of one that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field

import pytest

from bench.paths import BenchError, UpstreamEnded
from bench.rounds import Outcome, run_all
from bench.servers import ANTHROPIC, OPENAI, Server
from bench.stages import QUICK, STAGE_BY_NAME, Plan, Sample, Stage, check
from tests.bench.samples import load, sample

NOBODY = 2**22 + 1  # above the largest process id
TWO_ROUNDS = Plan(2, 1.0, 4, 10, 20, 50, 100, slow_s=20.0)
STAGES = [STAGE_BY_NAME["throughput"], STAGE_BY_NAME["claude"]]


@dataclass
class Fake:
    name: str
    wires: InitVar[tuple[str, ...]] = (OPENAI, ANTHROPIC)
    pids: dict[str, int] = field(default_factory=dict)
    starts: int = 0
    port: int = 0
    headers: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self, wires: tuple[str, ...]) -> None:
        self.headers = dict.fromkeys(wires, ())

    def start(self) -> None:
        self.starts += 1
        self.pids.clear()

    def stop(self) -> None:
        pass

    def parts(self) -> Mapping[str, int]:
        return self.pids

    def settle(self) -> None:
        pass


def run(
    *servers: Fake,
    take: Callable[[Server, Stage, Plan], Sample] = lambda server, stage, _: sample(
        server.name, stage.name, load()
    ),
    warm: Callable[[Server, Stage], None] = lambda _server, _stage: None,
) -> Outcome:
    return run_all(servers, STAGES, TWO_ROUNDS, lambda _text: None, warm=warm, take=take)


def measured(outcome: Outcome) -> list[tuple[str, str]]:
    return [(s.stage, s.server) for s in outcome.samples]


def test_servers_take_turns_and_one_that_cannot_translate_is_not_asked_to() -> None:
    outcome = run(Fake("nginx", (OPENAI,)), Fake("panelboard"))
    assert sorted(measured(outcome)) == sorted(
        [("throughput", "nginx"), ("throughput", "panelboard"), ("claude", "panelboard")] * 2
    )
    assert outcome.left_out == {}


def test_one_that_fails_in_a_stage_is_left_out_of_that_stage_alone() -> None:
    seen: list[str] = []

    def take(server: Server, stage: Stage, _plan: Plan) -> Sample:
        seen.append(stage.name)
        if seen.count("throughput") == 2 and stage.name == "throughput":
            raise BenchError("the connection broke")
        return sample(server.name, stage.name, load())

    outcome = run(Fake("litellm"), take=take)
    assert outcome.left_out == {"throughput": {"litellm": "the connection broke"}}
    assert measured(outcome) == [("claude", "litellm")] * 2


def test_one_that_gives_no_answer_is_not_measured() -> None:
    def warm(_server: Server, stage: Stage) -> None:
        if stage.wire == ANTHROPIC:
            raise BenchError("it gives no answer (401)")

    outcome = run(Fake("portkey"), warm=warm)
    assert outcome.left_out == {"claude": {"portkey": "it gives no answer (401)"}}
    assert measured(outcome) == [("throughput", "portkey")] * 2


def test_one_that_ended_is_started_again_before_the_next_stage() -> None:
    server = Fake("litellm", pids={"litellm": NOBODY})
    outcome = run(server)
    assert server.starts == 1
    assert outcome.left_out == {}


def test_a_slow_one_gets_one_round_of_the_stage() -> None:
    def take(server: Server, stage: Stage, _plan: Plan) -> Sample:
        seconds = 80.0 if stage.name == "throughput" else 2.0
        return sample(server.name, stage.name, load(seconds=seconds))

    outcome = run(Fake("litellm"), take=take)
    assert measured(outcome) == [("throughput", "litellm"), *[("claude", "litellm")] * 2]
    assert outcome.one_round == {"throughput": ["litellm"]}


def test_without_its_upstream_the_measurement_ends() -> None:
    def check_upstream() -> None:
        raise UpstreamEnded

    with pytest.raises(UpstreamEnded):
        run_all(
            [Fake("nginx")],
            STAGES,
            TWO_ROUNDS,
            lambda _text: None,
            check_upstream=check_upstream,
            warm=lambda _server, _stage: None,
            take=lambda server, stage, _: sample(server.name, stage.name, load()),
        )


def test_figures_of_many_failed_requests_are_refused() -> None:
    check(load(done=1000, errors=10), chunks_each=0)
    with pytest.raises(BenchError, match="11 of 1011 requests failed: 502 bad gateway"):
        check(load(done=1000, errors=11), chunks_each=0)


def test_a_stream_that_lost_chunks_is_no_measurement() -> None:
    check(load(done=10, chunks=200), chunks_each=QUICK.chunks)
    with pytest.raises(BenchError, match="199 of 200 chunks arrived"):
        check(load(done=10, chunks=199), chunks_each=QUICK.chunks)
