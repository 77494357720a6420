"""The snapshot as a process with Django reads it: over Django's own connection."""

from __future__ import annotations

import datetime as dt

from django.db import connection

from routing.core.catalog import Snapshot
from routing.services.credentials import keyring
from routing.snapshots import read_snapshot


def load_snapshot(now: dt.datetime | None = None) -> Snapshot:
    with connection.cursor() as cursor:
        return read_snapshot(cursor, keyring(), now)
