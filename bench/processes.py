"""Starting a program on one core, and reading what it and its children used, from /proc."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.paths import LOGS, BenchError

GATEWAY_CORE = 0
LOAD_CORE = 1 if (os.cpu_count() or 1) > 1 else 0

Clock = dict[tuple[int, int], int]  # (process, thread) -> nanoseconds on a core


def on_core(core: int, command: Sequence[str]) -> list[str]:
    return ["taskset", "--cpu-list", str(core), *command]


class Program:
    """A child in a session of its own, pinned to a core, its output in `.bench/logs/`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        core: int,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = LOGS / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                on_core(core, command),
                env={**os.environ, **(environment or {})},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def await_port(self, port: int, patience_s: float = 120.0) -> None:
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise BenchError(f"{self.name} ended at once; {self.log} says why:\n{self.tail()}")
            if is_listening(port):
                return
            time.sleep(0.1)
        raise BenchError(f"{self.name} did not listen on port {port} within {patience_s:.0f} s")

    def tail(self, lines: int = 8) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, patience_s: float = 10.0) -> None:
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def allow_many_files() -> None:
    """1,000 streams through a proxy are 2,000 sockets, often more than a shell's usual limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def busy_share(seconds: float = 1.0) -> float:
    """Of all cores together, by whatever runs now."""
    before = _core_ticks()
    time.sleep(seconds)
    spent = [b - a for a, b in zip(before, _core_ticks(), strict=True)]
    idle = spent[3] + spent[4]  # idle and waiting for a disk
    return 1 - idle / sum(spent) if sum(spent) else 0.0


def _core_ticks() -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def need_free_ports(ports: Sequence[int]) -> None:
    taken = [port for port in ports if is_listening(port)]
    if taken:
        raise BenchError(f"stop what listens on port {', '.join(map(str, taken))} first")


def need_program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise BenchError(f"{name} is not installed")
    return found


# --- what a tree of processes used ---------------------------------------------------------------


def tree_of(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        found.extend(_children_of(parent))
    return found


def _children_of(pid: int) -> Iterator[int]:
    for thread in _threads_of(pid):
        try:
            text = Path(f"/proc/{pid}/task/{thread}/children").read_text()
        except OSError:
            continue
        yield from map(int, text.split())


def _threads_of(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def read_clock(pid: int) -> Clock:
    """Time on a core of every thread in the tree, in nanoseconds and not in ticks of 10 ms."""
    clock: Clock = {}
    for process in tree_of(pid):
        for thread in _threads_of(process):
            try:
                text = Path(f"/proc/{process}/task/{thread}/schedstat").read_text()
            except OSError:
                continue
            clock[process, int(thread)] = int(text.split()[0])
    return clock


def used_us(before: Clock, after: Clock) -> float:
    return sum(ns - before.get(thread, 0) for thread, ns in after.items()) / 1e3


def has_ended(pid: int) -> bool:
    """A child that nobody waited for yet is still listed, as a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def resident_mb(pid: int) -> float:
    """Sum of VmRSS over the tree, in 10^6 bytes. Pages that are shared count in each process."""
    kib = 0
    for process in tree_of(pid):
        try:
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue
        kib += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return kib * 1024 / 1e6
