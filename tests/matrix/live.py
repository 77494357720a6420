"""Cells on a running hub."""

from __future__ import annotations

from collections.abc import Iterable

import httpx

from tests.matrix.cells import Cell, Observed, Observer
from tests.support.hub_tools import raw_client
from tests.support.running_hub import ROOT, RunningHub

KEPT = ROOT / "docs" / "matrix.md"


def observed_on(hub: RunningHub, wanted: Iterable[Cell]) -> list[Observed]:
    with (
        raw_client(hub) as http,
        httpx.Client(base_url=hub.simulator_url, timeout=20) as control,
    ):
        return Observer(http, control).observe_all(wanted)
