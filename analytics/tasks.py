"""Celery tasks: thin, repeatable, and safe to run twice at once."""

from __future__ import annotations

import datetime as dt

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from analytics import endpoint_stats, partitions, settlement
from analytics.rollups import fill


@shared_task
def roll_up() -> None:
    now = timezone.now()
    fill.roll_up(now)
    endpoint_stats.refresh_if_first(now)
    for days in (0, 1):  # so that midnight does not have to wait for a partition
        partitions.ensure_day((now + dt.timedelta(days=days)).date())


@shared_task
def refresh_endpoint_stats() -> None:
    endpoint_stats.refresh(timezone.now())


@shared_task
def settle_with_providers() -> None:
    settlement.settle(timezone.now())


@shared_task
def drop_old_partitions() -> None:
    kept = dt.timedelta(days=settings.PANELBOARD_LOG_RETENTION_DAYS)
    partitions.drop_before((timezone.now() - kept).date())
