"""The eager task behaves as asyncio's own does, but for its early start."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from routing.gateway.eager_task import EagerTask


async def run(coroutine: Coroutine[Any, Any, None]) -> tuple[EagerTask, asyncio.Event]:
    """Started as the server does it: by a callback of the loop, outside any other task."""
    ended, started = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    tasks: list[EagerTask] = []

    def start() -> None:
        tasks.append(EagerTask(coroutine, loop, lambda _: ended.set()))
        started.set()

    loop.call_soon(start)
    while not tasks:
        await started.wait()
    return tasks[0], ended


async def test_it_runs_to_its_first_wait_at_once() -> None:
    seen: list[int] = []

    async def work() -> None:
        seen.append(1)
        await asyncio.sleep(0)
        seen.append(2)

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    seen_at_once: list[int] = []

    def start() -> None:
        EagerTask(work(), loop, lambda _: ended.set())
        seen_at_once.extend(seen)

    loop.call_soon(start)
    await ended.wait()
    assert seen_at_once == [1]
    assert seen == [1, 2]


async def test_it_waits_for_futures_tasks_and_threads() -> None:
    seen: list[object] = []

    async def inner() -> str:
        await asyncio.sleep(0.001)
        return "task"

    async def work() -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.001, future.set_result, "future")
        seen.append(await future)
        seen.append(await asyncio.create_task(inner()))
        seen.append(await asyncio.to_thread(lambda: "thread"))

    _, ended = await run(work())
    await ended.wait()
    assert seen == ["future", "task", "thread"]


async def test_an_exception_of_a_future_is_raised_where_it_is_awaited() -> None:
    seen: list[str] = []

    async def work() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.get_loop().call_soon(future.set_exception, ValueError("no"))
        try:
            await future
        except ValueError as problem:
            seen.append(str(problem))

    _, ended = await run(work())
    await ended.wait()
    assert seen == ["no"]


async def test_cancel_reaches_the_coroutine_where_it_waits() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task, ended = await run(work())
    assert task.cancel()
    await ended.wait()
    assert seen == ["cancelled"]
    assert not task.cancel()


async def test_cancel_reaches_it_even_when_what_it_waits_for_is_already_there() -> None:
    seen: list[str] = []
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        try:
            await future
        except asyncio.CancelledError:
            seen.append("cancelled")

    task, ended = await run(work())
    future.set_result(None)
    task.cancel()
    await ended.wait()
    assert seen == ["cancelled"]


async def test_cancel_reaches_it_in_a_bare_yield() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            seen.append("cancelled")

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.call_soon(lambda: EagerTask(work(), loop, lambda _: ended.set()).cancel())
    await ended.wait()
    assert seen == ["cancelled"]


async def test_work_that_was_cancelled_on_purpose_can_go_on() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            task.uncancel()
            seen.append(str(task.cancelling()))
        await asyncio.sleep(0)
        seen.append("went on")

    task, ended = await run(work())
    task.cancel()
    await ended.wait()
    assert seen == ["0", "went on"]


async def test_time_limits_work_inside() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            seen.append("late")
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        seen.append("in time")

    _, ended = await run(work())
    await ended.wait()
    assert seen == ["late", "in time"]


async def test_it_is_the_current_task_while_it_runs_and_only_then() -> None:
    seen: list[object] = []
    outer = asyncio.current_task()

    async def work() -> None:
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    task, ended = await run(work())
    await ended.wait()
    assert seen == [task]
    assert asyncio.current_task() is outer


async def test_an_unforeseen_exception_goes_to_the_loops_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problems: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: problems.append(context))

    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    task, ended = await run(work())
    await ended.wait()
    assert task.done()
    assert [str(problem["exception"]) for problem in problems] == ["no"]
