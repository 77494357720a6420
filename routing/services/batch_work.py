"""Batches as Celery's tasks see them: settings and Django's database go in here."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import time
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from routing.batches import book, files, runners
from routing.batches.native import NativeBatches
from routing.batches.native_takeover import Tools
from routing.batches.providers.carrier import Carrier
from routing.batches.runners import QUEUED_S as QUEUED_S
from routing.batches.work import Settings, Worker
from routing.core.catalog import Snapshot
from routing.core.ids import uuid7
from routing.gateway.service import Gateway
from routing.gateway.settings import GatewaySettings
from routing.gateway.spool import SpoolWriter
from routing.gateway.upstream.guard import AllowList
from routing.gateway.upstream.registry import make_upstream
from routing.services.credentials import keyring
from routing.services.database_work import DatabaseTransactions
from routing.services.probes import FrozenSnapshots
from routing.snapshots import read_snapshot
from routing.snapshots.connection import Database
from routing.surfaces.completions import CompletionsSurface
from routing.surfaces.messages.surface import MessagesSurface

# What Django adds for its own connections.
_DJANGOS_OWN = frozenset({"context", "cursor_factory", "connection_class"})


def offer_places() -> list[tuple[int, UUID]]:
    """The places that are free while there is work."""
    with connection.cursor() as cursor:
        return runners.offer(cursor, settings.PANELBOARD_BATCH_RUNNERS)


def take_turn(slot: int, token: UUID) -> bool:
    """Works on batches for some time. Whether the place is kept for another turn."""
    with connection.cursor() as cursor:
        if not runners.hold(cursor, slot, token):
            return False
    goes_on = asyncio.run(_worker((slot, token)).run())
    with connection.cursor() as cursor:
        if goes_on:
            return bool(runners.hold(cursor, slot, token, QUEUED_S))
        runners.leave(cursor, slot, token)
    return False


def forget_expired(now: dt.datetime) -> int:
    """Files whose time is over, and batches that ended long ago."""
    with transaction.atomic(), connection.cursor() as cursor:
        return files.forget_expired(cursor, now) + book.forget_old(cursor, now)


def _worker(place: tuple[int, UUID]) -> Worker:
    return Worker(
        Settings(
            gateway_url=settings.PANELBOARD_GATEWAY_URL,
            pepper=settings.PANELBOARD_PEPPER,
            lines_at_once=settings.PANELBOARD_BATCH_LINES_AT_ONCE,
            max_line_bytes=settings.PANELBOARD_MAX_BODY_BYTES,
        ),
        database(),
        keyring(),
        _new_id,
        place,
        _natives,
    )


def _natives(threads: DatabaseTransactions) -> NativeBatches:
    surfaces = {"/v1/messages": MessagesSurface(), "/v1/completions": CompletionsSurface()}
    tools = Tools(threads, keyring(), _gateway, _carrier, surfaces, _new_id)
    return NativeBatches(tools, partial(read_snapshot, keyring=keyring()))


def _carrier() -> Carrier:
    return Carrier(AllowList.parse(settings.PANELBOARD_PRIVATE_UPSTREAMS))


def _gateway(snapshot: Snapshot) -> Gateway:
    """For one step: its upstream client, and a spool that the recorder ships."""
    return Gateway(
        snapshots=FrozenSnapshots(snapshot),
        upstream=make_upstream(
            settings.PANELBOARD_UPSTREAM, AllowList.parse(settings.PANELBOARD_PRIVATE_UPSTREAMS)
        ),
        spool=SpoolWriter(
            settings.PANELBOARD_SPOOL_DIR,
            "batch",
            settings.PANELBOARD_SPOOL_MAX_BYTES,
            settings.PANELBOARD_DURABILITY,
        ),
        settings=GatewaySettings(pepper=settings.PANELBOARD_PEPPER),
    )


def database() -> Database:
    """The database of Django's settings, for connections beside Django's."""
    parameters = connection.get_connection_params()
    own = {name: value for name, value in parameters.items() if name not in _DJANGOS_OWN}
    return Database(own)


def _new_id() -> UUID:
    return uuid7(int(time.time() * 1000), secrets.randbits)
