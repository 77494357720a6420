"""A task that begins at once: no wait for the loop's next turn, no context copy, no registration.

asyncio lets others implement tasks (`_enter_task`, `_leave_task`, the future's blocking flag), and
from Python 3.12 on has eager ones itself. What a coroutine may ask of its task is here too, so
that `asyncio.timeout` and `asyncio.current_task` work inside.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from typing import Any, Protocol


class Cancellable(Protocol):
    """What an exchange needs of the task it runs in."""

    def cancel(self) -> bool: ...

    def uncancel(self) -> int: ...

    def done(self) -> bool: ...


class EagerTask:
    """Runs `coroutine` to its first wait before the constructor returns.

    To be started by a callback of the loop, not inside another task. Nobody waits for its result: an exception other than a cancellation goes to the loop's
    exception handler. `on_end` is called once, whatever the end was.
    """

    __slots__ = (
        "_cancel_requests",
        "_coroutine",
        "_loop",
        "_must_cancel",
        "_on_end",
        "_parked_at",
        "is_done",
    )

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, None],
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[[EagerTask], object],
    ) -> None:
        self._coroutine = coroutine
        self._loop = loop
        self._on_end = on_end
        self._parked_at: asyncio.Future[Any] | None = None
        self._must_cancel = False
        self._cancel_requests = 0
        self.is_done = False
        self._step()

    def done(self) -> bool:
        return self.is_done

    def cancel(self, msg: object = None) -> bool:
        """Raises CancelledError in the coroutine where it waits. False when it has ended."""
        if self.is_done:
            return False
        self._cancel_requests += 1
        if self._parked_at is None or not self._parked_at.cancel():
            self._must_cancel = True  # at the next step, which is on its way
        return True

    def cancelling(self) -> int:
        return self._cancel_requests

    def uncancel(self) -> int:
        self._cancel_requests = max(self._cancel_requests - 1, 0)
        if not self._cancel_requests:
            self._must_cancel = False
        return self._cancel_requests

    # --- inside -------------------------------------------------------------------------------------

    def _step(self, woken_by: object = None) -> None:
        self._parked_at = None
        loop = self._loop
        _enter_task(loop, self)  # type: ignore[arg-type]  # asks for no more than this class has
        try:
            if self._must_cancel:
                self._must_cancel = False
                waits_for = self._coroutine.throw(asyncio.CancelledError())
            else:
                waits_for = self._coroutine.send(None)
        except (StopIteration, asyncio.CancelledError):
            self._end()
        except Exception as problem:  # noqa: BLE001 - told to the loop, as a task does
            self._end()
            loop.call_exception_handler(
                {"message": "an eager task ended with an exception", "exception": problem}
            )
        else:
            self._park(waits_for)
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type]

    def _park(self, waits_for: asyncio.Future[Any] | None) -> None:
        if waits_for is None:  # a bare yield: `asyncio.sleep(0)`
            self._loop.call_soon(self._step)
            return
        waits_for._asyncio_future_blocking = False
        waits_for.add_done_callback(self._step)
        self._parked_at = waits_for

    def _end(self) -> None:
        self.is_done = True
        self._on_end(self)
