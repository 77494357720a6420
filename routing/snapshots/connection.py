"""Connections of a process's keepers: outside the pages' pool, and never waited for too long.

A statement that hangs is ended by cutting its socket, because a stopped server honours no timeout.
Plain psycopg: a gateway of its own has no Django.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

BlockingConnection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Database:
    """Where Postgres is. `parameters` are looked at anew for each connection."""

    parameters: Mapping[str, Any] = field(repr=False)  # keywords of `psycopg.connect`

    async def connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(**self.parameters, autocommit=True)

    def connect_blocking(self) -> BlockingConnection:
        return psycopg.connect(**self.parameters, autocommit=True)


@contextmanager
def cut_after(connection: psycopg.AsyncConnection[Any], seconds: float) -> Iterator[None]:
    timer = asyncio.get_running_loop().call_later(seconds, cut, connection)
    try:
        yield
    finally:
        timer.cancel()


def cut(connection: psycopg.AsyncConnection[Any] | BlockingConnection) -> None:
    """Whoever waits for the server sees the connection end. The descriptor itself stays psycopg's."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)
