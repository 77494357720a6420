from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from dashboard.launch import supervisor as module
from dashboard.launch.console import Console
from dashboard.launch.errors import LaunchError
from dashboard.launch.supervisor import (
    Child,
    StopRequested,
    Supervisor,
    describe_status,
    start_process,
)

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('up', flush=True); time.sleep(60)"
)


class Stage:
    """A supervisor whose output can be read."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        self.supervisor = Supervisor(Console(self.out))

    @property
    def text(self) -> str:
        return self.out.getvalue()

    def run(self, name: str, program: str, *, stage: int = 0, timeout_s: float = 5.0) -> Child:
        start = partial(start_process, [sys.executable, "-c", program], dict(os.environ))
        child = Child(name, start=start, stop_stage=stage, stop_timeout_s=timeout_s)
        self.supervisor.start(child)
        return child

    def wait_for(self, text: str, count: int = 1, timeout_s: float = 10.0) -> None:
        seen = self.supervisor.wait_until(lambda: self.text.count(text) >= count, timeout_s)
        assert seen, self.text

    def stopped(self) -> list[str]:
        return re.findall(r"hub +\| (\S+) stopped", self.text)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.05)
    before = {number: signal.getsignal(number) for number in module.STOP_SIGNALS}
    opened = Stage()
    yield opened
    opened.supervisor.stop_all()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_it_puts_time_and_name_before_each_line(stage: Stage) -> None:
    stage.run("talker", "print('one'); print(); print('two'); import time; time.sleep(60)")
    stage.wait_for("two")
    lines = [line for line in stage.text.splitlines() if " talker    |" in line]
    assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in lines] == [
        "talker    | one",
        "talker    | two",
    ]


def test_it_starts_a_crashed_child_again_and_says_so(stage: Stage) -> None:
    child = stage.run("web", SLEEPER)
    stage.wait_for("| up")
    assert child.process is not None
    child.process.kill()
    stage.wait_for("| up", count=2)
    assert "web ended unexpectedly (killed by SIGKILL)" in stage.text
    assert "web is started again in 0.05 s" in stage.text
    assert "web is running again" in stage.text


def test_each_crash_in_a_row_waits_twice_as_long(stage: Stage) -> None:
    stage.run("web", "raise SystemExit(3)")
    stage.wait_for("web is running again", count=3)
    pauses = re.findall(r"started again in (\S+) s", stage.text)
    assert pauses[:3] == ["0.05", "0.1", "0.2"]
    assert "exit code 3" in stage.text


def test_a_child_that_cannot_be_started_is_tried_again(stage: Stage) -> None:
    attempts: list[int] = []

    def start() -> subprocess.Popen[bytes]:
        attempts.append(1)
        if len(attempts) == 2:
            raise LaunchError("the disk is full")
        return start_process([sys.executable, "-c", SLEEPER], os.environ)

    child = Child("postgres", start=start, stop_stage=0)
    stage.supervisor.start(child)
    assert child.process is not None
    child.process.kill()
    stage.wait_for("postgres is running again")
    assert "postgres could not be started: the disk is full" in stage.text


def test_it_stops_stage_by_stage(stage: Stage) -> None:
    stage.run("postgres", SLEEPER, stage=2)
    stage.run("web", SLEEPER, stage=0)
    stage.run("recorder", SLEEPER, stage=1)
    stage.wait_for("| up", count=3)
    stage.supervisor.stop_all()
    assert stage.stopped() == ["web", "recorder", "postgres"]


def test_it_kills_a_child_that_does_not_stop_in_time(stage: Stage) -> None:
    child = stage.run("web", STUBBORN, timeout_s=0.3)
    stage.wait_for("| up")
    stage.supervisor.stop_all()
    assert "web did not stop in time and is killed" in stage.text
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL


def send_later(number: int, *delays_s: float) -> None:
    for delay_s in delays_s:
        threading.Timer(delay_s, os.kill, (os.getpid(), number)).start()


def test_a_signal_ends_the_wait(stage: Stage) -> None:
    stage.supervisor.catch_signals()
    send_later(signal.SIGTERM, 0.1)
    with pytest.raises(StopRequested, match="SIGTERM"):
        stage.supervisor.run_forever()


def test_a_second_signal_kills_what_is_left(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECOND_SIGNAL_AFTER_S", 0.1)
    stage.run("web", STUBBORN, timeout_s=60.0)
    stage.wait_for("| up")
    stage.supervisor.catch_signals()
    send_later(signal.SIGINT, 0.4)
    began = time.monotonic()
    stage.supervisor.stop_all()
    assert time.monotonic() - began < 30
    assert "second signal: killing what is left" in stage.text


def test_the_same_signal_sent_twice_at_once_is_one(stage: Stage) -> None:
    stage.run("web", SLEEPER, timeout_s=60.0)
    stage.wait_for("| up")
    stage.supervisor.catch_signals()
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(StopRequested):
        stage.supervisor.run_forever()
    stage.supervisor.stop_all()
    assert "second signal" not in stage.text


def test_a_command_that_runs_to_its_end_gives_its_status(stage: Stage) -> None:
    program = [sys.executable, "-c", "print('done'); raise SystemExit(7)"]
    assert stage.supervisor.run_to_end("prepare", program, os.environ) == 7
    assert "prepare   | done" in stage.text


def test_a_signal_ends_the_command_too(stage: Stage) -> None:
    stage.supervisor.catch_signals()
    send_later(signal.SIGINT, 0.3)
    program = [sys.executable, "-c", SLEEPER]
    with pytest.raises(StopRequested):
        stage.supervisor.run_to_end("prepare", program, os.environ)


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "child"
    program = (
        "import os, sys, time\n"
        "from dashboard.launch.supervisor import start_process\n"
        f"child = start_process([sys.executable, '-c', {SLEEPER!r}], os.environ)\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], env=_with_root())
    assert _soon(lambda: note.exists() and bool(note.read_text()))
    child = int(note.read_text())
    process.kill()
    process.wait()
    assert _soon(lambda: not _lives(child))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-9, "killed by SIGKILL"),
        (-99, "killed by signal 99"),
    ],
)
def test_it_names_how_a_process_ended(status: int, words: str) -> None:
    assert describe_status(status) == words


def _with_root() -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def _soon(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
