"""Connections of a process's keepers: outside the pages' pool, and never waited for too long.

A statement that hangs is ended by cutting its socket, because a stopped server honours no timeout.
"""

from __future__ import annotations

import asyncio
import copy
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections


def unpooled() -> Any:
    """Django's wrapper of a connection that is kept."""
    wrapper = connections.create_connection(DEFAULT_DB_ALIAS)
    wrapper.settings_dict = copy.deepcopy(wrapper.settings_dict)
    wrapper.settings_dict["OPTIONS"].pop("pool", None)
    wrapper.settings_dict["CONN_MAX_AGE"] = None
    return wrapper


async def connect() -> psycopg.AsyncConnection[Any]:
    parameters = unpooled().get_connection_params()
    for name in ("context", "cursor_factory"):
        parameters.pop(name, None)
    return await psycopg.AsyncConnection.connect(**parameters, autocommit=True)


@contextmanager
def cut_after(connection: psycopg.AsyncConnection[Any], seconds: float) -> Iterator[None]:
    timer = asyncio.get_running_loop().call_later(seconds, cut, connection)
    try:
        yield
    finally:
        timer.cancel()


def cut(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """Whoever waits for the server sees the connection end. The descriptor itself stays psycopg's."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)
