"""A whole hub in processes of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "PANELBOARD_COMPILED")
READY_WITHIN_S = 150.0
STOPPED_WITHIN_S = 60.0


@dataclass
class RunningHub:
    """`start()` returns when the hub says it is ready; `stop()` on every path."""

    data: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    lines: list[str] = field(default_factory=list)
    _reader: threading.Thread | None = None

    def start(self) -> RunningHub:
        self.lines.clear()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dashboard.launch", "up"],
            cwd=ROOT,
            env=own_environment(self.data, self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        try:
            self.wait_for_line("READY", READY_WITHIN_S)
        except AssertionError:
            self.kill_everything()
            raise
        return self

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(STOPPED_WITHIN_S)
        finally:
            self.kill_everything()

    def kill_everything(self) -> None:
        """SIGKILL to the launcher and to all that it started, at once."""
        assert self.process is not None
        for pid in [self.process.pid, *self.descendants()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        if self._reader is not None:
            self._reader.join(5)

    def manage(self, *arguments: str) -> str:
        """What a management command prints that works on this hub's data."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=own_environment(self.data, self.environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    # --- what it said ----------------------------------------------------------------------------

    @property
    def first_run(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.data / "first-run.json").read_text())
        return document

    @property
    def url(self) -> str:
        return str(self.first_run["url"])

    @property
    def api_key(self) -> str:
        return str(self.first_run["api_key"])

    @property
    def rest_token(self) -> str:
        return str(self.first_run["rest_token"])

    @property
    def simulator_url(self) -> str:
        return str(self.first_run["simulator_url"])

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for_line(self, text: str, timeout_s: float, *, after: int = 0) -> str:
        """The first line, from number `after` on, that contains the text."""
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        while True:
            ended = self.process.poll() is not None
            found = next((line for line in self.lines[after:] if text in line), None)
            if found is not None:
                return found
            assert not ended, f"the hub ended before it said {text!r}:\n{self.output}"
            assert time.monotonic() < deadline, f"no {text!r} in {timeout_s} s:\n{self.output}"
            time.sleep(0.05)

    def pid_of(self, child: str) -> int:
        """The process that runs as this child now, by what the launcher said last."""
        said = re.findall(rf"hub +\| .*\b{child}\b.*\(process (\d+)\)", self.output)
        return int(said[-1])

    def descendants(self) -> list[int]:
        assert self.process is not None
        parents = _parents()
        found, frontier = [], {self.process.pid}
        while frontier:
            frontier = {pid for pid, parent in parents.items() if parent in frontier}
            found.extend(frontier)
        return found

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            self.lines.extend(line.rstrip("\n") for line in output)


@contextmanager
def data_folder() -> Iterator[Path]:
    """When we are root, Postgres runs as another account and has to pass through."""
    folder = Path(tempfile.mkdtemp(prefix="panelboard-hub-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def own_environment(data: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """No provider key, database or broker of the machine's reaches the hub of a test."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "PORT": "0",
        "PANELBOARD_DATA": str(data),
        **extra,
    }


def _parents() -> dict[int, int]:
    """Parent by process, of all that live."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found[int(entry.name)] = int(fields[1])
    return found
