"""Cells on a running hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import httpx

from tests.matrix.cells import Cell, Observed, Observer
from tests.support.hub_tools import raw_client
from tests.support.running_hub import ROOT, RunningHub, data_folder

KEPT = ROOT / "docs" / "matrix.md"


@contextmanager
def fast_hub() -> Iterator[RunningHub]:
    """Its simulated providers answer at once."""
    with data_folder() as folder:
        hub = RunningHub(folder, {"SIMULATOR_SPEED": "0"})
        hub.start()
        try:
            yield hub
        finally:
            hub.stop()


def observed_on(hub: RunningHub, wanted: Iterable[Cell]) -> list[Observed]:
    with (
        raw_client(hub) as http,
        httpx.Client(base_url=hub.simulator_url, timeout=20) as control,
    ):
        return Observer(http, control).observe_all(wanted)
