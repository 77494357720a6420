"""Files and batches as one gateway process serves them."""

from __future__ import annotations

from collections.abc import Mapping

from routing.batches.answering import Answering
from routing.batches.desk import LineDesk
from routing.batches.routes import BATCHES, FILES, BatchRoutes
from routing.gateway.asgi import Receive, Scope, Send
from routing.gateway.service import Gateway
from routing.services.database_work import DatabaseTransactions
from routing.services.sealing import Keyring
from routing.snapshots.connection import Database
from routing.surfaces.base import Surface


class BatchService:
    """Stop it after the gateway: lines that the gateway cuts off are given back here."""

    paths = (FILES, BATCHES)  # each with all that lies below it

    def __init__(
        self,
        gateway: Gateway,
        surfaces: Mapping[str, Surface],
        database: Database,
        keyring: Keyring,
        max_file_bytes: int,
    ) -> None:
        self._threads = DatabaseTransactions(database, "batches")
        self._desk = LineDesk(self._threads)
        answering = Answering(gateway, surfaces, self._desk, keyring)
        self._routes = BatchRoutes(gateway, self._threads, keyring, answering, max_file_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._routes(scope, receive, send)

    async def start(self) -> None:
        await self._desk.start()

    async def stop(self) -> None:
        await self._desk.stop()
        await self._threads.close()
