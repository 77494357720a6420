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


def transport_options(broker_url: str, database_url: str) -> dict[str, Any]:
    scheme = urlsplit(broker_url).scheme
    if scheme in {"redis", "rediss"}:
        return dict(_LIKE_REDIS)
    if scheme != "pgmq":
        return {}
    options: dict[str, Any] = {
        "init_extension": False,  # the schema alone, made by `prepare_hub`
        "use_notify": True,
        "wait_time_seconds": 0,
        "polling_interval": 5,  # only a safety net under the notifications
        "visibility_timeout": REDELIVER_AFTER_S,
        "pool_size": 2,
        "pool_timeout": 5,
    }
    if not urlsplit(broker_url).netloc:
        options["conn_string"] = database_url
    return options


def install_schema(broker_url: str, options: Mapping[str, Any]) -> bool:
    """Makes the message queue's tables and functions if there are none. True when it made them."""
    if urlsplit(broker_url).scheme != "pgmq":
        return False
    address = options.get("conn_string") or f"postgresql{broker_url.removeprefix('pgmq')}"
    with psycopg.connect(address, connect_timeout=5) as connection:
        row = connection.execute("select to_regnamespace('pgmq') is not null").fetchone()
        if row is not None and row[0]:
            return False
        install_pgmq_from_sql(conn=connection)
    return True
