from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from routing.gateway.spool import SpoolWriter
from tests.routing.spool.disks import PLENTY, SMALL, FaultyFiles, Make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    made: list[SpoolWriter] = []

    def build(
        max_bytes: int = PLENTY, durability: str = "process", **options: object
    ) -> SpoolWriter:
        settings = {"segment_bytes": SMALL, **options}
        made.append(SpoolWriter(folder, "gateway", max_bytes, durability, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for writer in made:
        writer.close()


@pytest.fixture
def disk() -> FaultyFiles:
    return FaultyFiles()
