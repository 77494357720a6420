"""Loaded by `-p` before Django's settings: gives the tests a database and a data folder.

The throw-away cluster is kept between runs, so that a start costs nothing. A second run at the same
time gets one of its own. Workers of xdist inherit what the first process has set.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from dashboard.launch.embedded_postgres import (
    FAST_AND_FORGETFUL,
    AlreadyRunning,
    EmbeddedPostgres,
)

ROOT = Path(__file__).resolve().parent.parent
KEPT = Path(os.environ.get("PANELBOARD_TEST_DATA", str(ROOT / ".panelboard" / "test")))


def _start(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    log = (folder / "postgres.log").open("wb")
    postgres = EmbeddedPostgres(folder / "pg", settings=FAST_AND_FORGETFUL, log=log)
    postgres.start()
    atexit.register(log.close)
    atexit.register(postgres.stop)
    os.environ["DATABASE_URL"] = postgres.url


def _start_somewhere() -> None:
    try:
        _start(KEPT)
    except AlreadyRunning:
        own = Path(tempfile.mkdtemp(prefix="panelboard-test-"))
        own.chmod(0o711)  # as root, Postgres runs as another account and has to pass through
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        _start(own)


if not os.environ.get("DATABASE_URL"):
    _start_somewhere()
if not os.environ.get("PANELBOARD_DATA"):
    data = tempfile.mkdtemp(prefix="panelboard-test-data-")
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    os.environ["PANELBOARD_DATA"] = data
# The sources as they are; `./panelboard test-compiled` asks for what was compiled of them.
os.environ.setdefault("PANELBOARD_COMPILED", "off")
# Tests that send tasks to a real broker start a hub of their own.
os.environ.setdefault("CELERY_BROKER_URL", "memory://")
