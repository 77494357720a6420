from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from openai import OpenAI

from tests.support.hub_tools import MODEL, Rest, SimulatorControl, raw_client
from tests.support.running_hub import RunningHub


@pytest.fixture(scope="session")
def client(hub: RunningHub) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{hub.url}/v1", api_key=hub.api_key, max_retries=0) as opened:
        yield opened


@pytest.fixture(scope="session")
def simulator(hub: RunningHub) -> Iterator[SimulatorControl]:
    with SimulatorControl(hub.simulator_url) as control:
        yield control


@pytest.fixture(scope="session")
def rest(hub: RunningHub) -> Iterator[Rest]:
    with Rest(hub) as opened:
        yield opened


@pytest.fixture(scope="session")
def model_of(client: OpenAI) -> dict[str, str]:
    """For each dialect a model that is spoken to in it."""
    listed = {
        model.id: {entry["provider"] for entry in model.model_extra["providers"]}
        for model in client.models.list()
        if model.model_extra is not None
    }
    return {
        "openai_compat": f"{MODEL}:groq",
        "anthropic": next(name for name, hosts in listed.items() if hosts == {"anthropic"}),
        "gemini": next(name for name, hosts in listed.items() if hosts == {"gemini"}),
    }


@pytest.fixture(scope="session")
def http(hub: RunningHub) -> Iterator[httpx.Client]:
    with raw_client(hub) as opened:
        yield opened
