from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from routing.models import Provider
from routing.services import catalog
from tests.dashboard.small_catalog import catalog_document
from tests.dashboard.world import Traffic, World, people

NOW = dt.datetime(2026, 11, 18, 15, 7, tzinfo=dt.UTC)
MODELS = ("openai/gpt-oss-120b", "meta-llama/Llama-3.3-70B-Instruct")

Enter = Callable[[User | None], Client]


@pytest.fixture
def frozen() -> Iterator[dt.datetime]:
    with time_machine.travel(NOW, tick=False):
        yield NOW


@pytest.fixture
def empty_hub(db: None, frozen: dt.datetime) -> World:
    """People and a catalog, and nothing asked yet."""
    catalog.load(catalog_document())
    Provider.objects.filter(slug="novita").update(simulated_base_url="http://127.0.0.1:1/novita")
    return people(frozen)


@pytest.fixture
def world(empty_hub: World) -> World:
    """Four days of traffic."""
    Traffic(empty_hub, MODELS).spread(days=3, per_day=60).record()
    return empty_hub


@pytest.fixture
def enter() -> Enter:
    """A browser of that person; None is someone who has not logged in."""

    def make(user: User | None) -> Client:
        client = Client()
        if user is not None:
            client.force_login(user)
        return client

    return make


@pytest.fixture
def owner(world: World, enter: Enter) -> Client:
    return enter(world.owner)


@pytest.fixture(autouse=True)
def _no_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()
