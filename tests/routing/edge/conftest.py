from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from routing.models import Credential, Provider
from routing.services import credentials
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from tests.routing.edge import documents


@pytest.fixture(scope="session")
def simulator_of_the_catalog() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator([documents.document()], Options(speed=0)) as simulator:
        yield simulator


@pytest.fixture
def simulated(
    db: None, settings: Settings, simulator_of_the_catalog: ThreadedSimulator
) -> ThreadedSimulator:
    """The small catalog, with the simulator answering for every provider."""
    simulator_of_the_catalog.clear()
    settings.PANELBOARD_PRIVATE_UPSTREAMS = ["127.0.0.1"]
    documents.load()
    for provider in Provider.objects.all():
        provider.simulated_base_url = simulator_of_the_catalog.base_url(provider.slug)
        provider.save()
        credentials.store_credential(
            provider=provider,
            name="simulator",
            secret=f"sim-{provider.slug}-key",
            origin=Credential.Origin.SIMULATOR,
        )
    return simulator_of_the_catalog
