"""How fresh the figures are."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

from django.conf import settings
from django.db import connection

from analytics.models import FillState
from analytics.queries.types import Freshness
from analytics.recorder.status import read_status

_LAST = """
    SELECT (SELECT max(received_at) FROM request_log),
        (SELECT updated_at FROM fill_state ORDER BY updated_at LIMIT 1)
"""


def last_rollup_at() -> dt.datetime | None:
    return FillState.objects.values_list("updated_at", flat=True).first()


def freshness() -> Freshness:
    status = read_status(Path(settings.PANELBOARD_SPOOL_DIR), time.time())
    with connection.cursor() as cursor:
        cursor.execute(_LAST)
        last_request, last_rollup = cursor.fetchone()
    return Freshness(
        last_request_at=last_request,
        last_rollup_at=last_rollup,
        spool_lag_s=status.oldest_waiting_s if status else None,
        recorder=status.state if status else "silent",
    )
