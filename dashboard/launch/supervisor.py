"""Keeps child processes running, shows what they print, and stops them in order.

Children are started from the main thread alone, because the kernel's promise that they end with
us is tied to the thread that started them. Everything that happens arrives as an event in one
queue: a signal, the end of a process, a restart that is due.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from dashboard.launch.console import Console
from dashboard.launch.errors import LaunchError
from dashboard.launch.processes import dies_with_us

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
CALM_S = 60.0  # after running this long, a crash counts as the first again
TICK_S = 0.1
LAST_LINES_S = 1.0  # a grandchild may hold the pipe open
SECOND_SIGNAL_AFTER_S = 0.5  # some senders signal a process and its group: that is one signal


class Starter(Protocol):
    """Starts the process, from the main thread. Raises LaunchError when it cannot."""

    def __call__(self) -> subprocess.Popen[bytes]: ...


@dataclass(slots=True)
class Child:
    name: str
    start: Starter
    stop_stage: int  # stopped in rising order; those of one stage together
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10.0
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    crashes: int = 0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass(frozen=True, slots=True)
class Signalled:
    number: int


@dataclass(frozen=True, slots=True)
class Ended:
    child: Child
    process: subprocess.Popen[bytes]
    status: int


@dataclass(frozen=True, slots=True)
class RestartDue:
    child: Child


Event = Signalled | Ended | RestartDue


class StopRequested(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)


@dataclass(slots=True)
class Supervisor:
    console: Console
    children: list[Child] = field(default_factory=list)
    _events: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)
    _outputs: list[threading.Thread] = field(default_factory=list)
    _stopping_since: float = 0.0

    def catch_signals(self) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)

    def start(self, child: Child) -> None:
        self.children.append(child)
        self._start(child)
        assert child.process is not None
        self.console.say(f"{child.name} started (process {child.process.pid})")

    def run_to_end(self, name: str, arguments: Sequence[str], env: Mapping[str, str]) -> int:
        """Run one command, showing what it prints; other children are looked after meanwhile."""
        process = start_process(arguments, env)
        output = self._show_output(name, process)
        try:
            while process.poll() is None:
                self._handle_events(TICK_S)
        except StopRequested:
            _signal_group(process, signal.SIGTERM)
            process.wait()
            raise
        output.join(LAST_LINES_S)
        return process.returncode

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            self._handle_events(TICK_S)
        return True

    def run_forever(self) -> None:
        """Until a signal comes; then raises StopRequested."""
        while True:
            self._handle_events(LONGEST_PAUSE_S)

    def stop_all(self) -> None:
        """Stage by stage. A further signal kills what is left at once."""
        self._stopping_since = time.monotonic()
        for stage in sorted({child.stop_stage for child in self.children}):
            self._stop_stage([child for child in self.children if child.stop_stage == stage])
        for output in self._outputs:
            output.join(LAST_LINES_S)

    # --- events -------------------------------------------------------------------------------

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._events.put(Signalled(number))  # SimpleQueue may be used from a signal handler

    def _handle_events(self, timeout_s: float) -> None:
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return
        match event:
            case Signalled(number):
                raise StopRequested(number)
            case Ended(child, process, status):
                self._after_end(child, process, status)
            case RestartDue(child):
                self._restart(child)

    def _after_end(self, child: Child, process: subprocess.Popen[bytes], status: int) -> None:
        if process is not child.process:
            return
        _signal_group(process, signal.SIGKILL)  # what it had started itself
        ran_s = time.monotonic() - child.started_at
        child.crashes = 1 if ran_s > CALM_S else child.crashes + 1
        self.console.warn(f"{child.name} ended unexpectedly ({describe_status(status)})")
        self._schedule_restart(child)

    def _schedule_restart(self, child: Child) -> None:
        pause_s = min(FIRST_PAUSE_S * 2 ** (child.crashes - 1), LONGEST_PAUSE_S)
        self.console.warn(f"{child.name} is started again in {pause_s:g} s")
        timer = threading.Timer(pause_s, self._events.put, (RestartDue(child),))
        timer.daemon = True
        timer.start()

    def _restart(self, child: Child) -> None:
        try:
            self._start(child)
        except (LaunchError, OSError) as exc:
            child.crashes += 1
            self.console.warn(f"{child.name} could not be started: {exc}")
            self._schedule_restart(child)
            return
        assert child.process is not None
        self.console.say(f"{child.name} is running again (process {child.process.pid})")

    # --- processes ----------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        process = child.start()
        child.process = process
        child.started_at = time.monotonic()
        self._show_output(child.name, process)
        threading.Thread(target=self._await_end, args=(child, process), daemon=True).start()

    def _await_end(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        self._events.put(Ended(child, process, process.wait()))

    def _show_output(self, name: str, process: subprocess.Popen[bytes]) -> threading.Thread:
        output = threading.Thread(target=self._pump, args=(name, process), daemon=True)
        output.start()
        self._outputs = [known for known in self._outputs if known.is_alive()] + [output]
        return output

    def _pump(self, name: str, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            return
        with process.stdout as lines:
            for line in lines:
                if text := line.decode(errors="replace").rstrip():
                    self.console.line(name, text)

    # --- stopping -----------------------------------------------------------------------------

    def _stop_stage(self, children: Sequence[Child]) -> None:
        running = [child for child in children if child.is_running]
        began = time.monotonic()
        for child in running:
            assert child.process is not None
            with suppress(ProcessLookupError):
                child.process.send_signal(child.stop_signal)
        for child in running:
            self._await_stop(child, began + child.stop_timeout_s)

    def _await_stop(self, child: Child, deadline: float) -> None:
        process = child.process
        assert process is not None
        while process.poll() is None and time.monotonic() < deadline:
            if self._signalled_again():
                deadline = 0.0
                for other in self.children:
                    other.stop_timeout_s = 0.0
        if process.poll() is None:
            self.console.warn(f"{child.name} did not stop in time and is killed")
        _signal_group(process, signal.SIGKILL)
        process.wait()
        self.console.say(f"{child.name} stopped")

    def _signalled_again(self) -> bool:
        try:
            event = self._events.get(timeout=TICK_S / 2)
        except queue.Empty:
            return False
        late = time.monotonic() - self._stopping_since > SECOND_SIGNAL_AFTER_S
        if isinstance(event, Signalled) and late:
            self.console.warn("second signal: killing what is left")
            return True
        return False


def start_process(
    arguments: Sequence[str], env: Mapping[str, str], pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**env, "PYTHONUNBUFFERED": "1"},
        pass_fds=pass_fds,
        process_group=0,  # Ctrl-C reaches us alone, and we stop the others in order
        preexec_fn=dies_with_us(),  # noqa: PLW1509 - two system calls, no locks
    )


def describe_status(status: int) -> str:
    if status >= 0:
        return f"exit code {status}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-status).name}"
    return f"killed by signal {-status}"


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
