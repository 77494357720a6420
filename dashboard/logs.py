"""Logs: one line each, on standard error; the launcher puts time and process in front."""

from __future__ import annotations

from typing import Any

LEVELS = ("debug", "info", "warning", "error")

# what these say of every request, task and start is noise beside the request log
_QUIETER = {
    "celery.app.trace": "WARNING",
    "celery.beat": "WARNING",
    "celery.worker.consumer.connection": "WARNING",
    "celery.worker.strategy": "WARNING",
    "django.request": "ERROR",
    "django_celery_beat": "WARNING",
    "httpcore": "WARNING",
    "httpx": "WARNING",
    "kombu": "WARNING",
    "kombu.connection": "ERROR",  # pgmq:// without a host is meant
    "pgmq": "WARNING",
    "psycopg.pool": "ERROR",
    "uvicorn": "WARNING",
}


def logging_of(level: str) -> dict[str, Any]:
    """For `logging.config.dictConfig`, the same in every process of the hub."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {name: {"level": least} for name, least in _QUIETER.items()},
    }
