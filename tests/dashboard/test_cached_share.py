"""How much of the input was read from providers' caches."""

from __future__ import annotations

import re

from django.test import Client

from tests.dashboard.test_kinds import text_of
from tests.dashboard.world import World


def test_the_overview_tells_how_much_was_read_from_caches(world: World, owner: Client) -> None:
    page = text_of(owner, "/")
    found = re.search(r"tokens in \((\d+\.\d)% read from cache\)", page)
    assert found is not None
    assert 0 < float(found[1]) < 100
