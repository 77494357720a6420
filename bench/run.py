"""Measures the gateway beside others, in one run on one machine; bench/README.md explains it."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from bench import bodies, processes, report, rounds, stages, tools
from bench.aims import Aim, aims
from bench.figures import Table, figures_of
from bench.forms import INTERPRETED, OURS
from bench.hub import InterpretedPanelboard, Panelboard
from bench.paths import (
    HUB_PORT,
    INTERPRETED_HUB_PORT,
    LITELLM_PORT,
    NGINX_PORT,
    PORTKEY_PORT,
    RESULTS,
    UPSTREAM_PORT,
    BenchError,
    UpstreamEnded,
)
from bench.processes import GATEWAY_CORE, LOAD_CORE
from bench.servers import Direct, LiteLLM, Nginx, Portkey, Server, start_upstream
from bench.stages import STAGE_BY_NAME, Stage

SERVERS: dict[str, Callable[[], Server]] = {
    "direct": Direct,
    "nginx": Nginx,
    "litellm": LiteLLM,
    "portkey": Portkey,
    OURS: Panelboard,
    INTERPRETED: InterpretedPanelboard,
}
PORTS = (
    UPSTREAM_PORT,
    NGINX_PORT,
    LITELLM_PORT,
    PORTKEY_PORT,
    HUB_PORT,
    INTERPRETED_HUB_PORT,
)
BUSY_SHARE = 0.1


class Results(msgspec.Struct, frozen=True):
    at: str
    machine: str
    busy_share_before: float
    python_loop_ms: float
    versions: dict[str, str]
    plan: stages.Plan
    missing: dict[str, str]
    left_out: dict[str, dict[str, str]]
    one_round: dict[str, list[str]]
    figures: dict[str, Table]
    aims: list[Aim]
    samples: list[stages.Sample]


def main() -> int:
    chosen = _arguments()
    plan = stages.QUICK if chosen.quick else stages.FULL
    if chosen.rounds:
        plan = msgspec.structs.replace(plan, rounds=chosen.rounds)
    try:
        results = _measure(chosen.servers, [STAGE_BY_NAME[name] for name in chosen.stages], plan)
    except (BenchError, UpstreamEnded) as exc:
        print(f"bench: {exc}")
        return 1
    except KeyboardInterrupt:
        print("bench: stopped, nothing was written")
        return 130
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    print(_text(results))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: a look, no result")
    parser.add_argument("--rounds", type=_at_least_one, default=0, help="rounds of each stage")
    parser.add_argument(
        "--servers",
        type=lambda text: list(dict.fromkeys(["direct", *names_in(text, SERVERS)])),
        default=list(SERVERS),
        help=f"comma-separated, of {', '.join(SERVERS)}; direct is always measured",
    )
    parser.add_argument(
        "--stages",
        type=lambda text: names_in(text, STAGE_BY_NAME),
        default=list(STAGE_BY_NAME),
        help=f"comma-separated, of {', '.join(STAGE_BY_NAME)}",
    )
    return parser.parse_args()


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of 1 or more")
    return int(text)


def names_in(text: str, known: Mapping[str, object]) -> list[str]:
    """In the order of `known`, which is the order of measuring."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(unknown) or 'nothing'}; there are {', '.join(known)}"
        )
    return [name for name in known if name in names]


def _measure(names: Sequence[str], chosen: Sequence[Stage], plan: stages.Plan) -> Results:
    processes.need_program("taskset")
    processes.allow_many_files()
    tools.build_programs()
    processes.need_free_ports(PORTS)
    busy, loop_ms = processes.busy_share(), tools.loop_ms()
    for stage in chosen:
        bodies.write(stage.body)
        bodies.write(stage.body.warm_up)
    with _started(names, plan) as (servers, missing, upstream):
        outcome = rounds.run_all(
            servers, chosen, plan, _say, check_upstream=lambda: _check(upstream)
        )
    figures = figures_of(outcome.samples)
    return Results(
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        machine=tools.machine(),
        busy_share_before=busy,
        python_loop_ms=loop_ms,
        versions=tools.versions([server.name for server in servers]),
        plan=plan,
        missing=missing,
        left_out=outcome.left_out,
        one_round=outcome.one_round,
        figures=figures,
        aims=aims(figures),
        samples=outcome.samples,
    )


@contextmanager
def _started(
    names: Sequence[str], plan: stages.Plan
) -> Iterator[tuple[list[Server], dict[str, str], processes.Program]]:
    """All of them run through the whole measurement. One that cannot is missing, with the reason."""
    upstream = start_upstream(plan.chunks, plan.delay_ms)
    servers: list[Server] = []
    missing: dict[str, str] = {}
    try:
        for name in names:
            server = SERVERS[name]()
            servers.append(server)
            _say(f"starting {name}")
            try:
                server.start()
            except BenchError as exc:
                missing[name] = str(exc)
                server.stop()
                servers.remove(server)
        yield servers, missing, upstream
    finally:
        for server in servers:
            server.stop()
        upstream.stop()


def _check(upstream: processes.Program) -> None:
    if processes.has_ended(upstream.pid):
        raise UpstreamEnded(f"the upstream ended, so nothing was measured; see {upstream.log}")


def _say(text: str) -> None:
    print(f"... {text}", flush=True)


def _text(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    outcome = rounds.Outcome(results.samples, results.left_out, results.one_round)
    return "\n".join(
        [
            "",
            results.machine,
            versions,
            f"a fixed loop of Python takes {results.python_loop_ms:.1f} ms ({sys.executable})",
            f"gateways on core {GATEWAY_CORE}, upstream and load on core {LOAD_CORE}; {results.at}",
            report.plan_text(results.plan),
            *_warnings(results),
            "",
            report.text_of(results.figures, outcome),
            "",
            report.aims_text(results.aims),
            f"all samples: {RESULTS}",
        ]
    )


def _warnings(results: Results) -> list[str]:
    lines = [f"{name}: missing, {reason}" for name, reason in results.missing.items()]
    if results.busy_share_before > BUSY_SHARE:
        share = f"{results.busy_share_before:.0%}"
        lines.append(f"the machine was {share} busy before the start: expect figures that are off")
    return lines
