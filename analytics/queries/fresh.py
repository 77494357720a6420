"""How fresh the figures are."""

from __future__ import annotations

import time
from pathlib import Path

from django.conf import settings
from django.db.models import Max

from analytics.models import FillState, RequestLog
from analytics.queries.types import Freshness
from analytics.recorder.status import read_status


def freshness() -> Freshness:
    state = FillState.objects.first()
    status = read_status(Path(settings.PANELBOARD_SPOOL_DIR), time.time())
    return Freshness(
        last_request_at=RequestLog.objects.aggregate(last=Max("received_at"))["last"],
        last_rollup_at=state.updated_at if state else None,
        spool_lag_s=status.oldest_waiting_s if status else None,
        recorder=status.state if status else "silent",
    )
