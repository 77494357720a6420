"""kombu's `pgmq` transport, changed in four points.

- The client library takes a database address apart and drops what it does not know: TLS options,
  the socket folder, passwords with a space. Here the address goes to libpq whole.
- While all the tasks it may hold are running, the transport waits for a notification that cannot
  come, up to two seconds each time: 20 ms tasks ran at 1 per second. Here it looks again soon.
- Each process makes the queue's trigger anew before its first message: two that begin at once fail,
  and a full lock is taken on the queue. Here the first one makes it, and the others find it.
- A worker that is told to stop hears it when it has waited to the end. Here it is asked meanwhile.
"""

from __future__ import annotations

import time
from typing import Any

from kombu.transport import pgmq
from pgmq import PGMQueue
from psycopg_pool import ConnectionPool
from typing_extensions import override

from routing.services import stopping

PAUSE_WHEN_FULL_S = 0.02
LONGEST_WAIT_S = 1.0
LISTEN_S = 0.2  # at a time, for a notification

_TRIGGER = """
    SELECT 1 FROM pg_trigger
    WHERE tgname = 'trigger_notify_queue_insert_listeners'
        AND tgrelid = to_regclass(format('pgmq.%%I', 'q_' || %s::text))
"""


class Channel(pgmq.Channel):
    @override
    def _maybe_enable_notify(self, queue: str, queue_name: str | None = None) -> None:
        name = queue_name or self._queue_name(queue)
        if not self.use_notify:
            return
        pool = self.pgmq.pool
        assert pool is not None
        with pool.connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('panelboard broker'))")
            if connection.execute(_TRIGGER, [name]).fetchone() is None:
                connection.execute(
                    "SELECT pgmq.enable_notify_insert(%s, %s)",
                    [name, self.notify_throttle_interval_ms],
                )
        self.connection._register_notify_queue(name)  # type: ignore[attr-defined]


class NotifyWaiter(pgmq._NotifyWaiter):
    @override
    def wait(self, timeout: float | None) -> bool:
        """Raises TimeoutError, which ends all waiting, in a worker that was told to stop."""
        until = time.monotonic() + (LONGEST_WAIT_S if timeout is None else timeout)
        while (left_s := until - time.monotonic()) > 0:
            if not self._channels:
                time.sleep(min(left_s, LISTEN_S))
            elif super().wait(min(left_s, LISTEN_S)):
                return True
            if stopping.was_told():
                raise TimeoutError
        return False


class Transport(pgmq.Transport):
    Channel = Channel
    _pool: ConnectionPool | None = None

    @property
    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = self.client.transport_options  # type: ignore[union-attr,assignment]
        return options

    @override
    def _create_pgmq_client(self) -> PGMQueue:
        options = self._options
        self._pool = ConnectionPool(
            options["conn_string"],
            kwargs={"connect_timeout": 5, "application_name": "panelboard-broker"},
            min_size=1,
            max_size=options["pool_size"],
            timeout=options["pool_timeout"],
            open=True,
            check=ConnectionPool.check_connection,  # none that died with the server is handed out
        )
        return PGMQueue(
            pool=self._pool, vt=int(options["visibility_timeout"]), init_extension=False
        )

    @override
    def _get_notify_waiter(self) -> Any:
        if self._notify_waiter is None:
            self._notify_waiter = NotifyWaiter(self._options["conn_string"])
        return self._notify_waiter

    @override
    def close_connection(self, connection: Any) -> None:
        try:
            super().close_connection(connection)
        finally:
            pool, self._pool = self._pool, None
            if pool is not None:
                pool.close()

    @override
    def drain_events(self, connection: Any, timeout: float | None = None, **rest: Any) -> None:
        began = time.monotonic()
        while not self._can_consume():
            if timeout is not None and time.monotonic() - began >= timeout:
                raise TimeoutError
            time.sleep(PAUSE_WHEN_FULL_S)
        longest_s = LONGEST_WAIT_S if timeout is None else min(timeout, LONGEST_WAIT_S)
        super().drain_events(connection, timeout=longest_s)  # type: ignore[no-untyped-call]

    def _can_consume(self) -> bool:
        return any(channel.qos.can_consume() for channel in self.channels or ())
