"""What is read from /proc about a tree of processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from bench.processes import has_ended, read_clock, resident_mb, tree_of, used_us

BUSY = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'while True: pass']).wait()"


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True)
    yield process
    for pid in reversed(tree_of(process.pid)):
        subprocess.run(["kill", "-9", str(pid)], check=False)
    process.wait()


def wait_for_child(pid: int) -> None:
    for _ in range(500):
        if len(tree_of(pid)) > 1:
            return
        time.sleep(0.01)
    raise AssertionError("the child did not start")


def test_a_childs_time_and_memory_count_with_its_parents(
    parent: subprocess.Popen[bytes],
) -> None:
    wait_for_child(parent.pid)
    child = tree_of(parent.pid)[1]
    before = read_clock(parent.pid)
    for _ in range(500):
        if used_us(before, read_clock(parent.pid)) > 1000:
            break
        time.sleep(0.01)
    assert used_us(before, read_clock(parent.pid)) > 1000
    assert resident_mb(parent.pid) > resident_mb(child) > 0


def test_a_process_that_is_gone_used_nothing_and_is_known_to_have_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    for _ in range(500):
        if has_ended(process.pid):
            break
        time.sleep(0.01)
    assert has_ended(process.pid), "before anybody waited for it"
    process.wait()
    assert has_ended(process.pid)
    assert read_clock(process.pid) == {}
    assert resident_mb(process.pid) == 0


def test_time_before_the_measurement_is_not_counted() -> None:
    assert used_us({(1, 1): 5_000}, {(1, 1): 9_000, (1, 2): 1_000}) == 5.0
