"""The address at which the hub's own workers hand in lines takes nothing of anyone else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from django.conf import settings

from routing.core import batches
from tests.routing.batches.world import World


async def test_lines_come_only_from_the_hubs_own_workers(world: World) -> None:
    for headers in ({}, {"x-panelboard-signature": "0" * 64}):
        answer = await world.client.post("/v1/batches/lines", content=b"x", headers=headers)
        assert answer.status_code == 404
        assert json.loads(answer.text)["error"]["code"] == "unknown_url"


async def test_a_strangers_line_is_refused_before_any_of_it_is_read(world: World) -> None:
    read: list[int] = []

    async def pieces() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"x"

    answer = await world.client.post(
        "/v1/batches/lines",
        content=pieces(),
        headers={"x-panelboard-signature": batches.signature(b"x", b"another pepper" * 3)},
    )
    assert answer.status_code == 404
    assert read == []


async def test_a_line_that_was_changed_on_its_way_is_refused(world: World) -> None:
    signed = batches.signature(b"x", settings.PANELBOARD_PEPPER)
    answer = await world.client.post(
        "/v1/batches/lines", content=b"y", headers={"x-panelboard-signature": signed}
    )
    assert answer.status_code == 404
