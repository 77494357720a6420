"""Where things are. All that the measurement makes lies in `.bench/`, which git ignores."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = ROOT / ".bench"
RUN = WORK / "run"
LOGS = WORK / "logs"
RESULTS = WORK / "last.json"

UPSTREAM = WORK / "upstream"
LOAD = WORK / "load"

UPSTREAM_PORT = 9601  # written in catalog.json as well
NGINX_PORT, LITELLM_PORT, PORTKEY_PORT = 9611, 9612, 9613
HUB_PORT, INTERPRETED_HUB_PORT = 9614, 9615
UPSTREAM_URL = f"http://127.0.0.1:{UPSTREAM_PORT}/v1"


class BenchError(Exception):
    """The measurement cannot go on; the message says what to do."""


class UpstreamEnded(Exception):
    """All that was measured since is worth nothing."""
