"""Every way in which providers take batches: what comes of one, whatever happens on its way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from routing.batches import native_visit
from routing.batches.native import NativeBatches
from routing.core.record import RequestDone
from routing.simulator.batches.book import Batch, Mishap, Script
from routing.simulator.server import ThreadedSimulator
from tests.routing.batches.native_world import (
    CHAT,
    CLAUDE,
    GEMINI,
    MISTRAL,
    VECTORS,
    billed,
    booked,
    finished,
)
from tests.routing.batches.world import World, line, run_sql

MODELS = {"openai": CHAT, "anthropic": CLAUDE, "gemini": GEMINI, "mistral": MISTRAL}
KEEP_WHAT_WAS_DONE = [name for name in MODELS if name != "gemini"]  # Gemini gives all or nothing
CAN_FAIL_WHOLE = [name for name in MODELS if name != "anthropic"]
every_way = pytest.mark.parametrize("slug", MODELS)


def lines_for(slug: str, *names: str, **body: Any) -> list[str]:
    model = f"{MODELS[slug]}:{slug}"
    return [line(name, model=model, **{"max_tokens": 5, **body}) for name in names]


def batches_at(simulator: ThreadedSimulator) -> list[Batch]:
    return simulator.in_loop(lambda service: list(service.batches.batches.values()))


def script(simulator: ThreadedSimulator, **fields: Any) -> None:
    simulator.in_loop(lambda service: service.batches.scripts.append(Script(**fields)))


def mishap(simulator: ThreadedSimulator, **fields: Any) -> None:
    simulator.in_loop(lambda service: service.batches.mishaps.append(Mishap(**fields)))


async def at_the_provider(world: World, state: str = "running") -> None:
    for _ in range(100):
        if await run_sql("SELECT 1 FROM routing_nativebatch WHERE state = %s", state):
            return
        await world.work(turn_s=0.1)
    raise AssertionError(state)


def charges(world: World) -> dict[tuple[bytes, int], Decimal]:
    """As the recorder stores them: one for each attempt of a request, however often written."""
    return {(one.request_id, one.attempt_no): one.cost_usd for one in world.spool.finishes}


@every_way
async def test_each_line_is_answered_in_order_and_charged_once_at_half_price(
    native: World, simulator: ThreadedSimulator, slug: str
) -> None:
    names = [f"n{n}" for n in range(12)]
    batch = await finished(native, await native.begin(*lines_for(slug, *names)))
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 12, "completed": 12, "failed": 0}
    answers = await native.content(batch["output_file_id"])
    assert [one["custom_id"] for one in answers] == names
    assert {one["response"]["body"]["object"] for one in answers} == {"chat.completion"}
    assert len(batches_at(simulator)) == 1
    rows = simulator.journal()
    assert {row.service_tier for row in rows} == {"batch"}
    assert len(charges(native)) == len(native.spool.finishes) == len(rows) == 12
    assert booked(native) == billed(simulator) > 0
    stored = await run_sql("SELECT cost_usd, simulated FROM routing_batch")
    assert stored == [(billed(simulator), True)]
    assert simulator.violations() == []


@every_way
async def test_a_line_that_is_refused_there_is_an_error_of_that_line_alone(
    native: World, simulator: ThreadedSimulator, slug: str
) -> None:
    good, bad = lines_for(slug, "a"), lines_for(slug, "b", max_tokens=10**9)
    batch = await finished(native, await native.begin(*good, *bad))
    assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    (failed,) = await native.content(batch["error_file_id"])
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("b", 400)
    assert failed["response"]["body"]["error"]["message"]
    assert booked(native) == billed(simulator) > 0


@pytest.mark.parametrize("slug", ["openai", "mistral"])
async def test_vectors_come_by_batch_too(
    native: World, simulator: ThreadedSimulator, slug: str
) -> None:
    asked = (
        line(f"v{n}", url="/v1/embeddings", model=f"{VECTORS}:{slug}", input="x", messages=None)
        for n in range(3)
    )
    batch = await finished(native, await native.begin(*asked, url="/v1/embeddings"))
    answers = await native.content(batch["output_file_id"])
    assert [len(one["response"]["body"]["data"]) for one in answers] == [1, 1, 1]
    assert len(batches_at(simulator)) == 1
    assert booked(native) == billed(simulator) > 0


@pytest.mark.parametrize("slug", KEEP_WHAT_WAS_DONE)
async def test_what_was_done_before_the_window_ended_is_kept_and_charged(
    native: World, simulator: ThreadedSimulator, slug: str
) -> None:
    script(simulator, end="expired", answers=1, takes_s=0.0)
    batch_id = await native.begin(*lines_for(slug, "a", "b", "c"), batch="native")
    await at_the_provider(native)
    await run_sql("UPDATE routing_batch SET expires_at = now()")
    batch = await finished(native, batch_id)
    assert batch["status"] == "expired"
    assert batch["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
    (answer,) = await native.content(batch["output_file_id"])
    assert answer["custom_id"] == "a"
    failed = await native.content(batch["error_file_id"])
    assert {one["error"]["code"] for one in failed} == {"batch_expired"}
    assert booked(native) == billed(simulator) > 0
    assert len(charges(native)) == 1


@every_way
async def test_a_batch_that_does_not_end_in_time_is_cancelled_there(
    native: World, simulator: ThreadedSimulator, slug: str
) -> None:
    script(simulator, takes_s=1.5)
    batch_id = await native.begin(*lines_for(slug, "a", "b"))
    await at_the_provider(native)
    await run_sql("UPDATE routing_batch SET expires_at = now()")
    batch = await finished(native, batch_id)
    assert [one.cancelled for one in batches_at(simulator)] == [True]
    assert batch["status"] == "expired"
    assert batch["request_counts"] == {"total": 2, "completed": 0, "failed": 2}
    assert booked(native) == billed(simulator) == 0


async def test_a_provider_that_never_ends_a_batch_does_not_hold_it_for_ever(
    native: World, simulator: ThreadedSimulator
) -> None:
    batch_id = await native.begin(*lines_for("openai", "a"))
    await at_the_provider(native)
    mishap(simulator, status=503, times=1000)
    await run_sql("UPDATE routing_batch SET expires_at = now() - interval '6 hours'")
    assert (await finished(native, batch_id))["status"] == "expired"


@pytest.mark.parametrize("slug", CAN_FAIL_WHOLE)
async def test_a_batch_that_failed_there_is_run_line_by_line(
    native: World, simulator: ThreadedSimulator, slug: str
) -> None:
    script(simulator, end="failed")
    batch = await finished(native, await native.begin(*lines_for(slug, "a", "b")))
    assert batch["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    assert {row.service_tier for row in simulator.journal()} == {""}
    assert booked(native) == billed(simulator) > 0


@pytest.mark.parametrize("slug", CAN_FAIL_WHOLE)
async def test_one_that_failed_and_was_to_run_there_alone_costs_nothing(
    native: World, simulator: ThreadedSimulator, slug: str
) -> None:
    script(simulator, end="failed")
    batch = await finished(native, await native.begin(*lines_for(slug, "a"), batch="native"))
    (failed,) = await native.content(batch["error_file_id"])
    assert failed["error"]["code"] == "native_batch_refused"
    assert simulator.journal() == []


@every_way
async def test_cancelling_is_passed_on_at_once_and_keeps_what_was_done(
    native: World, simulator: ThreadedSimulator, slug: str
) -> None:
    done = 0 if slug == "gemini" else 1
    script(simulator, answers=done, takes_s=0.6)
    batch_id = await native.begin(*lines_for(slug, "a", "b", "c"))
    await at_the_provider(native)
    await native.client.post(f"/v1/batches/{batch_id}/cancel")
    assert await run_sql("SELECT next_at <= now() FROM routing_nativebatch") == [(True,)]
    batch = await finished(native, batch_id)
    assert [one.cancelled for one in batches_at(simulator)] == [True]
    assert batch["status"] == "cancelled"
    assert batch["request_counts"] == {"total": 3, "completed": done, "failed": 0}
    assert booked(native) == billed(simulator)


async def test_one_that_is_cancelled_before_it_was_submitted_never_leaves(
    native: World, simulator: ThreadedSimulator
) -> None:
    batch_id = await native.begin(*lines_for("openai", "a"))
    mishap(simulator, method="POST", status=503)
    await at_the_provider(native, "submitting")
    await native.client.post(f"/v1/batches/{batch_id}/cancel")
    assert (await finished(native, batch_id))["status"] == "cancelled"
    assert batches_at(simulator) == []


# --- mishaps ----------------------------------------------------------------------------------------
@every_way
@pytest.mark.parametrize("status", [500, 0], ids=["an error", "no answer"])
async def test_a_submission_without_a_good_answer_is_looked_for_and_not_made_twice(
    native: World, simulator: ThreadedSimulator, slug: str, status: int
) -> None:
    making = {"gemini": ":batchGenerateContent", "mistral": "/jobs"}.get(slug, "/batches")
    mishap(simulator, method="POST", path=making, status=status, is_done=True)
    batch = await finished(native, await native.begin(*lines_for(slug, "a", "b")))
    assert batch["request_counts"]["completed"] == 2
    assert len(batches_at(simulator)) == 1
    assert len(simulator.journal()) == len(charges(native)) == 2
    assert booked(native) == billed(simulator) > 0


@every_way
async def test_a_provider_that_is_away_is_asked_again(
    native: World, simulator: ThreadedSimulator, slug: str
) -> None:
    mishap(simulator, status=503, times=3)
    batch = await finished(native, await native.begin(*lines_for(slug, "a", "b")))
    assert batch["request_counts"]["completed"] == 2
    assert len(batches_at(simulator)) == 1
    assert booked(native) == billed(simulator) > 0


@every_way
async def test_answers_that_break_off_are_fetched_anew(
    native: World, simulator: ThreadedSimulator, slug: str
) -> None:
    where = {"anthropic": "/results", "gemini": "/download/"}.get(slug, "/content")
    mishap(simulator, method="GET", path=where, status=0, times=2)
    batch = await finished(native, await native.begin(*lines_for(slug, "a", "b", "c")))
    assert batch["request_counts"]["completed"] == 3
    assert len(charges(native)) == 3
    assert booked(native) == billed(simulator) > 0


async def test_a_cancelling_that_fails_is_tried_again_after_a_pause(
    native: World, simulator: ThreadedSimulator
) -> None:
    script(simulator, takes_s=30.0)
    batch_id = await native.begin(*lines_for("openai", "a"))
    await at_the_provider(native)
    mishap(simulator, path="/cancel", status=503, times=50)
    await native.client.post(f"/v1/batches/{batch_id}/cancel")
    await native.work(turn_s=1.0)
    left = simulator.in_loop(lambda service: service.batches.mishaps[0].times)
    assert left == 49
    ((waits,),) = await run_sql("SELECT next_at > now() FROM routing_nativebatch")
    assert waits


@every_way
async def test_a_worker_that_dies_at_any_point_costs_no_second_charge(
    native: World, simulator: ThreadedSimulator, slug: str
) -> None:
    """Each step ends as if its worker had died just before it wrote down what it did."""
    write, died = native_visit.Visit._write, set[str]()

    async def dies_once(self: Any, statement: Any, *values: object) -> None:
        if statement.__name__ not in died:
            died.add(statement.__name__)
            raise Died
        await write(self, statement, *values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_visit.Visit, "_write", dies_once)
        patch.setattr(NativeBatches, "step", surviving(NativeBatches.step))
        batch = await finished(native, await native.begin(*lines_for(slug, "a", "b", "c")))
    assert died == {"submitting", "running", "over"}
    assert batch["request_counts"]["completed"] == 3
    assert len(batches_at(simulator)) == 1
    assert len(simulator.journal()) == len(charges(native)) == 3
    assert sum(charges(native).values()) == billed(simulator) > 0


class Died(BaseException):
    """A worker's end."""


def surviving(step: Any) -> Any:
    async def surely(self: NativeBatches) -> bool:
        try:
            return bool(await step(self))
        except Died:
            return False

    return surely


async def test_a_worker_that_was_held_up_does_not_make_a_second_batch(
    native: World, simulator: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one took the step over while the first was still submitting."""
    monkeypatch.setattr(native_visit, "RENEW_S", 0.05)
    submit = native_visit.way_of(await openai_endpoint(native)).submit.__func__  # type: ignore[union-attr, attr-defined]

    async def held_up(self: Any, wire: Any, job: Any) -> str:
        made = await submit(self, wire, job)
        await run_sql("UPDATE routing_nativebatch SET holder = gen_random_uuid()")
        return str(made)

    way = native_visit.way_of(await openai_endpoint(native))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(way), "submit", held_up)
        await native.begin(*lines_for("openai", "a"))
        for _ in range(20):
            await native.work(turn_s=0.1)
            if batches_at(simulator):
                break
    assert [one.cancelled or one.has_ended for one in batches_at(simulator)] == [True]
    ((state,),) = await run_sql("SELECT state FROM routing_nativebatch")
    assert state == "submitting"
    assert native.spool.of(RequestDone) == []


async def openai_endpoint(world: World) -> Any:
    endpoints = world.gateway.snapshot.endpoints.values()
    return next(one for one in endpoints if one.provider.slug == "openai")
