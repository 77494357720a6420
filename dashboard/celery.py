"""The Celery application: `celery -A dashboard worker`, `celery -A dashboard beat`."""

from __future__ import annotations

import logging.config
import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging, worker_shutting_down

from routing.services import stopping

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

app = Celery("panelboard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

FIRST_PROBES_EXPIRE_S = 300


@setup_logging.connect
def _log_like_the_rest(**_options: Any) -> None:
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)


@beat_init.connect
def _measure_what_is_new(**_options: Any) -> None:
    """A new hub has figures within a minute, instead of after the first interval."""
    app.send_task("routing.tasks.probe_unmeasured", expires=FIRST_PROBES_EXPIRE_S)


@worker_shutting_down.connect
def _tell_running_tasks(**_options: Any) -> None:
    stopping.say()
