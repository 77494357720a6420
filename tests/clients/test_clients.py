"""Clients of the ecosystem, unchanged but for their base URL, each with models of all dialects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.clients.clients import CLIENTS, Outcome, run_client
from tests.clients.environments import NotInstallable

pytestmark = pytest.mark.e2e
AT_ONCE = 4


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, told: Mapping[str, str]
) -> Mapping[str, Outcome | NotInstallable]:
    """Of the clients that were asked for. All have ended before the first test goes on."""

    def run(name: str) -> Outcome | NotInstallable:
        try:
            return run_client(CLIENTS[name], told)
        except NotInstallable as exc:
            return exc

    wanted = [
        item.callspec.params["client"]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path == request.path
        and hasattr(item, "callspec")
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(wanted, pool.map(run, wanted), strict=True))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_does_with_the_hub_what_it_does_with_its_provider(
    client: str, outcomes: Mapping[str, Outcome | NotInstallable]
) -> None:
    outcome = outcomes[client]
    if isinstance(outcome, NotInstallable):
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"{client} cannot be installed: {outcome}")
    assert not outcome.broke, outcome.broke
    assert not outcome.failed, "\n\n".join(f"{k}: {v}" for k, v in outcome.failed.items())
    assert CLIENTS[client].shows <= outcome.shows()
