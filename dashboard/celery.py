"""The Celery application: `celery -A dashboard worker`, `celery -A dashboard beat`."""

from __future__ import annotations

import logging.config
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

app = Celery("panelboard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _log_like_the_rest(**_options: Any) -> None:
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)
