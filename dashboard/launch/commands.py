"""The processes of a hub: which program each is, and in what order they are stopped."""

from __future__ import annotations

import sys
from dataclasses import dataclass

PYTHON = sys.executable
MANAGE = (PYTHON, "-m", "django")
LAUNCH = (PYTHON, "-m", "dashboard.launch")
# Tasks are JSON, so the warning about root, meant for pickle, says nothing here.
QUIETLY = ("-W", "ignore:You're running the worker with superuser privileges")
CELERY = (PYTHON, *QUIETLY, "-m", "celery", "-A", "dashboard")

# The stages of stopping: first what takes new work, then what writes it down, then what they need.
STOP_FIRST, STOP_NEXT, STOP_LATE, STOP_LAST = range(4)


@dataclass(frozen=True, slots=True)
class Program:
    arguments: tuple[str, ...]
    stop_stage: int
    stop_timeout_s: float = 10.0


PROGRAMS = {
    "simulator": Program((*MANAGE, "simulate_providers"), STOP_LATE),
    "recorder": Program((*LAUNCH, "recorder"), STOP_NEXT, 15.0),
    "web": Program((*LAUNCH, "serve"), STOP_FIRST),
    "worker": Program(
        (
            *(*CELERY, "--quiet", "worker", "--pool", "prefork", "--concurrency", "2"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        STOP_FIRST,
        20.0,
    ),
    "beat": Program(
        (*CELERY, "--quiet", "beat", "--pidfile=", "--max-interval", "5"), STOP_FIRST, 5.0
    ),
}
