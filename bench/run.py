"""The command: what is started, in what order, and what is printed."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from bench import load, report, stages, tools
from bench.hub import Panelboard
from bench.paths import (
    HUB_PORT,
    LITELLM_PORT,
    LOGS,
    NGINX_PORT,
    PORTKEY_PORT,
    RESULTS,
    UPSTREAM_PORT,
    BenchError,
)
from bench.processes import GATEWAY_CORE, LOAD_CORE, need_free_ports, need_program
from bench.servers import Direct, LiteLLM, Nginx, Portkey, Server, start_upstream

SERVERS: dict[str, Callable[[], Server]] = {
    "direct": Direct,
    "nginx": Nginx,
    "litellm": LiteLLM,
    "portkey": Portkey,
    "panelboard": Panelboard,
}
PORTS = (UPSTREAM_PORT, NGINX_PORT, LITELLM_PORT, PORTKEY_PORT, HUB_PORT)


class Results(msgspec.Struct, frozen=True):
    at: str
    machine: str
    versions: dict[str, str]
    plan: stages.Plan
    missing: dict[str, str]
    rows: dict[str, report.Row]
    aims: list[report.Aim]
    samples: list[stages.Sample]


def main() -> int:
    chosen = _arguments()
    plan = stages.QUICK if chosen.quick else stages.FULL
    if chosen.rounds:
        plan = msgspec.structs.replace(plan, rounds=chosen.rounds)
    try:
        results = _measure(chosen.servers, plan)
    except BenchError as exc:
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
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each stage")
    parser.add_argument(
        "--servers",
        type=_names,
        default=list(SERVERS),
        help=f"comma-separated, of {', '.join(SERVERS)}; direct is always measured",
    )
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in SERVERS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(unknown)}; there are {', '.join(SERVERS)}"
        )
    return list(dict.fromkeys(["direct", *names]))


def _measure(names: Sequence[str], plan: stages.Plan) -> Results:
    need_program("taskset")
    tools.build_programs()
    need_free_ports(PORTS)
    load.write_bodies()
    with _started(names, plan) as (servers, missing):
        samples, given_up = stages.run_all(servers, plan, _say)
    rows = report.rows_of(samples)
    return Results(
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        machine=tools.machine(),
        versions=tools.versions(rows),
        plan=plan,
        missing={**missing, **given_up},
        rows=rows,
        aims=report.aims(rows),
        samples=samples,
    )


@contextmanager
def _started(
    names: Sequence[str], plan: stages.Plan
) -> Iterator[tuple[list[Server], dict[str, str]]]:
    """All of them run through the whole measurement. One that cannot is missing, with the reason."""
    upstream = start_upstream(plan.chunks, plan.delay_ms)
    servers: list[Server] = []
    missing: dict[str, str] = {}
    try:
        for name in names:
            server = SERVERS[name]()
            servers.append(server)
            try:
                _start(server)
            except BenchError as exc:
                missing[name] = str(exc)
                server.stop()
                servers.remove(server)
        yield servers, missing
    finally:
        for server in servers:
            server.stop()
        upstream.stop()


def _start(server: Server) -> None:
    _say(f"starting {server.name}")
    server.start()
    answer = stages.warm_up(server)
    if not answer.done:
        reason = answer.first_error or "no connection"
        raise BenchError(f"it gives no answer ({reason}); its output is in {LOGS}")


def _say(text: str) -> None:
    print(f"... {text}", flush=True)


def _text(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    return "\n".join(
        [
            "",
            results.machine,
            versions,
            f"gateways on core {GATEWAY_CORE}, upstream and load on core {LOAD_CORE}; {results.at}",
            report.plan_text(results.plan),
            "",
            report.table(results.rows, results.missing),
            "",
            *filter(None, [report.parts_text(results.rows.get(report.OURS))]),
            report.aims_text(results.rows),
            f"all samples: {RESULTS}",
        ]
    )
