from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from routing.simulator.world import CATALOG_DIR, World, build_world, read_documents
from tests.routing.simulator.plays import CATALOG, Player


@pytest.fixture(scope="session")
def shared_simulator() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator([CATALOG], Options(speed=0, keep_requests=True)) as simulator:
        yield simulator


@pytest.fixture
def simulator(shared_simulator: ThreadedSimulator) -> ThreadedSimulator:
    shared_simulator.clear()
    return shared_simulator


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
def player(simulator: ThreadedSimulator, http: httpx.Client) -> Callable[[str], Player]:
    return lambda slug: Player(simulator, http, slug)


@pytest.fixture(scope="session")
def shipped() -> World:
    return build_world(read_documents(CATALOG_DIR))
