from __future__ import annotations

from collections.abc import Iterator

import pytest

from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from tests.routing.kinds.support import catalog


@pytest.fixture(scope="session")
def played() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(catalog(), Options(speed=0, keep_requests=True)) as running:
        yield running


@pytest.fixture
def simulator(played: ThreadedSimulator) -> Iterator[ThreadedSimulator]:
    """Without faults, and nothing in its books."""
    played.clear_faults()
    played.clear()
    yield played
    played.clear_faults()
