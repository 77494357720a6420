"""The recorder as a process of its own, killed while it ships."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings

from analytics.models import Attempt, RequestLog
from routing.gateway.spool import SpoolWriter
from tests.analytics.records import NOON, Told
from tests.support.database import database_url

pytestmark = pytest.mark.usefixtures("clean_log")
MIB = 2**20


def environment(spool: Path) -> dict[str, str]:
    return os.environ | {"DATABASE_URL": database_url(), "PANELBOARD_SPOOL_DIR": str(spool)}


@contextmanager
def recorder(spool: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "dashboard.launch", "recorder"]
    process = subprocess.Popen(command, env=environment(spool), cwd=settings.BASE_DIR)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(count: int) -> None:
    deadline = time.monotonic() + 20
    while Attempt.objects.count() < count:
        assert time.monotonic() < deadline, f"{Attempt.objects.count()} of {count} came"
        time.sleep(0.02)


def test_a_recorder_that_is_killed_while_it_ships_loses_and_doubles_nothing(spool: Path) -> None:
    writer = SpoolWriter(spool, "gateway", 64 * MIB, segment_bytes=MIB)
    told = [Told(NOON) for _ in range(6000)]
    for one in told:
        for record in (one.intent(), one.finish(), one.done()):
            writer.append(record)
    with recorder(spool) as first:
        wait_for(1)
        first.send_signal(signal.SIGKILL)
        first.wait()
    early = Attempt.objects.count()
    assert early < len(told), "the kill came too late to interrupt anything"
    open_one = Told(NOON)
    writer.append(open_one.intent())
    writer.close()
    with recorder(spool) as second:
        wait_for(len(told) + 1)
        second.send_signal(signal.SIGTERM)
        assert second.wait(10) == 0
    assert Attempt.objects.count() == RequestLog.objects.count() == len(told) + 1
    assert Attempt.objects.get(outcome="crashed").request_id == open_one.id
    assert not [path for path in spool.iterdir() if path.suffix == ".spool"]


def test_the_management_command_ships_what_is_there_and_ends(spool: Path) -> None:
    writer = SpoolWriter(spool, "gateway", 64 * MIB)
    one = Told(NOON)
    for record in (one.intent(), one.finish(), one.done()):
        writer.append(record)
    writer.close()
    command = [sys.executable, "manage.py", "ship_spool", "--once"]
    subprocess.run(command, env=environment(spool), cwd=settings.BASE_DIR, check=True, timeout=60)
    assert Attempt.objects.get().request_id == one.id
