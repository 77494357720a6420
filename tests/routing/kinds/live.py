"""A gateway before the played providers of all that is not chat, served over sockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from routing.core.catalog import Endpoint
from routing.simulator.server import ThreadedSimulator
from tests.routing.factories import policy
from tests.routing.gateway.played import AUTH, ServedHub
from tests.routing.kinds.support import endpoints_of

RULES = policy(objective="ordered", order=("openai", "mistral", "groq", "xai"))


class LiveHub(ServedHub):
    def __init__(
        self, simulator: ThreadedSimulator, *chat_models: str, more: Sequence[Endpoint] = ()
    ) -> None:
        super().__init__(simulator, [*endpoints_of(simulator, *chat_models), *more], RULES)

    async def post(self, path: str, **body: Any) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, headers=AUTH) as http:
            return await http.post(self.url + path, json=body)


def data_of(content: bytes) -> list[bytes]:
    """What the events of a stream hold."""
    lines = content.replace(b"\r\n", b"\n").split(b"\n")
    return [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
