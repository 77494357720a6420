"""`./panelboard manage ...`: a management command on the hub's own database, running or not."""

from __future__ import annotations

import os
import subprocess
import sys

from dashboard.launch.config import ROOT, LaunchConfig
from dashboard.launch.embedded_postgres import AlreadyRunning, EmbeddedPostgres
from dashboard.launch.errors import LaunchError


def manage(arguments: list[str]) -> int:
    config = LaunchConfig.from_environment()
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    if config.database_url:
        return subprocess.call(command)
    postgres = EmbeddedPostgres(config.data / "pg")
    try:
        postgres.start()
    except AlreadyRunning:  # by the running hub: the settings find its address in the data folder
        return subprocess.call(command)
    except LaunchError as exc:
        sys.stderr.write(f"panelboard: {exc}\n")
        return 1
    try:
        return subprocess.call(command, env={**os.environ, "DATABASE_URL": postgres.url})
    finally:
        postgres.stop()
