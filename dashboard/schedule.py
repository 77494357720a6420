"""What beat sends, and when. Every task may be late, lost or doubled without harm."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery.schedules import crontab

Entry = dict[str, Any]


def entries(probe_interval_minutes: int) -> dict[str, Entry]:
    return {
        "roll up": _every("analytics.tasks.roll_up", timedelta(seconds=30)),
        "refresh endpoint stats": _every(
            "analytics.tasks.refresh_endpoint_stats", timedelta(seconds=60)
        ),
        "settle with providers": _every(
            "analytics.tasks.settle_with_providers", timedelta(seconds=20)
        ),
        "probe endpoints": _every(
            "routing.tasks.probe_endpoints", timedelta(minutes=probe_interval_minutes)
        ),
        "tend batches": _every("routing.tasks.tend_batches", timedelta(seconds=5)),
        "forget expired batches": {
            "task": "routing.tasks.forget_expired_batches",
            "schedule": crontab(minute="35"),
        },
        "drop old partitions": {
            "task": "analytics.tasks.drop_old_partitions",
            "schedule": crontab(hour="0", minute="20"),
        },
        "refresh prices": {
            "task": "routing.tasks.refresh_prices",
            "schedule": crontab(hour="3", minute="40"),
        },
        "forget idempotent calls": {
            "task": "routing.tasks.forget_expired_calls",
            "schedule": crontab(minute="40"),
        },
        "forget expired responses": {
            "task": "routing.tasks.forget_expired_responses",
            "schedule": crontab(minute="50"),
        },
    }


def _every(task: str, interval: timedelta) -> Entry:
    # A message that waited longer than the interval is dropped: the next one does its work.
    return {"task": task, "schedule": interval, "options": {"expires": interval.total_seconds()}}
