"""How fresh the figures are."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

from django.conf import settings
from django.db.models import Max

from analytics.models import FillState, RequestLog
from analytics.queries.types import Freshness
from analytics.recorder.status import read_status


def last_rollup_at() -> dt.datetime | None:
    return FillState.objects.values_list("updated_at", flat=True).first()


def freshness() -> Freshness:
    status = read_status(Path(settings.PANELBOARD_SPOOL_DIR), time.time())
    return Freshness(
        last_request_at=RequestLog.objects.aggregate(last=Max("received_at"))["last"],
        last_rollup_at=last_rollup_at(),
        spool_lag_s=status.oldest_waiting_s if status else None,
        recorder=status.state if status else "silent",
    )
