from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from tests.routing.batches.world import World


@pytest.fixture
async def world(transactional_db: None) -> AsyncIterator[World]:
    """A gateway with played providers, and Postgres as processes without Django reach it."""
    async with World.open() as opened:
        yield opened
    await sync_to_async(connections.close_all)()
