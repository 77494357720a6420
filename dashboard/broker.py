"""Celery's broker: by default the hub's own Postgres, through kombu's `pgmq` transport.

No broker carries money or access decisions: every task can run twice, and what is left undone is
found again in the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import psycopg
from pgmq import install_pgmq_from_sql

LONGEST_TASK_S = 900
REDELIVER_AFTER_S = LONGEST_TASK_S + 60  # of a worker that died; pgmq does not extend it

_LIKE_REDIS = {
    "visibility_timeout": 3600,
    "unacked_restore_throttle": 1,  # at the default, redelivery takes 100 s longer
}


def is_postgres(broker_url: str) -> bool:
    return urlsplit(broker_url).scheme == "pgmq"


def transport(broker_url: str) -> str | None:
    """The class that speaks to the broker, where kombu's choice by the URL is not the right one."""
    return "dashboard.pgmq_transport:Transport" if is_postgres(broker_url) else None


def transport_options(broker_url: str, database_url: str) -> dict[str, Any]:
    """For `pgmq://` alone, the hub's own database is the broker."""
    if urlsplit(broker_url).scheme in {"redis", "rediss"}:
        return dict(_LIKE_REDIS)
    if not is_postgres(broker_url):
        return {}
    elsewhere = urlsplit(broker_url).netloc
    return {
        "conn_string": f"postgresql{broker_url.removeprefix('pgmq')}"
        if elsewhere
        else database_url,
        "init_extension": False,  # the schema alone, made by `prepare_hub`
        "use_notify": True,
        "notify_throttle_interval_ms": 0,  # a second message within the throttle would wait
        "wait_time_seconds": 0,
        "polling_interval": 5,  # only a safety net under the notifications
        "visibility_timeout": REDELIVER_AFTER_S,
        "pool_size": 2,
        "pool_timeout": 5,
    }


def install_schema(broker_url: str, options: Mapping[str, Any]) -> bool:
    """Makes the message queue's tables and functions if there are none. True when it made them."""
    if not is_postgres(broker_url):
        return False
    with psycopg.connect(options["conn_string"], connect_timeout=5) as connection:
        row = connection.execute("select to_regnamespace('pgmq') is not null").fetchone()
        if row is not None and row[0]:
            return False
        install_pgmq_from_sql(conn=connection)
    return True
