"""Requests that a test has a writer write down."""

from __future__ import annotations

import time
from collections.abc import Callable

from routing.gateway.spool import SpoolWriter
from tests.routing.spool.records import intent, new_id, whole


def eventually(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.005)


def fill(writer: SpoolWriter, requests: int) -> list[bytes]:
    ids = [new_id() for _ in range(requests)]
    for request_id in ids:
        for record in whole(request_id):
            writer.append(record)
    return ids


def open_more(writer: SpoolWriter, requests: int, opened: list[bytes]) -> None:
    for request_id in [new_id() for _ in range(requests)]:
        writer.append(intent(request_id))
        opened.append(request_id)
