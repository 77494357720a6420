"""What cannot be shipped is set aside and alarmed, never thrown away and never in the way."""

from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)


class Quarantine:
    """Names tell where the bytes came from, so setting the same aside twice changes nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, name: str, data: bytes, reason: str) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        logger.error(
            "ALARM: set aside %s (%d bytes): %s. Its money may be missing until someone looks.",
            path,
            len(data),
            reason,
        )
        return path

    def move(self, source: Path, reason: str) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = source.rename(self._folder / source.name)
        logger.error("ALARM: set aside the whole segment %s: %s", target, reason)
