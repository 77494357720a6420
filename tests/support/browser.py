"""Finds the Chromium of the system."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

PLACES = (
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "microsoft-edge")
QUIET = [
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]


def find_chromium() -> str | None:
    named = os.environ.get("PANELBOARD_CHROMIUM")
    if named:
        return named
    found = [place for place in PLACES if Path(place).exists()]
    return next(iter(found), None) or next(filter(None, map(shutil.which, NAMES)), None)


def chromium_or_skip() -> str:
    """Where tests must not pass by skipping, a missing browser is a failure."""
    found = find_chromium()
    if found:
        return found
    missing = "no Chromium: install the package chromium, or set PANELBOARD_CHROMIUM"
    if os.environ.get("CI"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
