from __future__ import annotations

import resource
import subprocess
import sys

from tests.support.running_hub import ROOT

REPORT = """
import resource
from dashboard.launch.processes import allow_many_files
allow_many_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limits_after(soft: int, hard: int) -> tuple[int, int]:
    def lowered() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    said = subprocess.run(
        [sys.executable, "-c", REPORT],
        cwd=ROOT,
        preexec_fn=lowered,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    after_soft, after_hard = map(int, said.split())
    return after_soft, after_hard


def test_the_limit_of_open_files_is_raised_as_far_as_the_system_lets_us() -> None:
    assert limits_after(256, 4096) == (4096, 4096)


def test_a_limit_that_is_high_enough_stays() -> None:
    assert limits_after(4096, 4096) == (4096, 4096)
