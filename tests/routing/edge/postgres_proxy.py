"""A TCP proxy before Postgres that can fall silent, as a stopped server does, or refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class PostgresProxy:
    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._real = {name: settings[name] for name in ("HOST", "PORT")}
        self._server: asyncio.Server | None = None
        self._port = 0
        self._moving = asyncio.Event()
        self._moving.set()
        self._refuses = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._cut_all()
        await self._server.wait_closed()

    @contextmanager
    def in_between(self) -> Iterator[None]:
        self._settings |= {"HOST": "127.0.0.1", "PORT": str(self._port)}
        try:
            yield
        finally:
            self._settings |= self._real

    @contextmanager
    def out_of_the_way(self) -> Iterator[None]:
        through = {name: self._settings[name] for name in self._real}
        self._settings |= self._real
        try:
            yield
        finally:
            self._settings |= through

    def freeze(self) -> None:
        """Connections stay open and new ones are accepted, but not a byte passes."""
        self._moving.clear()

    def refuse(self) -> None:
        self._refuses = True
        self._cut_all()

    def heal(self) -> None:
        self._refuses = False
        self._moving.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if not self._refuses:
                await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._moving.wait()
        server_reader, server_writer = await self._connect()
        self._writers.add(server_writer)
        try:
            ends = [
                asyncio.create_task(self._pump(reader, server_writer)),
                asyncio.create_task(self._pump(server_reader, writer)),
            ]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        finally:
            server_writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._real["HOST"], self._real["PORT"] or "5432"
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, int(port))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._moving.wait()
                writer.write(data)
                await writer.drain()

    def _cut_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
