"""Builds this process's gateway from settings. The composition root: nothing else knows all parts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

from dashboard.hub_settings import HubSettings
from routing.batches.service import BatchService
from routing.core.limits import Limiter
from routing.gateway.idempotency import IdempotencyStore
from routing.gateway.playground import stream_one
from routing.gateway.service import Gateway
from routing.gateway.settings import GatewaySettings
from routing.gateway.spool import SpoolWriter
from routing.gateway.upstream.base import UpstreamClient
from routing.gateway.upstream.fast import FastUpstream
from routing.gateway.upstream.guard import AllowList
from routing.services.idempotency_store import PostgresIdempotencyStore
from routing.services.response_store import PostgresResponseStore
from routing.services.sealing import Keyring
from routing.snapshots import Database, SnapshotWatcher, read_snapshot
from routing.surfaces.base import Surface
from routing.surfaces.completions import CompletionsSurface
from routing.surfaces.messages.surface import MessagesSurface
from routing.surfaces.responses import ResponsesSurface
from routing.surfaces.responses.store import ResponseStore

_gateway: Gateway | None = None


def database_of(hub: HubSettings) -> Database:
    """Raises SystemExit where DATABASE_URL names no Postgres."""
    return Database(hub.connection_parameters)


def keyring_of(hub: HubSettings) -> Keyring:
    return Keyring(hub.secrets.keyring, hub.secrets.active_key_id)


def snapshot_watcher(hub: HubSettings, database: Database) -> SnapshotWatcher:
    return SnapshotWatcher(database, partial(read_snapshot, keyring=keyring_of(hub)))


def build_gateway(
    hub: HubSettings,
    watcher: SnapshotWatcher,
    limiter: Limiter,
    idempotency: IdempotencyStore,
) -> Gateway:
    return Gateway(
        snapshots=watcher,
        limiter=limiter,
        idempotency=idempotency,
        upstream=upstream_client(hub),
        spool=SpoolWriter(hub.spool_dir, hub.serve, hub.spool_max_bytes, hub.durability),
        settings=GatewaySettings(
            pepper=hub.secrets.pepper,
            max_body_bytes=hub.max_body_bytes,
            max_running=hub.max_streams,
            durability=hub.durability,
        ),
    )


def upstream_client(hub: HubSettings) -> UpstreamClient:
    allow = AllowList.parse(hub.private_upstreams)
    if hub.upstream == "fast":
        return FastUpstream(allow)
    # Here alone, because httpx is an eighth of the memory of a gateway that does without it.
    from routing.gateway.upstream.registry import make_upstream

    return make_upstream(hub.upstream, allow)


def idempotency_store(hub: HubSettings, database: Database) -> PostgresIdempotencyStore:
    return PostgresIdempotencyStore(database, keyring_of(hub))


def response_store(hub: HubSettings, database: Database) -> PostgresResponseStore:
    return PostgresResponseStore(database, keyring_of(hub))


def batch_service(
    hub: HubSettings, gateway: Gateway, surfaces: Mapping[str, Surface], database: Database
) -> BatchService:
    return BatchService(gateway, surfaces, database, keyring_of(hub), hub.max_file_bytes)


def client_surfaces(store: ResponseStore) -> dict[str, Surface]:
    """The dialects that clients are served in besides OpenAI chat, by path."""
    return {
        "/v1/messages": MessagesSurface(),
        "/v1/responses": ResponsesSurface(store),
        "/v1/completions": CompletionsSurface(),
    }


def set_gateway(gateway: Gateway | None) -> None:
    global _gateway  # noqa: PLW0603 - one gateway per process, set by the ASGI lifespan alone
    _gateway = gateway


def current_gateway() -> Gateway | None:
    """None before the server has started and after it has stopped."""
    return _gateway


def get_gateway() -> Gateway:
    """Raises RuntimeError outside a running ASGI server."""
    if _gateway is None:
        raise RuntimeError(f"no gateway runs in process {os.getpid()}")
    return _gateway


def playground_stream(
    project_id: int, endpoint_id: int, body: dict[str, Any]
) -> AsyncIterator[bytes]:
    """Raises LookupError when the project has no playground key in the snapshot."""
    gateway = get_gateway()
    for caller in gateway.snapshot.callers.values():
        if caller.kind == "playground" and caller.project_id == project_id:
            return stream_one(gateway, caller, endpoint_id, body)
    raise LookupError(f"project {project_id} has no playground key")
