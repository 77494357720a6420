"""Batches as Celery's tasks see them: settings and Django's database go in here."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import time
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from routing.batches import book, files, runners
from routing.batches.runners import QUEUED_S as QUEUED_S
from routing.batches.work import Settings, Worker
from routing.core.ids import uuid7
from routing.services.credentials import keyring
from routing.snapshots.connection import Database

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
    )


def database() -> Database:
    """The database of Django's settings, for connections beside Django's."""
    parameters = connection.get_connection_params()
    own = {name: value for name, value in parameters.items() if name not in _DJANGOS_OWN}
    return Database(own)


def _new_id() -> UUID:
    return uuid7(int(time.time() * 1000), secrets.randbits)
