"""Panelboard as it runs in production: gateway, recorder and a Postgres that really syncs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from bench.forms import INTERPRETED, OURS
from bench.paths import HERE, HUB_PORT, INTERPRETED_HUB_PORT, LOGS, ROOT, WORK, BenchError
from bench.processes import GATEWAY_CORE, LOAD_CORE, Program, read_clock, used_us
from bench.servers import ANTHROPIC, OPENAI
from dashboard.launch.commands import PROGRAMS
from dashboard.launch.embedded_postgres import EmbeddedPostgres
from dashboard.launch.errors import LaunchError
from routing.compiled.importing import OFF, REQUIRE, SETTING

MANAGE = (sys.executable, "-m", "django")
COMPILE = (sys.executable, "-m", "routing.compiled.build")
QUIET_US_PER_S = 20_000  # a recorder that uses less than this has caught up
SETTLE_PATIENCE_S = 60.0


class Panelboard:
    """The recorder shares the gateway's core; Postgres is on the other one, with the load."""

    name = OURS
    port = HUB_PORT
    hot_path = REQUIRE  # compiled, or it is not measured

    def __init__(self) -> None:
        self._folder = WORK / self.name
        self.headers: Mapping[str, tuple[str, ...]] = {OPENAI: (), ANTHROPIC: ()}
        self._postgres: EmbeddedPostgres | None = None
        self._programs: dict[str, Program] = {}

    def start(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            self._compile()
            self._start_postgres()
            self._prepare()
            self._start_programs()
        except (LaunchError, BenchError) as exc:
            self.stop()
            raise BenchError(str(exc)) from None

    def stop(self) -> None:
        for program in self._programs.values():
            program.stop(patience_s=30)
        self._programs = {}
        if self._postgres is not None:
            self._postgres.stop()
            self._postgres = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def parts(self) -> Mapping[str, int]:
        found = {name: program.pid for name, program in self._programs.items()}
        if self._postgres is not None and self._postgres.process is not None:
            found["postgres"] = self._postgres.process.pid
        return found

    def settle(self) -> None:
        """The recorder ships what the gateway spooled: its work belongs to the requests before."""
        recorder = self._programs["recorder"].pid
        end = time.monotonic() + SETTLE_PATIENCE_S
        before = read_clock(recorder)
        while time.monotonic() < end:
            time.sleep(1)
            after = read_clock(recorder)
            if used_us(before, after) < QUIET_US_PER_S:
                return
            before = after
        raise BenchError("the recorder did not catch up with the gateway")

    # --- parts ------------------------------------------------------------------------------------

    def _compile(self) -> None:
        if self.hot_path == REQUIRE:
            _run(COMPILE, os.environ)

    def _start_postgres(self) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        with (LOGS / f"{self.name}-postgres.log").open("wb") as log:
            self._postgres = EmbeddedPostgres(self._folder / "pg", log=log)
            process = self._postgres.start()
        os.sched_setaffinity(process.pid, {LOAD_CORE})

    def _prepare(self) -> None:
        self._manage("migrate", "--verbosity", "0")
        self._manage("load_catalog", str(HERE / "catalog.json"))
        key = self._run((sys.executable, "-m", "bench.make_key")).strip()
        self.headers = dict.fromkeys(self.headers, (f"Authorization: Bearer {key}",))

    def _start_programs(self) -> None:
        for part, program in (("gateway", "web"), ("recorder", "recorder")):
            self._programs[part] = Program(
                f"{self.name}-{part}",
                PROGRAMS[program].arguments,
                core=GATEWAY_CORE,
                environment=self._environment(),
                folder=ROOT,
            )
        self._programs["gateway"].await_port(self.port)

    def _environment(self) -> dict[str, str]:
        if self._postgres is None:
            raise BenchError("Postgres is started first")
        return {
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
            SETTING: self.hot_path,
            "DATABASE_URL": self._postgres.url,
            "PANELBOARD_DATA": str(self._folder / "data"),
            "PANELBOARD_SERVE": "gateway",
            "PANELBOARD_SIMULATOR": "off",
            "PANELBOARD_PRIVATE_UPSTREAMS": "127.0.0.1",
            "BENCH_PROVIDER_KEY": "sk-upstream",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
        }

    def _manage(self, *arguments: str) -> str:
        return self._run((*MANAGE, *arguments))

    def _run(self, command: Sequence[str]) -> str:
        return _run(command, {**os.environ, **self._environment()})


class InterpretedPanelboard(Panelboard):
    """As it runs where nobody said `./panelboard compile`."""

    name = INTERPRETED
    port = INTERPRETED_HUB_PORT
    hot_path = OFF


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()[-2:]  # the reason, and a close
        raise BenchError(f"{' '.join(command[1:])}: {' / '.join(lines) or 'failed'}")
    return done.stdout
