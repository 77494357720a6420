"""Starting and stopping the simulator: in a running loop, in a thread for tests, or for good."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from routing.simulator.faults import Fault, parse_fault
from routing.simulator.http11 import Connection
from routing.simulator.journal import Row, Violation
from routing.simulator.service import Options, Service
from routing.simulator.wheel import Wheel
from routing.simulator.world import CATALOG_DIR, build_world, read_documents

T = TypeVar("T")
BACKLOG = 2048


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class SimulatorServer:
    """Without `documents` it plays the shipped catalog. `keys` replaces credentials by slug."""

    def __init__(
        self,
        documents: Iterable[Mapping[str, Any]] | None = None,
        options: Options | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self.world = build_world(
            read_documents(CATALOG_DIR) if documents is None else documents, keys
        )
        self.options = options or Options()
        self.host = ""
        self.port = 0
        self._service: Service | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    @property
    def service(self) -> Service:
        """The journal, the faults and everything else, for use in the server's own loop."""
        assert self._service is not None, "start the simulator first"
        return self._service

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Port 0 takes a free one. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        service = Service(self.world, self.options, Wheel(loop))
        self._server = await loop.create_server(
            lambda: Connection(service.handle, self._connections), host, port, backlog=BACKLOG
        )
        self._service = service
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self.service.stop()
        for connection in list(self._connections):
            connection.abort()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 2)
        self.service.wheel.stop()
        self._server = None

    def root_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def base_url(self, slug: str) -> str:
        """What stands in for the provider's real base URL."""
        return f"{self.root_url()}/{slug}{self.world[slug].base_path}"

    def key(self, slug: str) -> str:
        return self.world[slug].key


class ThreadedSimulator:
    """The simulator in a thread of its own, for tests that have no loop or block theirs.

    with ThreadedSimulator([catalog], Options(speed=0)) as simulator:
        httpx.post(simulator.base_url("groq") + "/chat/completions", ...)
    """

    def __init__(
        self,
        documents: Iterable[Mapping[str, Any]] | None = None,
        options: Options | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self.server = SimulatorServer(documents, options or Options(speed=0), keys)
        self._loop = new_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="simulator", daemon=True
        )

    def __enter__(self) -> ThreadedSimulator:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.server.start(host, port), self._loop).result(10)
        except BaseException:
            self._end_loop()
            raise

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(10)
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def in_loop(self, function: Callable[[Service], T]) -> T:
        """Run `function` with the service in the server's thread and return its result."""

        async def run() -> T:
            return function(self.server.service)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def base_url(self, slug: str) -> str:
        return self.server.base_url(slug)

    def root_url(self) -> str:
        return self.server.root_url()

    def key(self, slug: str) -> str:
        return self.server.key(slug)

    def add_fault(self, fault: str, **fields: Any) -> Fault:
        parsed = parse_fault({"fault": fault, **fields})
        return self.in_loop(lambda service: service.faults.add(parsed))

    def clear_faults(self) -> None:
        self.in_loop(lambda service: service.faults.clear())

    def journal(self, since: int = 0, provider: str = "") -> list[Row]:
        return self.in_loop(lambda service: service.journal.since(since, provider))

    def violations(self) -> list[Violation]:
        return self.in_loop(lambda service: list(service.journal.violations))

    def received(self) -> list[dict[str, Any]]:
        return self.in_loop(lambda service: list(service.received))

    def clear(self) -> None:
        """Back to a fresh simulator: no faults, rows, violations or cached prompts."""
        self.in_loop(_clear)


def _clear(service: Service) -> None:
    service.faults.clear()
    service.journal.clear()
    service.received.clear()
    service.cache.clear()
    service.batches.clear()


def serve(server: SimulatorServer, host: str, port: int, ready: Callable[[], None]) -> None:
    """Until SIGINT or SIGTERM. Raises OSError when the port is taken."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(server, host, port, ready))


async def _serve(server: SimulatorServer, host: str, port: int, ready: Callable[[], None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    await server.start(host, port)
    ready()
    await stopped.wait()
    await server.stop()
