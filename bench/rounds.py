"""Servers take turns in each stage, round by round, so that a change of the machine meets all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.paths import BenchError
from bench.processes import has_ended
from bench.servers import Server
from bench.stages import Plan, Sample, Stage, measure, warm_up

Say = Callable[[str], None]


@dataclass
class Outcome:
    samples: list[Sample] = field(default_factory=list)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)  # stage -> server -> why
    one_round: dict[str, list[str]] = field(default_factory=dict)  # stage -> servers


def run_all(
    servers: Sequence[Server],
    stages: Sequence[Stage],
    plan: Plan,
    say: Say,
    *,
    check_upstream: Callable[[], None] = lambda: None,
    warm: Callable[[Server, Stage], None] = warm_up,
    take: Callable[[Server, Stage, Plan], Sample] = measure,
) -> Outcome:
    """One that fails in a stage is left out of that stage alone, with the reason.

    `check_upstream` raises UpstreamEnded, which ends it all.
    """
    outcome = Outcome()
    for stage in stages:
        taking_part = [server for server in servers if stage.wire in server.headers]
        _Stage(stage, taking_part, plan, outcome, say).run(warm, take)
        check_upstream()
    return outcome


class _Stage:
    def __init__(
        self, stage: Stage, servers: list[Server], plan: Plan, outcome: Outcome, say: Say
    ) -> None:
        self.stage = stage
        self.servers = servers
        self.plan = plan
        self.outcome = outcome
        self.say = say
        self.samples: dict[str, list[Sample]] = {}

    def run(
        self,
        warm: Callable[[Server, Stage], None],
        take: Callable[[Server, Stage, Plan], Sample],
    ) -> None:
        self._each(lambda server: self._prepare(server, warm))
        for number in range(1, self.plan.rounds + 1):
            self.say(f"{self.stage.name}, round {number} of {self.plan.rounds}")
            self._each(lambda server: self._keep(take(server, self.stage, self.plan)))
            if number == 1 and self.plan.rounds > 1:
                self._excuse_slow_ones()
        for samples in self.samples.values():
            self.outcome.samples.extend(samples)

    def _each(self, action: Callable[[Server], None]) -> None:
        for server in list(self.servers):
            try:
                action(server)
            except BenchError as exc:
                self._leave_out(server, str(exc))

    def _leave_out(self, server: Server, reason: str) -> None:
        """What it gave before in this stage does not count."""
        self.say(f"{server.name} is left out of {self.stage.name}: {reason}")
        self.servers.remove(server)
        self.samples.pop(server.name, None)
        self.outcome.left_out.setdefault(self.stage.name, {})[server.name] = reason

    def _prepare(self, server: Server, warm: Callable[[Server, Stage], None]) -> None:
        """One that ended in the stage before is started again."""
        if any(has_ended(pid) for pid in server.parts().values()):
            self.say(f"starting {server.name} again")
            server.stop()
            server.start()
        warm(server, self.stage)

    def _keep(self, sample: Sample) -> None:
        self.samples.setdefault(sample.server, []).append(sample)

    def _excuse_slow_ones(self) -> None:
        for server in list(self.servers):
            if self.samples[server.name][0].load.seconds > self.plan.slow_s:
                self.servers.remove(server)
                self.outcome.one_round.setdefault(self.stage.name, []).append(server.name)
