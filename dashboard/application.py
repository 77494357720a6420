"""One port: `/v1/*` goes to the gateway, health checks are answered here, the rest is Django's."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable

from dashboard.hub_settings import HubSettings
from dashboard.runtime import (
    batch_service,
    build_gateway,
    client_surfaces,
    database_of,
    idempotency_store,
    response_store,
    set_gateway,
    snapshot_watcher,
)
from routing.batches.service import BatchService
from routing.gateway.app import PREFIX, GatewayApp
from routing.gateway.asgi import AsgiSink, Receive, Scope, Send
from routing.gateway.service import Gateway
from routing.health_keeper import HealthKeeper
from routing.lease_keeper import LeaseKeeper
from routing.services.form_counts import FormTeller
from routing.snapshots import SnapshotWatcher

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class Application:
    """`PANELBOARD_SERVE` says what this process answers: all, gateway or web.

    Nothing here needs Django; without `django_application` it is a gateway alone.
    """

    def __init__(self, hub: HubSettings, django_application: AsgiApp | None = None) -> None:
        self.hub = hub
        self.django_application = django_application if hub.serve != "gateway" else None
        self.serves_gateway = hub.serve != "web"
        self.database = database_of(hub)
        self.watcher: SnapshotWatcher | None = None
        self.keeper: LeaseKeeper | None = None
        self.health_keeper: HealthKeeper | None = None
        self.gateway: Gateway | None = None
        self.gateway_app: GatewayApp | None = None
        self.responses = response_store(hub, self.database)
        self.idempotency = idempotency_store(hub, self.database)
        self.batches: BatchService | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith(PREFIX) and self.serves_gateway and self.gateway_app is not None:
            await self.gateway_app(scope, receive, send)
        elif path in HEALTH_PATHS:
            await self._health(path, receive, send)
        elif self.django_application is not None:
            await self.django_application(scope, receive, send)
        else:
            await _answer(receive, send, 404, b'{"error":"this process serves /v1/ only"}')

    async def _health(self, path: str, receive: Receive, send: Send) -> None:
        """`/livez`: the loop answers. `/readyz`: requests can be served; Postgres is not asked."""
        problem = None if path == "/livez" else self._not_ready()
        if problem is None:
            await _answer(receive, send, 200, b'{"status":"ok"}')
        else:
            await _answer(receive, send, 503, b'{"status":"%b"}' % problem.encode())

    def _not_ready(self) -> str | None:
        gateway = self.gateway
        if gateway is None or not gateway.snapshot.version:
            return "configuration not loaded yet"
        if gateway.is_leaving or gateway.is_draining:
            return "draining"
        if not gateway.spool.has_room():
            return "spool not writable"
        return None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def start(self) -> None:
        """Does not fail without Postgres: the watcher goes on trying, `/readyz` says so."""
        self.watcher = snapshot_watcher(self.hub, self.database)
        await self.watcher.start()
        self.keeper = LeaseKeeper(self.database)
        await self.keeper.start()
        self.gateway = build_gateway(self.hub, self.watcher, self.keeper, self.idempotency)
        forms = FormTeller(self.gateway.health.forms)
        self.health_keeper = HealthKeeper(self.database, self.gateway.learning, also=[forms.tell])
        await self.health_keeper.start()
        await self.gateway.start()
        if self.serves_gateway:
            freeze_what_lives_on()
        set_gateway(self.gateway)
        surfaces = client_surfaces(self.responses)
        self.batches = batches = batch_service(self.hub, self.gateway, surfaces, self.database)
        await batches.start()
        mounted = dict.fromkeys(batches.paths, batches)
        self.gateway_app = GatewayApp(self.gateway, surfaces, self.responses, mounted)

    async def stop(self) -> None:
        set_gateway(None)
        if self.gateway is not None:
            await self.gateway.stop()
        if self.batches is not None:
            await self.batches.stop()
        if self.health_keeper is not None:
            await self.health_keeper.stop()
        if self.keeper is not None:
            await self.keeper.stop()
        if self.watcher is not None:
            await self.watcher.stop()
        await self.responses.close()
        await self.idempotency.close()


def freeze_what_lives_on() -> None:
    """Takes all that is loaded by now out of the collector's rounds.

    Requests make few cycles, but a full round over a whole Django costs tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


HEALTH_PATHS = frozenset({"/healthz", "/livez", "/readyz"})


async def _answer(receive: Receive, send: Send, status: int, body: bytes) -> None:
    await AsgiSink(receive, send).reply(status, [(b"content-type", b"application/json")], body)
