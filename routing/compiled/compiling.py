"""Runs mypyc in a process of its own, and tells how far it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PROGRAM = Path(__file__).with_name("mypyc_run.py")
PROGRESS = "@progress "  # begins the lines that are not for the reader
SHOW_EVERY_S = 10.0

# Not the checks' own: those load Django and forbid what the translation does not mind.
MYPY_CONFIG = """[mypy]
follow_imports = silent
disable_error_code = import-untyped, import-not-found
"""
# What would lead mypy to other sources, or to settings of somebody's own.
NOT_HANDED_ON = {"PYTHONPATH", "MYPYPATH", "MYPY_CACHE_DIR", "MYPY_CONFIG_FILE_DIR"}


def run(
    sources: Path,
    files: Sequence[str],
    group: str,
    target: Path,
    environment: Mapping[str, str],
    show: Callable[[str], None],
) -> tuple[int, str]:
    """Compiles these files of `sources` into `target`: the exit status and what was written."""
    (sources / "mypy.ini").write_text(MYPY_CONFIG)
    order = {"files": list(files), "group": group, "target": str(target), "jobs": _processors()}
    lines: list[str] = []
    with subprocess.Popen(  # noqa: S603 - a program of our own
        [sys.executable, "-P", str(PROGRAM), json.dumps(order)],
        cwd=sources,
        env={name: value for name, value in environment.items() if name not in NOT_HANDED_ON},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        shown_at = time.monotonic()
        for line in process.stdout:
            if not line.startswith(PROGRESS):
                lines.append(line)
            elif time.monotonic() - shown_at >= SHOW_EVERY_S:
                shown_at = time.monotonic()
                show(line.removeprefix(PROGRESS).strip())
    return process.returncode, "".join(lines).rstrip()


def _processors() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
