"""A small Celery application with the hub's broker settings, for a worker in a process of its own."""

from __future__ import annotations

import os
import time

import psycopg
from celery import Celery

from dashboard import broker

DATABASE_URL = os.environ["BROKER_TEST_DATABASE_URL"]

app = Celery("broker-test", broker="pgmq://")
app.conf.broker_transport = broker.transport("pgmq://")
app.conf.broker_transport_options = {
    **broker.transport_options("pgmq://", DATABASE_URL),
    "visibility_timeout": int(os.environ.get("BROKER_TEST_REDELIVER_S", "60")),
}
app.conf.task_acks_late = True
app.conf.task_reject_on_worker_lost = True
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = 1
app.conf.worker_enable_remote_control = False
app.conf.broker_connection_retry_on_startup = True
app.conf.broker_connection_max_retries = None


@app.task(autoretry_for=(psycopg.OperationalError,), retry_backoff=False, default_retry_delay=1)
def note(number: int, seconds: float = 0.0) -> None:
    with psycopg.connect(DATABASE_URL) as connection:
        connection.execute("insert into begun values (%s)", [number])
    time.sleep(seconds)
    with psycopg.connect(DATABASE_URL) as connection:
        connection.execute("insert into noted values (%s, %s)", [number, time.time()])
