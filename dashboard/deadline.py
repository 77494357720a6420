"""A page never waits for a database that has stopped answering.

Timeouts of the server (`statement_timeout`) do not fire when the server itself hangs, and nothing in
TCP or a local socket tells a stopped process from a busy one. So the waiting is bounded here: while
a request is being answered, each round trip may take what is left of the request's time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout  # what `wait` raises; it has no public name
from typing_extensions import override

RV = TypeVar("RV")
REQUEST_S = 8.0  # below the server's own statement_timeout, so that a hung server is noticed first
LEAST_S = 1.0  # of one round trip: for what is tidied up after a long stream

_until: ContextVar[float | None] = ContextVar("database_deadline", default=None)


@contextmanager
def within(seconds: float, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """All waiting for the database inside, also in threads that asgiref starts, ends by then."""
    before = _until.set(clock() + seconds)
    try:
        yield
    finally:
        _until.reset(before)


class BoundedConnection(psycopg.Connection[Any]):
    """For Django's pool. Without a deadline (tasks, commands) it waits as long as it takes."""

    @override
    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        until = _until.get()
        if until is None or timeout is not None:
            return super().wait(gen, interval, timeout)
        allowed_s = max(until - time.monotonic(), LEAST_S)
        try:
            return super().wait(gen, interval, allowed_s)
        except _WaitTimeout:
            self.pgconn.finish()  # the answer may still come: nobody must take it for another's
            raise psycopg.OperationalError(
                f"the database did not answer within {allowed_s:.0f} s"
            ) from None
