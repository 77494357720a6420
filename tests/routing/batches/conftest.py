from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from routing.batches import work
from routing.gateway.upstream.fast import FastUpstream
from routing.gateway.upstream.guard import AllowList
from routing.services.probes import FrozenSnapshots
from routing.services.snapshots import load_snapshot
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from tests.routing.batches.native_world import DOCUMENT, load_catalog
from tests.routing.batches.world import World


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "TEND_S", 0.05)
    monkeypatch.setattr(work, "HOLD_S", 0.05)
    monkeypatch.setattr(work, "IDLE_S", 0.02)


@pytest.fixture
async def world(transactional_db: None) -> AsyncIterator[World]:
    """A gateway with played providers, and Postgres as processes without Django reach it."""
    async with World.open() as opened:
        yield opened
    await sync_to_async(connections.close_all)()


@pytest.fixture(scope="module")
def simulator() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator([DOCUMENT], Options(speed=0)) as running:
        yield running


@pytest.fixture
async def native(world: World, simulator: ThreadedSimulator) -> AsyncIterator[World]:
    """The world with played providers that take batches."""
    simulator.clear()
    await sync_to_async(load_catalog)(simulator)
    snapshots = FrozenSnapshots(await sync_to_async(load_snapshot)())
    allow = AllowList.parse(["127.0.0.1"])
    async with world.serving(new_upstream=lambda: FastUpstream(allow), snapshots=snapshots):
        yield world
