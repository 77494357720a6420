from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from routing.batches import work
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
