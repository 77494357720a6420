"""`./panelboard up`: the whole hub by one command."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from dashboard.launch import preflight, report
from dashboard.launch.commands import MANAGE, PROGRAMS, STOP_LAST
from dashboard.launch.config import SIMULATOR_PORT_ABOVE, LaunchConfig
from dashboard.launch.console import Console
from dashboard.launch.embedded_postgres import STOP_TIMEOUT_S, EmbeddedPostgres
from dashboard.launch.errors import LaunchError
from dashboard.launch.processes import allow_many_files
from dashboard.launch.supervisor import Child, StopRequested, Supervisor, start_process

READY_TIMEOUT_S = 120.0
MOST_CRASHES_AT_START = 3
MOST_LOG_BYTES = 16 * 2**20
LOOPBACK_OF_SIMULATOR = "127.0.0.1"
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared with


def up() -> int:
    """Runs until a signal comes. Returns the exit status."""
    began = time.monotonic()
    config = LaunchConfig.from_environment()
    allow_many_files()
    supervisor = Supervisor(Console())
    try:
        with ExitStack() as stack:
            hub = Hub(config, supervisor, stack)
            supervisor.catch_signals()
            stack.callback(supervisor.stop_all)
            hub.start()
            supervisor.console.block(report.ready(hub.first_run(), time.monotonic() - began))
            supervisor.run_forever()
    except StopRequested as exc:
        supervisor.console.say(f"{exc}: everything is stopped")
        return 0
    except LaunchError as exc:
        supervisor.console.block(f"panelboard: {exc}")
        return 1
    return 0


class Hub:
    """The parts of one running hub, in the order in which they come up."""

    def __init__(self, config: LaunchConfig, supervisor: Supervisor, stack: ExitStack) -> None:
        self._config = config
        self._supervisor = supervisor
        self._stack = stack
        self._lock = stack.enter_context(preflight.claim_data_folder(config.data))
        patience_s = preflight.AFTER_A_CRASH_S if preflight.was_killed(self._lock) else 0.0
        self._listener = stack.enter_context(preflight.listen(config.host, config.port, patience_s))
        preflight.note_running(self._lock)
        stack.callback(preflight.note_stopped, self._lock)
        self._address = _reachable_address(self._listener)
        self._environment = self._children_environment()

    def start(self) -> None:
        self._start_database()
        self._prepare()
        first_run = self.first_run()
        if first_run["simulator_url"]:
            self._start_simulator()
        self._start_web()
        for name in ("recorder", "worker"):
            self._start_program(name)
        self._await_ready()
        self._start_program("beat")  # it begins with probes, which need providers that answer

    def first_run(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self._config.data / "first-run.json").read_text())
        return document

    # --- environment --------------------------------------------------------------------------

    def _children_environment(self) -> dict[str, str]:
        config = self._config
        host, port = self._address
        simulator_port = config.simulator_port or preflight.port_beside(port, SIMULATOR_PORT_ABOVE)
        return {
            **config.environment,
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
            "PANELBOARD_DATA": str(config.data),
            "PANELBOARD_URL": f"http://{_in_url(host)}:{port}",
            "PORT": str(port),
            "SIMULATOR_PORT": str(simulator_port),
        }

    def _allow_simulator(self) -> None:
        """The simulator is the one loopback upstream that needs no word of the operator's."""
        listed = self._environment.get("PANELBOARD_PRIVATE_UPSTREAMS", "")
        both = ",".join(filter(None, [listed, LOOPBACK_OF_SIMULATOR]))
        self._environment["PANELBOARD_PRIVATE_UPSTREAMS"] = both

    # --- parts --------------------------------------------------------------------------------

    def _start_database(self) -> None:
        if self._config.database_url:
            self._supervisor.console.say("using the Postgres of DATABASE_URL")
            return
        path = self._config.data / "logs" / "postgres.log"
        _set_aside_when_large(path)
        log = self._stack.enter_context(path.open("ab"))
        postgres = EmbeddedPostgres(self._config.data / "pg", log=log)
        self._stack.callback(postgres.release)
        self._supervisor.start(
            Child(
                "postgres",
                start=postgres.start,
                stop_stage=STOP_LAST,
                stop_signal=signal.SIGINT,
                stop_timeout_s=STOP_TIMEOUT_S,
            )
        )
        self._environment["DATABASE_URL"] = postgres.url

    def _prepare(self) -> None:
        command = (*MANAGE, "prepare_hub")
        status = self._supervisor.run_to_end("prepare", command, self._environment)
        if status:
            raise LaunchError("the hub could not be prepared; the lines above say why")

    def _start_simulator(self) -> None:
        self._allow_simulator()
        journal = self._config.data / "simulator" / "journal.jsonl"
        journal.parent.mkdir(mode=0o700, exist_ok=True)
        _set_aside_when_large(journal)
        port, speed = self._environment["SIMULATOR_PORT"], self._config.simulator_speed
        options = ("--port", port, "--speed", speed, "--journal", str(journal))
        self._start_program("simulator", extra=options)

    def _start_web(self) -> None:
        descriptor = self._listener.fileno()
        count = self._config.web_processes
        for number in range(1, count + 1):
            self._start_program(
                "web",
                name="web" if count == 1 else f"web-{number}",
                extra=("--fd", str(descriptor)),
                pass_fds=(descriptor,),
                stop_timeout_s=self._config.drain_s + 5.0,
            )

    def _start_program(
        self,
        program_name: str,
        *,
        name: str = "",
        extra: tuple[str, ...] = (),
        pass_fds: tuple[int, ...] = (),
        stop_timeout_s: float | None = None,
    ) -> None:
        program = PROGRAMS[program_name]
        start = partial(
            start_process, (*program.arguments, *extra), self._environment, pass_fds=pass_fds
        )
        self._supervisor.start(
            Child(
                name or program_name,
                start=start,
                stop_stage=program.stop_stage,
                stop_timeout_s=stop_timeout_s or program.stop_timeout_s,
            )
        )

    def _await_ready(self) -> None:
        waiting = [_answers(*self._address, "/healthz")]
        if self.first_run()["simulator_url"]:
            simulator_port = int(self._environment["SIMULATOR_PORT"])
            waiting.append(_answers(LOOPBACK_OF_SIMULATOR, simulator_port, "/_control/health"))

        def decided() -> bool:
            return all(answers() for answers in waiting) or self._first_to_fail() is not None

        in_time = self._supervisor.wait_until(decided, READY_TIMEOUT_S)
        if failed := self._first_to_fail():
            raise LaunchError(f"{failed} ends each time it is started; the lines above say why")
        if not in_time:
            raise LaunchError(
                f"the hub did not become ready within {READY_TIMEOUT_S:.0f} s; "
                "the lines above say why"
            )

    def _first_to_fail(self) -> str | None:
        """While starting, a process that ends again and again will not be mended by waiting."""
        children = self._supervisor.children
        return next((c.name for c in children if c.crashes >= MOST_CRASHES_AT_START), None)


def _reachable_address(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return EVERY_ADDRESS.get(host, host), port


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _answers(host: str, port: int, path: str) -> Callable[[], bool]:
    def healthy() -> bool:
        connection = http.client.HTTPConnection(host, port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return healthy


def _set_aside_when_large(log: Path) -> None:
    if log.exists() and log.stat().st_size > MOST_LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
