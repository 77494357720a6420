"""What the recorder says of itself, in a small file of its spool folder, for pages to show."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

STATUS_NAME = "recorder.json"
SILENT_AFTER_S = 15.0


class RecorderStatus(msgspec.Struct, frozen=True):
    pid: int
    state: Literal["shipping", "waiting"]  # waiting: Postgres does not take rows
    at: float  # Unix seconds
    oldest_waiting_s: float


def write_status(folder: Path, status: RecorderStatus) -> None:
    fresh = folder / f"{STATUS_NAME}.new"
    fresh.write_bytes(msgspec.json.encode(status))
    fresh.replace(folder / STATUS_NAME)


def read_status(folder: Path, now: float) -> RecorderStatus | None:
    """None when no recorder has spoken lately."""
    try:
        status = msgspec.json.decode((folder / STATUS_NAME).read_bytes(), type=RecorderStatus)
    except (OSError, msgspec.DecodeError):
        return None
    return status if now - status.at < SILENT_AFTER_S else None
